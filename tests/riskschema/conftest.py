"""Random values of any schema type, made from its annotations."""

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import strategies as st

from riskschema.buffers import ITEM_BYTES, Column
from riskschema.market import FactorQuote, HourlyHistory, MarketState
from riskschema.units import Address, FixedPoint, Hash32, Probability, Usd, Wad

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
    if issubclass(hint, msgspec.Struct):
        return struct_values(hint)
    return scalar_values(hint, metas)


def struct_values(kind: type[msgspec.Struct]) -> Strategy:
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: values(hints[name]) for name in kind.__struct_fields__})


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
        return st.text(st.characters(exclude_categories=["Cs"]), **length)
    plain = {bool: st.booleans(), NoneType: st.none(), float: st.floats(allow_nan=False, allow_infinity=False)}
    return plain[kind]


def bound(metas: tuple[Any, ...], name: str, default: int) -> int:
    return next((getattr(meta, name) for meta in metas if getattr(meta, name) is not None), default)


@st.composite
def columns(
    draw: st.DrawFn, dtypes: tuple[str, ...] = tuple(ITEM_BYTES), shape: tuple[int, ...] | None = None
) -> Column:
    dtype = draw(st.sampled_from(dtypes))
    sides = shape if shape is not None else tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    count = ITEM_BYTES[dtype]
    for side in sides:
        count *= side
    return Column(dtype=dtype, shape=sides, data=draw(st.binary(min_size=count, max_size=count)))


@st.composite
def histories(draw: st.DrawFn) -> HourlyHistory:
    factors = tuple(draw(st.lists(st.text("ABC", min_size=1, max_size=3), max_size=2)))
    shape = (len(factors), draw(st.integers(0, 3)))
    close, high, low = (draw(columns(("int64",), shape)) for _ in range(3))
    return HourlyHistory(
        first_hour=3600 * draw(st.integers(0, 2**40)),
        factors=factors,
        close=close,
        high=high,
        low=low,
        simulated=draw(st.booleans()),
    )


def positive(kind: type[FixedPoint]) -> Strategy:
    return st.integers(1, LARGEST).map(kind)


def quotes() -> Strategy:
    return st.builds(
        FactorQuote,
        factor=st.text("ABC", min_size=1, max_size=5),
        price=positive(Wad),
        confidence=positive(Wad),
        group=st.sampled_from(["btc", "eth", "large", "other", "stablecoin"]),
        annual_volatility=st.none() | positive(Wad),
        hourly_volume=st.none() | positive(Usd),
        sources=st.lists(st.text("abc:/", max_size=9), max_size=2).map(tuple),
        stale=st.booleans(),
    )


def markets() -> Strategy:
    return st.builds(
        MarketState,
        as_of=st.integers(0, 2**53),
        quotes=st.lists(quotes(), max_size=3, unique_by=lambda quote: quote.factor).map(tuple),
        history=st.none() | histories(),
    )


SPECIAL: dict[Any, Callable[[], Strategy]] = {
    Column: columns,
    FactorQuote: quotes,
    HourlyHistory: histories,
    MarketState: markets,
}
"""Types whose fields depend on each other."""
