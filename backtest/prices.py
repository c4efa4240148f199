"""Hourly prices of many factors that begin and end at different hours, and the history known at each of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.market import HISTORY_PRICE_DECIMALS, HourlyHistory

HOUR = 3_600
DAY = 24 * HOUR
UNIT = 10.0**HISTORY_PRICE_DECIMALS

Ints = NDArray[np.int64]


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """Arrays of shape (factors, hours) in 10^-12 USD; 0 where a factor has no price yet, or no longer."""

    first_hour: int
    factors: tuple[str, ...]
    """Sorted."""
    close: Ints
    high: Ints
    low: Ints

    @property
    def hours(self) -> int:
        """Number of hours."""
        return int(self.close.shape[1])

    def hour(self, timestamp: int) -> int:
        """Return how many hours end at or before `timestamp`."""
        return (timestamp - self.first_hour) // HOUR

    def covered(self, begin: int, end: int) -> list[int]:
        """Return the places of the factors with a price in every hour from `begin` to before `end`."""
        return np.flatnonzero((self.close[:, begin:end] > 0).all(axis=1)).tolist()

    def history(self, places: Sequence[int], begin: int, end: int) -> HourlyHistory:
        """Return the hours from `begin` to before `end` of some factors, each with a price in the last of them.

        What begins later repeats its first close until then, as in a genesis history.
        """
        tables = [table[list(places), begin:end] for table in (self.close, self.high, self.low)]
        first = (tables[0] > 0).argmax(axis=1)
        for line in np.flatnonzero(first):
            for table in tables:
                table[line, : first[line]] = tables[0][line, first[line]]
        close, high, low = (_column(table) for table in tables)
        return HourlyHistory(
            first_hour=self.first_hour + HOUR * begin,
            factors=tuple(self.factors[place] for place in places),
            close=close,
            high=high,
            low=low,
            simulated=False,
            filled=tuple(self.factors[place] for place, hours in zip(places, first, strict=True) if hours),
        )


def _column(values: Ints) -> Column:
    little = np.ascontiguousarray(values, dtype="<i8")
    return Column(dtype="int64", shape=values.shape, data=little.tobytes())


def _table(column: Column) -> Ints:
    return np.frombuffer(column.data, dtype="<i8").reshape(column.shape)


def join(histories: Sequence[HourlyHistory]) -> Prices:
    """Join histories on one clock; where two have an hour of a factor, the one named first decides.

    Raises:
        InvalidData: there is none, or a factor's histories leave a gap between them.
    """
    if not histories:
        raise InvalidData("a backtest needs the history of at least one factor", code="invalid_document")
    first = min(history.first_hour for history in histories)
    hours = max((history.first_hour - first) // HOUR + history.hours for history in histories)
    factors = tuple(sorted({factor for history in histories for factor in history.factors}))
    tables = [np.zeros((len(factors), hours), dtype=np.int64) for _ in range(3)]
    for history in reversed(histories):
        begin = (history.first_hour - first) // HOUR
        for line, factor in enumerate(history.factors):
            for table, column in zip(tables, (history.close, history.high, history.low), strict=True):
                table[factors.index(factor), begin : begin + history.hours] = _table(column)[line]
    close, high, low = tables
    for place, factor in enumerate(factors):
        known = np.flatnonzero(close[place])
        if known.size <= known[-1] - known[0]:
            raise InvalidData(
                f"histories of {factor} leave hours between them without a price", code="invalid_document"
            )
    return Prices(first_hour=first, factors=factors, close=close, high=high, low=low)
