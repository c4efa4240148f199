"""Markets and portfolios for the engine's tests, and the engine in plain Python."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest

import aggregator
from aggregator.parameters import Parameters, load_parameters
from aggregator.scenarios.factors import Listing, listing
from riskschema.buffers import Column
from riskschema.instruments import Claim, Debt, Token, venue_id
from riskschema.market import FactorQuote, Group, HourlyHistory, MarketState
from riskschema.portfolio import CollateralTerm, NoLiquidation, Portfolio, Position, Silo, WeightedCollateral
from riskschema.units import WAD, Address, Amount, Wad

ASSETS: dict[str, tuple[Group, int, int]] = {
    "BTC": ("btc", 8, 40_000),
    "ETH": ("eth", 18, 2_000),
    "LINK": ("large", 18, 15),
    "CRV": ("other", 18, 1),
    "USDC": ("stablecoin", 6, 1),
    "DAI": ("stablecoin", 18, 1),
}


def wad(value: float | str) -> Wad:
    return Wad.parse(str(value))


def address(number: int) -> Address:
    return Address(f"0x{number:040x}")


class Lab:
    """Builds inputs in few words."""

    assets = ASSETS
    wad = staticmethod(wad)
    address = staticmethod(address)

    def token(self, name: str) -> Token:
        return Token(
            chain_id=1,
            address=address(1 + list(ASSETS).index(name)),
            symbol=name,
            decimals=ASSETS[name][1],
            factor=name,
        )

    def market(self, history: HourlyHistory | None = None, **prices: float | str) -> MarketState:
        quotes = [
            FactorQuote(factor=name, price=wad(prices.get(name, price)), group=group)
            for name, (group, _, price) in ASSETS.items()
        ]
        return MarketState(as_of=1_700_000_000, quotes=tuple(quotes), history=history)

    def known(self, **prices: float | str) -> Listing:
        return listing(self.market(None, **prices), load_parameters())

    def history(self, factors: Sequence[str], hours: int, seed: int = 7, annual: float = 0.8) -> HourlyHistory:
        random = np.random.default_rng(seed)
        moves = random.standard_t(4, size=(len(factors), hours)) * annual / np.sqrt(8760 * 2)
        close = np.exp(np.cumsum(moves, axis=1)) * 1e12 * np.array([[ASSETS[name][2]] for name in factors])
        spread = 1 + np.abs(random.normal(size=close.shape)) * 0.002
        opens = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
        high, low = np.maximum(opens, close) * spread, np.minimum(opens, close) / spread
        columns = [
            Column(dtype="int64", shape=line.shape, data=line.astype("<i8").tobytes()) for line in (close, high, low)
        ]
        return HourlyHistory(
            first_hour=1_600_000_000 // 3600 * 3600,
            factors=tuple(factors),
            close=columns[0],
            high=columns[1],
            low=columns[2],
            simulated=True,
        )

    def lending(
        self,
        ledger: dict[str, float],
        *,
        protocol: str = "aave_v3",
        deployment: str = "main",
        cross_margin_group: str = "",
        weight: float = 0.8,
        health: float | None = None,
        oracle: dict[str, float] | None = None,
        close_factor: float = 0.5,
        bonus: float = 0.05,
        chain_id: int = 1,
        numeraire: str = "USD",
        rate: float = 0.0,
        ident: str = "",
    ) -> Silo:
        """Units of assets: positive pledged, negative owed. Health is computed exactly unless given."""
        venue = venue_id(protocol, chain_id, deployment)
        positions, terms, backing, owed = [], [], 0, 0
        for name, units in ledger.items():
            kind = Claim if units > 0 else Debt
            instrument = kind(token=self.token(name), venue=venue, market="main", annual_rate=wad(rate))
            quantity = round(units * 10 ** min(ASSETS[name][1], 9)) * 10 ** max(ASSETS[name][1] - 9, 0)
            price = wad((oracle or {}).get(name, ASSETS[name][2]))
            positions.append(Position(instrument=instrument, quantity=Amount(quantity)))
            terms.append(
                CollateralTerm(
                    weight=wad(weight) if units > 0 else wad(1),
                    price=price,
                    liquidation_bonus=wad(bonus) if units > 0 else wad(0),
                )
            )
            value = quantity * price // 10 ** ASSETS[name][1]
            backing += max(value, 0) * wad(weight) // WAD
            owed -= min(value, 0)
        exact = Wad(backing * WAD // owed) if owed else None
        return Silo(
            id=ident or venue,
            venue=venue,
            chain_id=chain_id,
            market="main",
            cross_margin_group=cross_margin_group,
            account=address(99),
            health=exact if health is None else wad(health),
            rule=WeightedCollateral(numeraire=numeraire, terms=tuple(terms), close_factor=wad(close_factor)),
            positions=tuple(positions),
        )

    def wallet(self, holdings: dict[str, float] | None = None, extra: Sequence[Position] = ()) -> Silo:
        held = [
            Position(instrument=self.token(name), quantity=Amount(int(units * 10 ** ASSETS[name][1])))
            for name, units in (holdings or {}).items()
        ]
        return Silo(
            id="wallet",
            venue="wallet:1:main",
            chain_id=1,
            market="",
            account=address(99),
            health=None,
            rule=NoLiquidation(),
            positions=(*held, *extra),
        )

    def portfolio(self, *silos: Silo, number: int = 99) -> Portfolio:
        return Portfolio(subject=address(number), silos=tuple(silos))


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def parameters() -> Parameters:
    return load_parameters()


@pytest.fixture(scope="session")
def small_parameters(parameters: Parameters) -> Parameters:
    """A hundred blocks: enough for every code path, little enough for plain Python."""
    paths = msgspec.structs.replace(parameters.paths, maximum_blocks=100, minimum_history_hours=1000)
    return msgspec.structs.replace(parameters, paths=paths)


@pytest.fixture
def plain_python(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Replace every compiled kernel of the package by its plain-Python twin, for the rest of the test."""

    def replace() -> None:
        modules = [
            importlib.import_module(module.name) for module in pkgutil.walk_packages(aggregator.__path__, "aggregator.")
        ]
        for module in modules:
            for name, value in list(vars(module).items()):
                if hasattr(value, "py_func"):
                    monkeypatch.setattr(module, name, value.py_func)

    return replace
