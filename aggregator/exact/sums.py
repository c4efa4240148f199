"""Integer sums of lots times mantissas in two limbs: exact, and the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled
from aggregator.exact.units import (
    LIMB_BITS,
    LOW_LIMB,
    POSITIONS_PER_FOLD,
    AccountValue,
    AccountValueArray,
    LotArray,
    Lots,
    Mantissa,
    MantissaArray,
)

Ints = NDArray[np.int64]


@compiled
def product(lots: Lots, mantissa: Mantissa) -> AccountValue:
    """Return the account value of one position, ⌊lots·mantissa / 2^24⌋.

    The whole product may need 74 bits; each limb's fits: |lots| ≤ 2^44 leaves 20 bits above, and |mantissa| ≤ 2^30.
    """
    return (lots >> LIMB_BITS) * mantissa + (((lots & LOW_LIMB) * mantissa) >> LIMB_BITS)


@compiled
def add_products(lots: Lots, row: MantissaArray, sums: AccountValueArray) -> None:
    """Add to each column the account value of one position, rounded as `product` rounds it."""
    upper = np.int32(lots >> LIMB_BITS)
    lower = np.int32(lots & LOW_LIMB)
    for c in range(row.size):
        sums[c] += np.int64(upper) * np.int64(row[c]) + ((np.int64(lower) * np.int64(row[c])) >> LIMB_BITS)


@compiled
def add_row(lots: Lots, row: MantissaArray, high: Ints, low: Ints) -> None:
    """Add lots·row to the two limbs of every column."""
    upper = np.int32(lots >> LIMB_BITS)  # both limbs as int32, so that the loop multiplies 32 by 32 bits in vectors
    lower = np.int32(lots & LOW_LIMB)
    for c in range(row.size):
        high[c] += np.int64(upper) * np.int64(row[c])
        low[c] += np.int64(lower) * np.int64(row[c])


@compiled
def fold(high: Ints, low: Ints) -> None:
    """Carry the low limbs into the high ones, keeping the sum exact."""
    for c in range(high.size):
        high[c] += low[c] >> LIMB_BITS
        low[c] &= LOW_LIMB


@compiled
def column_values(
    rows: NDArray[np.int32], lots: LotArray, table: MantissaArray, high: AccountValueArray, low: Ints
) -> None:
    """Write into `high` the account value of positions in every column, rounded down once for the whole sum.

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
        if p % POSITIONS_PER_FOLD == POSITIONS_PER_FOLD - 1:
            fold(high, low)
    for c in range(high.size):
        high[c] += low[c] >> LIMB_BITS
