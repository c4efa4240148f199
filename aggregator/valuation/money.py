"""From units of value to US dollars, rounding stated."""

from __future__ import annotations

import math

from riskschema.units import Usd

SHIFT = 29


def usd_floor(value: int, exponent: int) -> Usd:
    """Return value·2^(exponent - 29) dollars, rounded down to 10^-8."""
    scaled = value * 10**8
    return Usd(scaled >> (SHIFT - exponent) if exponent <= SHIFT else scaled << (exponent - SHIFT))


def usd_ceiling(value: int, exponent: int) -> Usd:
    """Return value·2^(exponent - 29) dollars, rounded up to 10^-8."""
    return Usd(-usd_floor(-value, exponent))


def usd_from_dollars(dollars: float) -> Usd:
    """Return a dollar amount rounded up to 10^-8."""
    numerator, denominator = dollars.as_integer_ratio()
    return Usd(-(-numerator * 10**8 // denominator))


def dollars(value: int, exponent: int) -> float:
    """Return value·2^(exponent - 29) as the nearest float."""
    return math.ldexp(float(value), exponent - SHIFT)
