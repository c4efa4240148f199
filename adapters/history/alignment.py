"""The hourly history of several factors, aligned, from candle files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from adapters.history.candles import Candle, read_candles
from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.instruments import FactorId
from riskschema.market import HourlyHistory

HOUR = 3_600
MAX_HOURS = 50 * 8_766
YEAR_HOURS = 8_760
Integers = npt.NDArray[np.int64]


class FilledHours(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a factor's history was missing and filled."""

    factor: FactorId
    hours: int
    longest: int
    """Consecutive hours of the longest gap."""


class LateFactor(msgspec.Struct, frozen=True, kw_only=True):
    """A factor that begins later than the others."""

    factor: FactorId
    hours: int
    """That it has."""


class LoadedHistory(msgspec.Struct, frozen=True, kw_only=True):
    """A history, and what had to be filled in it."""

    history: HourlyHistory
    filled: tuple[FilledHours, ...]
    """Only factors with missing hours after their first."""
    late: tuple[LateFactor, ...] = ()


def load_history(files: Mapping[FactorId, Sequence[Path]]) -> LoadedHistory:
    """Read and align the candles of several factors on the hours that all with a year of them cover.

    What has less than a year shortens no other factor's history: until it begins, its line repeats its first close,
    flat, and the history says so in `filled`. Where no factor has a year, all hours are those that all cover. A missing
    hour repeats the close before it, flat (high and low equal to it). Of several files of one factor, the
    one named first decides where they overlap.

    Args:
        files: One or more ``.csv`` or ``.parquet`` files per factor; the order is that of the history's lines.

    Raises:
        InvalidData: a file is wrong (file, row and column are named), or the factors have no hour in common.
    """
    if not files or not all(files.values()):
        raise InvalidData("a history needs at least one file per factor", code="invalid_document")
    lines = {factor: _joined(factor, [read_candles(path) for path in paths]) for factor, paths in files.items()}
    first, last = _common_hours(lines)
    tables, filled, late = [], [], []
    for factor, candles in lines.items():
        table, gaps = _flat_filled(candles, first, last)
        tables.append(table)
        if candles[0].hour > first:
            late.append(LateFactor(factor=factor, hours=(last - candles[0].hour) // HOUR + 1))
        if gaps:
            filled.append(FilledHours(factor=factor, hours=sum(gaps), longest=max(gaps)))
    close, high, low = (np.stack([table[row] for table in tables]) for row in range(3))
    named = {gap.factor for gap in filled} | {item.factor for item in late}
    history = HourlyHistory(
        first_hour=first,
        factors=tuple(lines),
        close=_column(close),
        high=_column(high),
        low=_column(low),
        simulated=False,
        filled=tuple(factor for factor in lines if factor in named),
    )
    return LoadedHistory(history=history, filled=tuple(filled), late=tuple(late))


def _joined(factor: str, parts: Sequence[Sequence[Candle]]) -> list[Candle]:
    by_hour: dict[int, Candle] = {}
    for part in parts:
        for candle in part:
            by_hour.setdefault(candle.hour, candle)
    candles = [by_hour[hour] for hour in sorted(by_hour)]
    if (candles[-1].hour - candles[0].hour) // HOUR >= MAX_HOURS:
        raise InvalidData(f"history of {factor}: spans more than fifty years", code="invalid_document")
    return candles


def _common_hours(lines: Mapping[str, Sequence[Candle]]) -> tuple[int, int]:
    earliest_end = min(lines, key=lambda factor: lines[factor][-1].hour)
    end = lines[earliest_end][-1].hour
    grown = [factor for factor in lines if end - lines[factor][0].hour >= YEAR_HOURS * HOUR]
    latest_start = max(lines, key=lambda factor: lines[factor][0].hour)
    if lines[latest_start][0].hour > end:
        raise InvalidData(
            f"the histories have no hour in common: {earliest_end} ends at {end}, {latest_start} begins at "
            f"{lines[latest_start][0].hour}",
            code="invalid_document",
        )
    return max(lines[factor][0].hour for factor in grown or lines), end


def _flat_filled(candles: Sequence[Candle], first: int, last: int) -> tuple[Integers, list[int]]:
    """Return close, high and low of every hour from `first` to `last`, and the lengths of the gaps among them.

    Before its first candle a line repeats that candle's close.
    """
    origin = candles[0].hour
    positions = np.array([(candle.hour - origin) // HOUR for candle in candles])
    hours = (last - origin) // HOUR + 1
    known = np.zeros(max(hours, int(positions[-1]) + 1), dtype=bool)
    known[positions] = True
    source = np.maximum.accumulate(np.where(known, np.cumsum(known) - 1, 0))
    values = np.array([(candle.close, candle.high, candle.low) for candle in candles], dtype=np.int64).T[:, source]
    values[1:, ~known] = values[0, ~known]
    before = max((origin - first) // HOUR, 0)
    window = slice(max((first - origin) // HOUR, 0), hours)
    begun = np.full((3, before), values[0, 0], dtype=np.int64)
    return np.concatenate([begun, values[:, window]], axis=1), _gaps(known[window])


def _gaps(known: npt.NDArray[np.bool_]) -> list[int]:
    padded = np.concatenate([[True], known, [True]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded))
    return [int(length) for length in edges[1::2] - edges[::2]]


def _column(values: Integers) -> Column:
    return Column(dtype="int64", shape=values.shape, data=values.astype("<i8").tobytes())
