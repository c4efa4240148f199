"""What the market is at a round: one agreed value per factor, and the agreed hourly history."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from operator import le
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.instruments import FactorId, PegKind, Timestamp
from riskschema.units import WAD, Usd, Wad

HISTORY_PRICE_DECIMALS = 12
"""Prices in the history are int64 in units of 10^-12 USD (up to 9.2 million dollars)."""

MAX_ANNUAL_VOLATILITY = 100 * WAD
"""Ten thousand per cent a year: beyond it a percentage was meant."""

Group = Literal["btc", "eth", "large", "other", "stablecoin"]
"""Assets that share parameters; other lists of groups follow this one."""
GROUPS: tuple[Group, ...] = get_args(Group)
UNNAMED_GROUP: Group = "other"
"""Of a factor that no setting puts anywhere: the most cautious."""
VOLATILE_GROUPS = tuple(group for group in GROUPS if group != "stablecoin")
"""From the largest assets to the smallest."""


class Factor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the factor list: what is known of a factor besides its prices.

    Names are those that tokens follow. The list is the same for all operators and hashed with the parameters, so that
    nothing about a factor depends on who holds it.
    """

    name: FactorId
    group: Group = UNNAMED_GROUP
    stream: Annotated[int, Meta(ge=0, le=2**31)]
    """Number of the factor's own noise where it has no history; no two factors share one."""
    beta: Annotated[float, Meta(ge=0.0, le=10.0)] | None = None
    """How it moves with its group's leading factor where it has no history; null: as its group."""
    underlying: FactorId | None = None
    """What it is worth an index of: ``ETH``, ``USD``; null: it stands for itself."""
    peg: PegKind | None = None
    """How its price may leave underlying x index; null with an underlying: exchanged for it at once."""
    parity: bool = False
    """One unit is one unit of the underlying by construction, so it may be valued as such where nobody quotes it."""

    def __post_init__(self) -> None:
        """Refuse a peg to nothing, and what is pegged to itself."""
        if self.underlying is None and (self.peg is not None or self.parity):
            raise ValueError(f"factor {self.name}: a peg needs an underlying")
        if self.underlying == self.name:
            raise ValueError(f"factor {self.name}: pegged to itself")


class FactorQuote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agreed value of one factor, how sure it is, and where it comes from."""

    factor: FactorId
    price: Wad
    """US dollars per whole unit; positive."""
    confidence: Wad = msgspec.field(default_factory=Wad.zero)
    """Half-width in US dollars."""
    group: Group = UNNAMED_GROUP
    annual_volatility: Wad | None = None
    """Forecast per square-root year; overrides the one computed from history (needed where there is no history)."""
    hourly_volume: Usd | None = None
    """Average traded per hour; null: unknown, the group's parameter applies."""
    sources: tuple[Annotated[str, Meta(max_length=200)], ...] = ()
    stale: bool = False
    """The value was kept from the parent round."""

    def __post_init__(self) -> None:
        """Refuse values no market has."""
        if self.price <= 0:
            raise ValueError(f"price of {self.factor} must be positive, got {self.price.wire()}")
        if self.confidence < 0:
            raise ValueError(f"confidence of {self.factor} must not be negative, got {self.confidence.wire()}")
        if self.annual_volatility is not None and not 0 < self.annual_volatility <= MAX_ANNUAL_VOLATILITY:
            given = self.annual_volatility.wire()
            raise ValueError(f"annual_volatility of {self.factor} must be positive and at most 100, got {given}")
        if self.hourly_volume is not None and self.hourly_volume < 0:
            raise ValueError(f"hourly_volume of {self.factor} must not be negative, got {self.hourly_volume.wire()}")


class HourlyHistory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hourly close, high and low of several factors without holes; int64 columns of shape (factors, hours)."""

    first_hour: Timestamp
    """Unix time of the first hour's open; a multiple of 3,600."""
    factors: tuple[FactorId, ...]
    close: Column
    high: Column
    low: Column
    simulated: bool
    """True when any part was made by the simulator."""
    filled: tuple[FactorId, ...] = ()
    """Factors with hours that repeat the close before them because nothing was observed."""

    def __post_init__(self) -> None:
        """Refuse columns whose shapes disagree."""
        if self.first_hour % 3600:
            raise ValueError("first_hour must be a multiple of 3600")
        for name, column in (("close", self.close), ("high", self.high), ("low", self.low)):
            if column.dtype != "int64" or len(column.shape) != 2 or column.shape != self.close.shape:
                raise ValueError(f"{name} must be an int64 column of shape (factors, hours) like close")
        if self.close.shape[0] != len(self.factors):
            raise ValueError("history columns must have one line per factor")
        if len(set(self.factors)) != len(self.factors):
            raise ValueError("two lines of one factor in the history")
        if not set(self.filled) <= set(self.factors) or len(set(self.filled)) != len(self.filled):
            raise ValueError("filled must name factors of the history, each once")
        close, high, low = (_prices(column) for column in (self.close, self.high, self.low))
        if close and min(low) <= 0:
            raise ValueError("low must be positive in every hour")
        if not all(map(le, low, close)) or not all(map(le, close, high)):
            raise ValueError("low must not exceed close, nor close high, in any hour")

    @property
    def hours(self) -> int:
        """Number of hours."""
        return self.close.shape[1]


class Unquoted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A factor that a source has no usable value of, and why: unknown, never the last value."""

    factor: FactorId
    code: str
    """A key of `riskschema.reasons.REASONS`."""
    detail: str


class MarketReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one source says now: every factor it is asked for is in one of the two."""

    quotes: tuple[FactorQuote, ...]
    unquoted: tuple[Unquoted, ...] = ()
    ages: dict[FactorId, int] = {}
    """Seconds since a quote was made, where its source says when."""


class AgreedPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a round agreed on for one factor."""

    factor: FactorId
    price: Wad
    """US dollars per whole unit."""
    confidence: Wad
    """Half-width in US dollars."""
    group: Group
    observed_at: Timestamp
    """When the round whose votes made the price looked at the market."""
    stale: bool
    """Too few operators voted in this round: the price is the one of `observed_at`."""
    sources: tuple[Annotated[str, Meta(max_length=200)], ...] = ()
    """Where this node's own vote came from; none where it gave none. Other operators may have other sources."""


class AgreedMarket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The market that a round's assessments are based on, as it is stored and shown."""

    as_of: Timestamp
    """The round's agreed time: a price is `as_of` - `observed_at` seconds old."""
    prices: tuple[AgreedPrice, ...]
    """By factor."""


def _prices(column: Column) -> Sequence[int]:
    prices = array("q", column.data)
    if sys.byteorder == "big":
        prices.byteswap()
    return prices


class MarketState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about the market that an assessment needs besides the parameters."""

    as_of: Timestamp
    quotes: tuple[FactorQuote, ...]
    history: HourlyHistory | None = None

    def __post_init__(self) -> None:
        """Refuse two quotes of one factor."""
        names = [quote.factor for quote in self.quotes]
        if len(set(names)) != len(names):
            raise ValueError("two quotes of one factor")

    def quote(self, factor: str) -> FactorQuote:
        """Return the quote of `factor`.

        Raises:
            InvalidData: the market does not know the factor.
        """
        for quote in self.quotes:
            if quote.factor == factor:
                return quote
        raise InvalidData(f"the market has no quote of factor {factor!r}", code="factor_unknown")
