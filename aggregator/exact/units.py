"""The engine's integer units and the shifts between them: no other module writes a scale as a number.

From a quantity to dollars: a *quantity* (base units) becomes *lots* of its row; lots times *mantissas*, summed and
shifted down by one limb, are *account values*; these become dollars of 10^-8. The table in docs/risk-model.md says the
same with bounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NewType

import numpy as np
from numpy.typing import NDArray

Lots = int
"""Signed number of lots. A row's lot is 2^LotExponent base units, an account's lot 2^Coarseness times as many."""
Mantissa = int
"""Value of one lot of a row in units of 2^-MANTISSA_BITS dollars."""
AccountValue = int
"""Sum of lots times mantissas in units of 2^(Coarseness - VALUE_BITS) dollars."""
LotExponent = NewType("LotExponent", int)
"""Of two, per row: base units in one of its lots."""
Coarseness = NewType("Coarseness", int)
"""Of two, per account (or per rule): how many of a row's lots are one of the account's."""

LotArray = NDArray[np.int64]
MantissaArray = NDArray[np.int32]
AccountValueArray = NDArray[np.int64]

MANTISSA_BITS = 53
"""A mantissa counts 2^-53 dollars."""
LOT_VALUE_BITS = 27
"""A lot is worth at least 2^-27 dollars now, and less than twice that: mantissas start in [2^26, 2^27)."""
MANTISSA_LIMIT = 1 << 30
"""Mantissas saturate here, at 8 to 16 times the reference; the row is then marked."""
LIMB_BITS = 24
"""Lots are added in two limbs, lots = high·2^24 + low, so that no product or sum leaves 64 bits."""
LOW_LIMB = (1 << LIMB_BITS) - 1
POSITIONS_PER_FOLD = 128
"""Low limbs are carried after so many positions: 128 products below 2^54 stay below 2^61."""
VALUE_BITS = MANTISSA_BITS - LIMB_BITS
"""An account value counts 2^(coarseness - 29) dollars: what is left of a mantissa's unit above the low limb."""
ACCOUNT_LOTS_BITS = 44
"""An account's lots sum to at most 2^44 in size: larger accounts have coarser lots."""
FINEST_COARSENESS = Coarseness(-20)
"""Lots are not made finer than 2^-20 of a row's: what is worth a tenth of a dollar already has 2^43 of them."""
USD_UNIT = 10**8
"""Dollar amounts are published in units of 10^-8."""
PER_MILLE = 1_000
PER_MILLION = 1_000_000
FULL_WEIGHT = 10_000
"""Of a silo that decides its account's probability by itself: the finest part, .0001, is where the score begins."""


def lot_exponent(reference: float) -> LotExponent:
    """Return a row's exponent for a reference value in dollars per base unit; 0 for a worthless row."""
    if reference <= 0.0:
        return LotExponent(0)
    return LotExponent(1 - LOT_VALUE_BITS - math.frexp(reference)[1])


def in_mantissas(values: NDArray[np.float64] | np.float64, exponent: LotExponent) -> NDArray[np.float64]:
    """Return values in dollars per base unit as whole mantissas, not yet cut at the limit."""
    return np.asarray(np.rint(np.ldexp(values, exponent + MANTISSA_BITS)))


def to_lots(
    quantity: int, exponent: LotExponent, coarse: Coarseness, *, denominator: int = 1, up: bool = False
) -> Lots:
    """Return quantity/denominator base units in lots, rounded down (assets down, debts up) or up."""
    bits = exponent + coarse
    shifted, divisor = (quantity << -bits, denominator) if bits < 0 else (quantity, denominator << bits)
    return -(-shifted // divisor) if up else shifted // divisor


def coarseness(sizes: Sequence[float]) -> Coarseness:
    """Return how coarse lots must be so that `sizes` (in lots of their rows) sum to at most 2^44."""
    total = 0.0
    for size in sizes:
        total += size
    return Coarseness(max(FINEST_COARSENESS, math.frexp(total)[1] - ACCOUNT_LOTS_BITS)) if total else FINEST_COARSENESS


def value_unit(coarse: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the dollars that one unit of account value is, per account or rule."""
    return np.asarray(np.ldexp(1.0, coarse - VALUE_BITS))


def whole_parts(share: float, scale: int) -> int:
    """Return a share as a whole number of parts of `scale`.

    Raises:
        ValueError: it lies between two.
    """
    parts = round(share * scale)
    if parts / scale != share:
        raise ValueError(f"{share} is no whole number of parts in {scale:,}")
    return parts
