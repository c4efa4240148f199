"""Random values of any schema type, made from its annotations."""

from collections.abc import Callable
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import strategies as st

from riskschema.buffers import ITEM_BYTES, Column, DType
from riskschema.instruments import (
    Claim,
    Debt,
    Instrument,
    Option,
    UniswapV2Share,
    UniswapV3Liquidity,
    WrappedToken,
    venue_id,
)
from riskschema.market import FactorQuote, HourlyHistory, MarketState
from riskschema.portfolio import (
    Aside,
    CollateralTerm,
    MarginFraction,
    NoLiquidation,
    Portfolio,
    PortfolioMargin,
    Position,
    Silo,
    Unread,
    VenueOracle,
    WeightedCollateral,
)
from riskschema.units import WAD, Address, Amount, FixedPoint, Hash32, Probability, Usd, Wad

Strategy = st.SearchStrategy[Any]
ValuesOf = Callable[[Any], Strategy]

LARGEST = 2**256 - 1


@pytest.fixture(scope="session")
def values_of() -> ValuesOf:
    """A function from a schema type to a strategy of its valid values."""
    return values


def values(hint: Any, metas: tuple[Any, ...] = ()) -> Strategy:
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        return values(inner, (*metas, *notes))
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return st.one_of(*(values(member) for member in get_args(hint)))
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=2).map(tuple)
    if hint in SPECIAL:
        return SPECIAL[hint]()
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    if issubclass(hint, msgspec.Struct):
        return struct_values(hint)
    return scalar_values(hint, metas)


def struct_values(kind: type[msgspec.Struct], **fields: Strategy) -> Strategy:
    """Return values of a struct: the given fields from their strategies, the others from their annotations."""
    hints = get_type_hints(kind, include_extras=True)
    others = {name: values(hints[name]) for name in kind.__struct_fields__ if name not in fields}
    return st.builds(kind, **others, **fields)


def scalar_values(kind: type, metas: tuple[Any, ...]) -> Strategy:
    if issubclass(kind, FixedPoint):
        return st.integers(-LARGEST, LARGEST).map(kind)
    if kind is Probability:
        return st.integers(0, 1_000_000).map(kind)
    if kind is Address:
        return st.binary(min_size=20, max_size=20).map(lambda data: Address("0x" + data.hex()))
    if kind is Hash32:
        return st.binary(min_size=32, max_size=32).map(Hash32)
    if kind is int:
        return st.integers(bound(metas, "ge", 0), bound(metas, "le", 2**53))
    if kind is str:
        length = {"min_size": bound(metas, "min_length", 0), "max_size": min(bound(metas, "max_length", 20), 20)}
        if pattern := next((meta.pattern for meta in metas if meta.pattern is not None), None):
            return st.from_regex(pattern, fullmatch=True)
        return st.text(st.characters(exclude_categories=["Cs"]), **length)
    plain = {bool: st.booleans(), NoneType: st.none(), float: st.floats(allow_nan=False, allow_infinity=False)}
    return plain[kind]


def bound(metas: tuple[Any, ...], name: str, default: int) -> int:
    return next((getattr(meta, name) for meta in metas if getattr(meta, name) is not None), default)


@st.composite
def columns(
    draw: st.DrawFn, dtypes: tuple[DType, ...] = tuple(ITEM_BYTES), shape: tuple[int, ...] | None = None
) -> Column:
    dtype = draw(st.sampled_from(dtypes))
    sides = shape if shape is not None else tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    count = ITEM_BYTES[dtype]
    for side in sides:
        count *= side
    return Column(dtype=dtype, shape=sides, data=draw(st.binary(min_size=count, max_size=count)))


@st.composite
def histories(draw: st.DrawFn) -> HourlyHistory:
    factors = tuple(draw(st.lists(st.text("ABC", min_size=1, max_size=3), max_size=2, unique=True)))
    hours = draw(st.integers(0, 3))
    prices = st.lists(st.integers(1, 2**63 - 1), min_size=3, max_size=3).map(sorted)
    drawn = [draw(prices) for _ in range(len(factors) * hours)]
    low, close, high = (tuple(row[index] for row in drawn) for index in range(3))
    shape = (len(factors), hours)
    return HourlyHistory(
        first_hour=3600 * draw(st.integers(0, 2**40)),
        factors=factors,
        close=price_column(close, shape),
        high=price_column(high, shape),
        low=price_column(low, shape),
        simulated=draw(st.booleans()),
    )


def price_column(prices: tuple[int, ...], shape: tuple[int, ...]) -> Column:
    return Column(dtype="int64", shape=shape, data=b"".join(price.to_bytes(8, "little") for price in prices))


def between(low: int, high: int, kind: type[FixedPoint] = Wad) -> Strategy:
    return st.integers(low, high).map(kind)


def positive(kind: type[FixedPoint] = Wad) -> Strategy:
    return between(1, LARGEST, kind)


def not_negative(kind: type[FixedPoint] = Wad) -> Strategy:
    return between(0, LARGEST, kind)


def quotes() -> Strategy:
    return struct_values(
        FactorQuote,
        price=positive(),
        confidence=not_negative(),
        annual_volatility=st.none() | between(1, 100 * WAD),
        hourly_volume=st.none() | not_negative(Usd),
    )


def markets() -> Strategy:
    return struct_values(
        MarketState,
        quotes=st.lists(quotes(), max_size=3, unique_by=lambda quote: quote.factor).map(tuple),
    )


@st.composite
def ranges(draw: st.DrawFn) -> UniswapV3Liquidity:
    lower, upper = sorted(draw(st.sets(st.integers(-887_272, 887_272), min_size=2, max_size=2)))
    return draw(struct_values(UniswapV3Liquidity, tick_lower=st.just(lower), tick_upper=st.just(upper)))


@st.composite
def positions(draw: st.DrawFn) -> Position:
    instrument = draw(values(Instrument))
    signs: dict[type, int] = {Debt: -1, Claim: 1, UniswapV2Share: 1, UniswapV3Liquidity: 1}
    sign = signs.get(type(instrument))
    size = draw(st.integers(-LARGEST, LARGEST))
    return Position(instrument=instrument, quantity=Amount(sign * abs(size) if sign else size))


@st.composite
def silos(draw: st.DrawFn) -> Silo:
    held = tuple(draw(st.lists(positions(), max_size=2)))
    each: dict[str, Any] = {"min_size": len(held), "max_size": len(held)}
    terms, fractions = st.lists(values(CollateralTerm), **each), st.lists(between(0, 10 * WAD), **each)
    rules = (
        struct_values(WeightedCollateral, terms=terms.map(tuple), close_factor=between(0, WAD)),
        struct_values(MarginFraction, fractions=fractions.map(tuple)),
        values(PortfolioMargin),
        values(NoLiquidation),
    )
    health = st.none() | not_negative()
    silo = struct_values(Silo, positions=st.just(held), rule=st.one_of(rules), health=health, **places())
    return draw(silo)


def places() -> dict[str, Strategy]:
    """Return strategies of a venue and its chain."""
    chain_id = st.shared(st.integers(1, 2**53), key="chain_id")
    deployments = st.from_regex("[!-~]{1,20}", fullmatch=True)
    return {
        "venue": st.builds(venue_id, st.sampled_from(["aave_v3", "wallet"]), chain_id, deployments),
        "chain_id": chain_id,
    }


def portfolios() -> Strategy:
    return struct_values(Portfolio, silos=st.lists(silos(), max_size=2, unique_by=lambda silo: silo.id).map(tuple))


def collateral_terms() -> Strategy:
    shares = {"weight": between(0, WAD), "liquidation_bonus": between(0, 10 * WAD)}
    return struct_values(CollateralTerm, price=not_negative(), **shares)


SPECIAL: dict[Any, Callable[[], Strategy]] = {
    Column: columns,
    FactorQuote: quotes,
    HourlyHistory: histories,
    MarketState: markets,
    Claim: lambda: struct_values(Claim, annual_rate=not_negative()),
    Debt: lambda: struct_values(Debt, annual_rate=not_negative()),
    Option: lambda: struct_values(Option, strike=positive()),
    UniswapV2Share: lambda: struct_values(UniswapV2Share, liquidity_per_share=not_negative()),
    UniswapV3Liquidity: ranges,
    WrappedToken: lambda: struct_values(WrappedToken, index=not_negative()),
    CollateralTerm: collateral_terms,
    VenueOracle: lambda: struct_values(VenueOracle, deviation=st.none() | between(0, WAD)),
    Position: positions,
    Silo: silos,
    Unread: lambda: struct_values(Unread, **places()),
    Aside: lambda: struct_values(Aside, **places()),
    Portfolio: portfolios,
}
"""Types whose fields are bounded or depend on each other."""
