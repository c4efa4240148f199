"""Integer sums of lots times mantissas in two limbs: exact, and the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aggregator.valuation.compilation import compiled

Ints = NDArray[np.int64]
Mantissas = NDArray[np.int32]

LOW_MASK = (1 << 24) - 1
FOLD = 128


@compiled
def product(lots: int, mantissa: int) -> int:
    """Return ⌊lots·mantissa / 2^24⌋ without leaving 64 bits (|lots| ≤ 2^44, |mantissa| ≤ 2^30)."""
    return (lots >> 24) * mantissa + (((lots & LOW_MASK) * mantissa) >> 24)


@compiled
def add_row(lots: int, row: Mantissas, high: Ints, low: Ints) -> None:
    """Add lots·row to the two limbs of every column."""
    upper = np.int32(lots >> 24)
    lower = np.int32(lots & LOW_MASK)
    for c in range(row.size):
        high[c] += np.int64(upper) * np.int64(row[c])
        low[c] += np.int64(lower) * np.int64(row[c])


@compiled
def fold(high: Ints, low: Ints) -> None:
    """Carry the low limbs into the high ones, keeping the sum exact: needed every 128 positions."""
    for c in range(high.size):
        high[c] += low[c] >> 24
        low[c] &= LOW_MASK


@compiled
def column_values(rows: NDArray[np.int32], lots: Ints, table: Mantissas, high: Ints, low: Ints) -> None:
    """Write into `high` the value of positions in every column, rounded down to 2^-29 USD times the lots' exponent.

    Args:
        rows: Row of each position.
        lots: Lots of each position, their sizes adding up to at most 2^44.
        table: Mantissas (rows, columns).
        high: Receives the values.
        low: Scratch of the same size.
    """
    high[:] = 0
    low[:] = 0
    for p in range(rows.size):
        add_row(lots[p], table[rows[p]], high, low)
        if p % FOLD == FOLD - 1:
            fold(high, low)
    for c in range(high.size):
        high[c] += low[c] >> 24
