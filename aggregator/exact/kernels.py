"""exp, log, power and the normal distribution from + - x ÷ √ alone: the same bits on every CPU.

numpy's and libm's own versions differ between CPUs in the last bit. `frexp`, `ldexp` and `floor` only move bits.
"""

# The coefficients of `exp` and `log` are those of fdlibm (e_exp.c, e_log.c); NOTICE has it for all of the project:
# Copyright (C) 1993, 2004 by Sun Microsystems, Inc. All rights reserved.
# Developed at SunSoft, a Sun Microsystems, Inc. business. Permission to use, copy, modify, and distribute this software
# is freely granted, provided that this notice is preserved.

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled

Floats = NDArray[np.float64]

LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
INVERSE_LN2 = 1.44269504088896338700e00
INVERSE_LN10 = 0.43429448190325182765
HALF_SQRT2 = 0.70710678118654752440


@compiled
def exp(x: float) -> float:
    """Return e^x within 1 ulp (2 ulp where the result is subnormal).

    Remez rational of FreeBSD/Sun fdlibm ``e_exp.c``; overflows to infinity above 709.78, to 0 below -745.13.
    """
    if math.isnan(x):
        return x
    if x > 709.782712893384:
        return math.inf
    if x < -745.1332191019412:
        return 0.0
    n = math.floor(x * INVERSE_LN2 + 0.5)
    high = x - n * LN2_HIGH
    low = n * LN2_LOW
    r = high - low
    t = r * r
    c = r - t * (
        1.66666666666666019037e-01
        + t
        * (
            -2.77777777770155933842e-03
            + t * (6.61375632143793436117e-05 + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))
        )
    )
    return math.ldexp(1.0 - ((low - (r * c) / (2.0 - c)) - high), int(n))


@compiled
def log(x: float) -> float:
    """Return ln x within 1 ulp (fdlibm ``e_log.c``); -inf at 0, NaN below."""
    if math.isnan(x) or x < 0.0:
        return math.nan
    if x == 0.0:
        return -math.inf
    if x == math.inf:
        return x
    mantissa, exponent = math.frexp(x)
    if mantissa < HALF_SQRT2:
        mantissa *= 2.0
        exponent -= 1
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    odd = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    k = float(exponent)
    return k * LN2_HIGH - ((half - (s * (half + (even + odd)) + k * LN2_LOW)) - f)


@compiled
def power(x: float, y: float) -> float:
    """Return x^y for x > 0 as exp(y·ln x); relative error at most (1 + |y·ln x|)·2^-52."""
    return exp(y * log(x))


@compiled
def log10(x: float) -> float:
    """Return the decimal logarithm within 2 ulp, or 1e-16 absolute near 1."""
    return log(x) * INVERSE_LN10


@compiled
def normal_cdf(x: float) -> float:
    """Return the standard normal distribution function; absolute error below 1e-15.

    Hart's algorithm 5666 as given by G. West, "Better approximations to cumulative normal functions" (Wilmott, 2005).
    """
    z = abs(x)
    if z > 37.0:
        tail = 0.0
    else:
        density = exp(-0.5 * z * z)
        if z < 7.07106781186547:
            above = 3.52624965998911e-02 * z + 0.700383064443688
            above = above * z + 6.37396220353165
            above = above * z + 33.912866078383
            above = above * z + 112.079291497871
            above = above * z + 221.213596169931
            above = above * z + 220.206867912376
            below = 8.83883476483184e-02 * z + 1.75566716318264
            below = below * z + 16.064177579207
            below = below * z + 86.7807322029461
            below = below * z + 296.564248779674
            below = below * z + 637.333633378831
            below = below * z + 793.826512519948
            below = below * z + 440.413735824752
            tail = density * above / below
        else:
            fraction = z + 1.0 / (z + 2.0 / (z + 3.0 / (z + 4.0 / (z + 0.65))))
            tail = density / (fraction * 2.506628274631)
    return 1.0 - tail if x > 0.0 else tail


@compiled
def exp_each(values: Floats, scale: float, result: Floats) -> None:
    """Write exp(scale·value) of each element of a flat array."""
    for index in range(values.size):
        result[index] = exp(scale * values[index])


@compiled
def log_each(values: Floats, result: Floats) -> None:
    """Write ln(value) of each element of a flat array."""
    for index in range(values.size):
        result[index] = log(values[index])


@compiled
def black76_each(forward: Floats, strike: float, deviation: Floats, sign: float, result: Floats) -> None:
    """Write undiscounted Black-76 prices and forward deltas.

    F. Black, "The pricing of commodity contracts" (1976). A deviation of 0 gives the intrinsic value.

    Args:
        forward: Forward prices, above 0.
        strike: Above 0, in the forward's currency.
        deviation: Volatility times the root of the time to expiry, at least 0.
        sign: 1 for calls, -1 for puts.
        result: Shape (2, forwards): receives prices and their derivatives by the forward.
    """
    for index in range(forward.size):
        f, s = forward[index], deviation[index]
        if s <= 0.0:
            intrinsic = sign * (f - strike)
            result[0, index] = max(intrinsic, 0.0)
            result[1, index] = sign if intrinsic > 0.0 else 0.0
        else:
            d1 = log(f / strike) / s + 0.5 * s
            n1 = normal_cdf(sign * d1)
            value = sign * (f * n1 - strike * normal_cdf(sign * (d1 - s)))
            result[0, index] = max(value, 0.0)
            result[1, index] = sign * n1


def logarithms(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ln of positive numbers, of one dimension."""
    result = np.empty(values.size, dtype=np.float64)
    log_each(values.astype(np.float64), result)
    return result
