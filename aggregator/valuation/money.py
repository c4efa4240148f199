"""From account values to US dollars, rounding stated."""

from __future__ import annotations

import math

from aggregator.exact.units import USD_UNIT, VALUE_BITS, AccountValue, Coarseness
from riskschema.units import Usd


def usd_floor(value: AccountValue, coarse: Coarseness) -> Usd:
    """Return an account value in dollars, rounded down to 10^-8."""
    return Usd(floor_shift(value * USD_UNIT, VALUE_BITS - coarse))


def usd_ceiling(value: AccountValue, coarse: Coarseness) -> Usd:
    """Return an account value in dollars, rounded up to 10^-8."""
    return Usd(-usd_floor(-value, coarse))


def floor_shift(value: int, bits: int) -> int:
    """Return ⌊value / 2^bits⌋, also for negative `bits`."""
    return value >> bits if bits >= 0 else value << -bits


def usd_from_dollars(dollars: float) -> Usd:
    """Return a dollar amount rounded up to 10^-8."""
    numerator, denominator = dollars.as_integer_ratio()
    return Usd(-(-numerator * USD_UNIT // denominator))


def dollars(value: AccountValue, coarse: Coarseness) -> float:
    """Return an account value as the nearest float."""
    return math.ldexp(float(value), coarse - VALUE_BITS)
