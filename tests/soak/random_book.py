"""Random markets and portfolios from a seed: everything the schema can say, from dust to more than there is."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from random import Random

import msgspec

from riskschema.buffers import Column
from riskschema.instruments import Claim, Debt, Instrument, Option, WrappedToken, venue_id
from riskschema.market import FactorQuote, Group, HourlyHistory, MarketState
from riskschema.portfolio import (
    CollateralTerm,
    MarginFraction,
    NoLiquidation,
    Portfolio,
    Position,
    Silo,
    WeightedCollateral,
)
from riskschema.units import Address, Amount, Usd, Wad
from tests.soak.random_instruments import AS_OF, RandomInstruments, wad

FIRST_HOUR = 1_600_000_000 // 3_600 * 3_600
GROUPS: tuple[Group, ...] = ("btc", "eth", "large", "other", "stablecoin")
CHAINS = (1, 10, 42_161)
LARGEST_HISTORY_PRICE = 9_000_000.0


class RandomBook:
    """Draws a market, and portfolios that hold its factors."""

    def __init__(self, seed: int, known: Mapping[str, tuple[Group, float]] | None = None) -> None:
        """Draw the factors, or take those that are `known` by name, with group and price."""
        self._random = Random(seed)
        drawn = known or dict(self._factor(f"F{index}") for index in range(self._random.randint(2, 8)))
        self._prices = {name: price for name, (_, price) in drawn.items()}
        self._groups = {name: group for name, (group, _) in drawn.items()}
        self._draw = RandomInstruments(self._random, self._prices)

    def market(self, *, hours: int = 0) -> MarketState:
        """Return the market; with `hours` it has a history of them."""
        return MarketState(
            as_of=AS_OF,
            quotes=tuple(self._quote(name) for name in self._prices),
            history=self._history(hours) if hours else None,
        )

    def portfolio(self, number: int) -> Portfolio:
        """Return a portfolio of one to five silos."""
        account = Address(f"0x{number + 1:040x}")
        kinds: list[Callable[[Address, str], Silo]] = [self._lending, self._lending, self._margined, self._wallet]
        silos = tuple(
            self._random.choice(kinds)(account, f"silo {index}") for index in range(self._random.randint(1, 5))
        )
        return Portfolio(subject=account, silos=silos)

    def _factor(self, name: str) -> tuple[str, tuple[Group, float]]:
        group = self._random.choice(GROUPS)
        stable = group == "stablecoin"
        return name, (group, self._random.uniform(0.9, 1.1) if stable else 10 ** self._random.uniform(-5, 5))

    def _quote(self, name: str) -> FactorQuote:
        price = self._prices[name]
        volume = None if self._random.random() < 0.5 else Usd(int(10 ** self._random.uniform(10, 17)))
        volatility = None if self._random.random() < 0.7 else wad(self._random.uniform(0.05, 3.0))
        return FactorQuote(
            factor=name,
            price=wad(price),
            confidence=wad(price * self._random.choice([0.0, 0.001, 0.05])),
            group=self._groups[name],
            annual_volatility=volatility,
            hourly_volume=volume,
            stale=self._random.random() < 0.1,
        )

    def _history(self, hours: int) -> HourlyHistory:
        names = [name for name in self._prices if self._random.random() < 0.8] or list(self._prices)[:1]
        close, high, low = array("q"), array("q"), array("q")
        for name in names:
            scale = 0.0003 if self._groups[name] == "stablecoin" else self._random.uniform(0.002, 0.02)
            level = math.log(min(self._prices[name], LARGEST_HISTORY_PRICE / 100))
            for _ in range(hours):
                level += self._random.gauss(0, scale) * (4 if self._random.random() < 0.01 else 1)
                level = min(max(level, math.log(1e-9)), math.log(LARGEST_HISTORY_PRICE))
                price = max(int(math.exp(level) * 10**12), 1_000)
                reach = int(price * abs(self._random.gauss(0, scale)))
                close.append(price)
                high.append(min(price + reach, 2**63 - 1))
                low.append(max(price - reach, 1))
        shape = (len(names), hours)
        lines = [Column(dtype="int64", shape=shape, data=prices.tobytes()) for prices in (close, high, low)]
        return HourlyHistory(
            first_hour=FIRST_HOUR, factors=tuple(names), close=lines[0], high=lines[1], low=lines[2], simulated=True
        )

    def _lending(self, account: Address, name: str) -> Silo:
        """Collateral and debt at a venue oracle that is a little off the market."""
        numeraire = self._random.choice(["USD", "USD", *self._prices])
        protocol, chain_id = self._random.choice(["aave_v3", "morpho_blue", "other"]), self._random.choice(CHAINS)
        venue, market = venue_id(protocol, chain_id, "main"), str(self._random.randint(0, 3))
        positions, terms, size = [], [], self._size()
        for _ in range(self._random.randint(1, 3)):
            held = self._draw.collateral(venue, market)
            positions.append(self._position(held, size * self._random.random()))
            terms.append(self._term(held, numeraire, weight=self._random.choice([0.0, 0.5, 0.8, 0.93])))
        for _ in range(self._random.randint(0, 2)):
            owed = self._draw.debt(venue, market)
            positions.append(self._position(owed, -size * self._random.random() * 0.9))
            terms.append(self._term(owed, numeraire, weight=1.0))
        return Silo(
            id=name,
            venue=venue,
            chain_id=chain_id,
            market=market,
            cross_margin_group=self._random.choice(["", "", "shared"]),
            account=account,
            health=wad(self._random.uniform(0.9, 3)) if any(each.quantity < 0 for each in positions) else None,
            rule=WeightedCollateral(
                numeraire=numeraire, terms=tuple(terms), close_factor=wad(self._random.choice([0.5, 1.0]))
            ),
            positions=tuple(positions),
        )

    def _margined(self, account: Address, name: str) -> Silo:
        """Perpetuals and futures of one payoff, in one account of a venue."""
        payoff, chain_id = self._random.choice(["linear", "linear", "inverse"]), self._random.choice(CHAINS)
        base = self._random.choice(list(self._prices))
        quote = self._random.choice(list(self._prices))
        names = (
            [base] if payoff == "inverse" else self._random.choices(list(self._prices), k=self._random.randint(1, 3))
        )
        positions, entry = [], 0.0
        for factor in names:
            contract = self._draw.contract(payoff, factor, quote)
            size = self._size() * self._random.choice([1, -1])
            positions.append(self._position(contract, size))
            # the numeraire is the quote of linear contracts, the base coin of inverse ones
            numeraire = self._prices[quote] if payoff == "linear" else self._prices[base]
            entry += size / numeraire * self._random.uniform(0.8, 1.2)
        return Silo(
            id=name,
            venue=venue_id("perps", chain_id, "main"),
            chain_id=chain_id,
            cross_margin_group=self._random.choice(["", "shared"]),
            account=account,
            health=wad(self._random.uniform(0.9, 5)),
            rule=MarginFraction(
                numeraire=quote if payoff == "linear" else base,
                fractions=tuple(wad(self._random.choice([0.01, 0.05, 0.2])) for _ in positions),
                entry_value=wad(entry),
            ),
            positions=tuple(positions),
        )

    def _wallet(self, account: Address, name: str) -> Silo:
        """What backs nothing: tokens, liquidity, options."""
        draw, chain_id = self._draw, self._random.choice(CHAINS)
        makers = [draw.token, draw.pool_share, draw.range, draw.option, draw.wrapped]
        positions = []
        for _ in range(self._random.randint(1, 4)):
            held = self._random.choice(makers)()
            sign = self._random.choice([1, -1]) if isinstance(held, Option) else 1
            positions.append(self._position(held, sign * self._size()))
        return Silo(
            id=name,
            venue=venue_id("wallet", chain_id, "main"),
            chain_id=chain_id,
            account=account,
            health=None,
            rule=NoLiquidation(),
            positions=tuple(positions),
        )

    def _position(self, held: Instrument, dollars: float) -> Position:
        """Hold about so many dollars: exactly how many does not matter."""
        quantity = int(dollars / self._draw.dollars_per_unit(held))
        return Position(instrument=held, quantity=Amount(quantity if quantity or dollars < 0 else 1))

    def _term(self, held: Instrument, numeraire: str, *, weight: float) -> CollateralTerm:
        """The venue's price of a whole token; of what is no token, some answer."""
        factor = held.token.factor if isinstance(held, Claim | Debt | WrappedToken) else next(iter(self._prices))
        price = self._prices[factor] * self._random.uniform(0.98, 1.02)
        in_numeraire = price if numeraire == "USD" else price / self._prices[numeraire]
        return CollateralTerm(
            weight=wad(weight),
            price=wad(max(in_numeraire, 1e-17)),
            liquidation_bonus=wad(self._random.choice([0, 0.05])),
        )

    def _size(self) -> float:
        """Dollars: dust, usual accounts, and whales."""
        return 10 ** self._random.choice(
            [self._random.uniform(-2, 2), self._random.uniform(2, 7), self._random.uniform(7, 11)]
        )


def multiplied(portfolio: Portfolio, times: int) -> Portfolio:
    """Return a portfolio with everything in it so many times."""
    silos = []
    for silo in portfolio.silos:
        positions = tuple(
            msgspec.structs.replace(each, quantity=Amount(each.quantity * times)) for each in silo.positions
        )
        rule = silo.rule
        if isinstance(rule, MarginFraction):
            rule = msgspec.structs.replace(rule, entry_value=Wad(rule.entry_value * times))
        silos.append(msgspec.structs.replace(silo, positions=positions, rule=rule))
    return msgspec.structs.replace(portfolio, silos=tuple(silos))
