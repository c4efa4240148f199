"""Hourly prices of many assets from matrices: one Parquet file each for close, high and low, one column per asset.

File names hold ``_1h_close_``, ``_1h_high_`` and ``_1h_low_`` and are otherwise equal; ``ts`` is the Unix time of the
hour's open, every other column an asset priced in dollars (``BTC`` or ``BTCUSDT``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.market import HISTORY_PRICE_DECIMALS, HourlyHistory

HOUR = 3_600
KINDS = ("close", "high", "low")
MAX_HOURS = 50 * 8_766
MAX_ASSETS = 1_000
LARGEST_PRICE = 9.2e6

Floats = npt.NDArray[np.float64]
Matrix = tuple[npt.NDArray[np.int64], dict[str, Floats]]


def read_matrices(folder: Path) -> tuple[HourlyHistory, ...]:
    """Return the history of every asset of every matrix in `folder` (or in its folder ``prices``), one factor each.

    An asset's hours before its first and after its last price are left out; one missing in between repeats the close
    before it, flat, and the history says so in `filled`. Highs and lows stored in single precision are widened to
    their close.

    Raises:
        InvalidData: no matrix is there, or one is wrong (file and column are named).
    """
    inside = folder / "prices" if (folder / "prices").is_dir() else folder
    closes = sorted(inside.glob("*_1h_close_*.parquet"))
    if not closes:
        raise InvalidData(f"{inside}: no file named *_1h_close_*.parquet", code="file_unreadable")
    return tuple(history for path in closes for history in _one_matrix(path))


def _one_matrix(path: Path) -> list[HourlyHistory]:
    files = {kind: path.with_name(path.name.replace("_1h_close_", f"_1h_{kind}_")) for kind in KINDS}
    tables = {kind: _read(file) for kind, file in files.items()}
    hours, closes = tables["close"]
    for kind in ("high", "low"):
        if not np.array_equal(tables[kind][0], hours) or tables[kind][1].keys() != closes.keys():
            raise InvalidData(f"{files[kind]}: has other hours or columns than {path.name}", code="invalid_document")
    return [
        _history(hours, {kind: tables[kind][1][name] for kind in KINDS}, f"{path} column {name}", name)
        for name in closes
        if np.isfinite(closes[name]).any()
    ]


def _read(path: Path) -> Matrix:
    try:
        import pyarrow  # noqa: PLC0415 - an optional dependency, asked for only by those who have such files
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise InvalidData(
            f"{path}: reading Parquet needs pyarrow: install plimsoll[history]", code="file_unreadable"
        ) from error
    try:
        table: Any = pyarrow.parquet.read_table(path)
        names = [name for name in table.column_names if name != "ts"]
        if "ts" not in table.column_names or len(names) > MAX_ASSETS or table.num_rows > MAX_HOURS:
            raise InvalidData(
                f"{path}: needs a column ts, at most {MAX_ASSETS} others and {MAX_HOURS} hours", code="invalid_document"
            )
        hours = np.asarray(table["ts"].to_numpy(), dtype=np.int64)
        columns = {name: np.asarray(table[name].to_numpy(), dtype=np.float64) for name in names}
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InvalidData(f"{path}: no readable Parquet: {str(error)[:200]}", code="file_unreadable") from error
    if hours.size < 1 or np.any(hours % HOUR) or np.any(np.diff(hours) != HOUR):
        raise InvalidData(f"{path} column ts: not one row for every hour, in order", code="invalid_document")
    return hours, columns


def _history(hours: npt.NDArray[np.int64], prices: dict[str, Floats], where: str, name: str) -> HourlyHistory:
    known = np.flatnonzero(np.isfinite(prices["close"]))
    part = slice(int(known[0]), int(known[-1]) + 1)
    close, high, low = (prices[kind][part].copy() for kind in KINDS)
    missing = ~(np.isfinite(close) & np.isfinite(high) & np.isfinite(low))
    source = np.maximum.accumulate(np.where(np.isfinite(close), np.arange(close.size), 0))
    close = close[source]
    high = np.where(missing, close, np.maximum(high, close))
    low = np.where(missing, close, np.minimum(low, close))
    if low.min() <= 0.0 or high.max() > LARGEST_PRICE:
        raise InvalidData(f"{where}: a price is not positive, or above {LARGEST_PRICE:,.0f}", code="invalid_document")
    factor = name.removesuffix("USDT") or name
    return HourlyHistory(
        first_hour=int(hours[part.start]),
        factors=(factor,),
        close=_column(close),
        high=_column(high),
        low=_column(low),
        simulated=False,
        filled=(factor,) if missing.any() else (),
    )


def _column(values: Floats) -> Column:
    units = np.rint(values * 10.0**HISTORY_PRICE_DECIMALS).astype("<i8")[None, :]
    return Column(dtype="int64", shape=units.shape, data=units.tobytes())
