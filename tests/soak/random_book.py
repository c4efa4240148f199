"""Random markets and portfolios from a seed: everything the schema can say, from dust to more than there is."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from random import Random

import msgspec

from riskschema.buffers import Column
from riskschema.instruments import (
    Claim,
    Debt,
    Future,
    Instrument,
    Option,
    Perpetual,
    Token,
    UniswapV2Share,
    UniswapV3Liquidity,
    WrappedToken,
)
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

AS_OF = 1_700_000_000
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
        self._tokens = {name: self._token(index, name) for index, name in enumerate(drawn)}

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

    def _token(self, index: int, name: str) -> Token:
        decimals = self._random.choice([0, 2, 6, 8, 18, 18, 18, 24])
        return Token(chain_id=1, address=Address(f"0x{index + 1:040x}"), symbol=name, decimals=decimals, factor=name)

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
        venue, market = self._random.choice(["aave_v3", "morpho_blue", "other"]), str(self._random.randint(0, 3))
        positions, terms, size = [], [], self._size()
        for _ in range(self._random.randint(1, 3)):
            held = self._collateral(venue, market)
            positions.append(self._position(held, size * self._random.random()))
            terms.append(self._term(held, numeraire, weight=self._random.choice([0.0, 0.5, 0.8, 0.93])))
        for _ in range(self._random.randint(0, 2)):
            token = self._random.choice(list(self._tokens.values()))
            owed = Debt(token=token, venue=venue, market=market, annual_rate=wad(self._random.uniform(0, 0.5)))
            positions.append(self._position(owed, -size * self._random.random() * 0.9))
            terms.append(self._term(owed, numeraire, weight=1.0))
        return Silo(
            id=name,
            venue=venue,
            chain_id=self._random.choice(CHAINS),
            market=market,
            account=account,
            health=wad(self._random.uniform(0.9, 3)) if any(each.quantity < 0 for each in positions) else None,
            rule=WeightedCollateral(
                numeraire=numeraire, terms=tuple(terms), close_factor=wad(self._random.choice([0.5, 1.0]))
            ),
            positions=tuple(positions),
        )

    def _margined(self, account: Address, name: str) -> Silo:
        """Perpetuals and futures of one payoff, in one account of a venue."""
        payoff = self._random.choice(["linear", "linear", "inverse"])
        base = self._random.choice(list(self._prices))
        quote = self._random.choice(list(self._prices))
        names = (
            [base] if payoff == "inverse" else self._random.choices(list(self._prices), k=self._random.randint(1, 3))
        )
        positions, entry = [], 0.0
        for factor in names:
            fields = {"venue": "perps", "market": factor, "base": factor, "quote": quote, "payoff": payoff}
            if self._random.random() < 0.7:
                contract: Instrument = Perpetual(**fields, annual_funding_rate=wad(self._random.uniform(-0.5, 0.5)))  # type: ignore[arg-type]
            else:
                contract = Future(**fields, expiry=AS_OF + self._random.randint(3_600, 10**7))  # type: ignore[arg-type]
            size = self._size() * self._random.choice([1, -1])
            unit = self._prices[factor] if payoff == "linear" else self._prices[quote]
            quantity = size / unit
            moved = self._random.uniform(0.8, 1.2)
            # the numeraire is the quote of linear contracts, the base coin of inverse ones
            entry += (size / self._prices[quote] if payoff == "linear" else size / self._prices[base]) * moved
            positions.append(Position(instrument=contract, quantity=Amount(int(quantity * 10**18))))
        return Silo(
            id=name,
            venue="perps",
            chain_id=self._random.choice(CHAINS),
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
        makers = [self._plain, self._pool_share, self._range, self._option, self._wrapped]
        positions = []
        for _ in range(self._random.randint(1, 4)):
            held = self._random.choice(makers)()
            sign = self._random.choice([1, -1]) if isinstance(held, Option) else 1
            positions.append(self._position(held, sign * self._size()))
        return Silo(
            id=name,
            venue="wallet",
            chain_id=self._random.choice(CHAINS),
            account=account,
            health=None,
            rule=NoLiquidation(),
            positions=tuple(positions),
        )

    def _collateral(self, venue: str, market: str) -> Instrument:
        token = self._random.choice(list(self._tokens.values()))
        if self._random.random() < 0.15:
            return self._wrapped()
        if self._random.random() < 0.1:
            return self._range()
        return Claim(token=token, venue=venue, market=market, annual_rate=wad(self._random.uniform(0, 0.3)))

    def _plain(self) -> Instrument:
        return self._random.choice(list(self._tokens.values()))

    def _wrapped(self) -> Instrument:
        token, underlying = self._pair()
        return WrappedToken(token=token, underlying=underlying, index=wad(self._random.uniform(0.5, 2)))

    def _pool_share(self) -> Instrument:
        token0, token1 = self._pair()
        return UniswapV2Share(
            chain_id=1,
            pool=Address("0x" + "a1" * 20),
            token0=token0,
            token1=token1,
            liquidity_per_share=wad(self._random.uniform(0.1, 10)),
        )

    def _range(self) -> Instrument:
        """A range around the price, or off it."""
        token0, token1 = self._pair()
        ratio = self._prices[token0.factor] / self._prices[token1.factor] * 10.0 ** (token1.decimals - token0.decimals)
        centre = int(math.log(ratio) / math.log(1.0001)) + self._random.randint(-3_000, 3_000)
        lower = min(max(centre - self._random.randint(10, 5_000), -887_000), 886_000)
        return UniswapV3Liquidity(
            chain_id=1,
            pool=Address("0x" + "a2" * 20),
            token0=token0,
            token1=token1,
            tick_lower=lower,
            tick_upper=lower + self._random.randint(10, 900),
        )

    def _option(self) -> Instrument:
        underlying, quote = self._random.choice(list(self._prices)), self._random.choice(list(self._prices))
        strike = self._prices[underlying] / self._prices[quote] * self._random.uniform(0.5, 2)
        return Option(
            venue="options",
            market="m",
            underlying=underlying,
            quote=quote,
            right=self._random.choice(["call", "put"]),
            strike=wad(max(strike, 1e-17)),
            expiry=AS_OF + self._random.randint(1, 10**7),
        )

    def _pair(self) -> tuple[Token, Token]:
        first, second = self._random.sample(list(self._tokens.values()), 2)
        return first, second

    def _position(self, held: Instrument, dollars: float) -> Position:
        """Hold about so many dollars: exactly how many does not matter."""
        match held:
            case Token():
                unit = self._prices[held.factor] / 10.0**held.decimals
            case Claim() | Debt() | WrappedToken():
                unit = self._prices[held.token.factor] / 10.0**held.token.decimals
            case UniswapV2Share() | UniswapV3Liquidity():
                one, two = (self._prices[each.factor] / 10.0**each.decimals for each in (held.token0, held.token1))
                unit = math.sqrt(one * two)
            case Option():
                unit = self._prices[held.underlying] / 10.0**18
            case _:
                raise AssertionError(held)
        quantity = int(dollars / unit)
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


def wad(value: float) -> Wad:
    """Return a number in 18 decimals."""
    return Wad(int(value * 10**18))


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
