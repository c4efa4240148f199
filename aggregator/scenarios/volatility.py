"""Volatility of each factor from the agreed hourly history: a recursion, its cap, and its long-run level."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled
from aggregator.exact.kernels import power
from aggregator.parameters import Volatility

Floats = NDArray[np.float64]

HOURS_PER_YEAR = 8760.0


class Recursion(NamedTuple):
    """What the recursion is made of."""

    start: int
    """Hours whose mean square it starts from."""
    decay: float
    """λ: what an hour leaves of the past."""
    rise: float
    """Largest ratio to the volatility published 24 hours before."""
    floor: float
    """Smallest volatility per square-root hour."""


def hourly(annual: float) -> float:
    """Return the volatility per square-root hour of an annual one."""
    return annual / math.sqrt(HOURS_PER_YEAR)


def annual(hourly_volatility: float) -> float:
    """Return the annual volatility of one per square-root hour."""
    return hourly_volatility * math.sqrt(HOURS_PER_YEAR)


@compiled
def recursion(returns: Floats, model: Recursion, result: Floats) -> float:
    """Write the volatility known before each hour, and return the one after the last.

    v ← λ·v + (1 - λ)·r² (RiskMetrics, 1996), started at the mean square of the first hours; never below the floor,
    never more than `rise` times the value of 24 hours ago. The cap holds for what is published, not for
    the recursion itself.

    Args:
        returns: Hourly log returns, oldest first, at least one.
        model: Its constants.
        result: Receives one value per return.
    """
    known = min(model.start, returns.size)
    variance = 0.0
    for index in range(known):
        variance += returns[index] * returns[index]
    variance = variance / known
    current = 0.0
    for index in range(returns.size + 1):
        current = math.sqrt(variance)
        current = max(current, model.floor)
        if index >= 24:
            limit = model.rise * result[index - 24]
            current = min(current, limit)
        if index < returns.size:
            result[index] = current
            variance = model.decay * variance + (1.0 - model.decay) * returns[index] * returns[index]
    return current


@compiled
def root_mean_square(returns: Floats) -> float:
    """Return the root of the mean square, summed in order."""
    total = 0.0
    for index in range(returns.size):
        total += returns[index] * returns[index]
    return math.sqrt(total / returns.size)


def forecast_series(returns: Floats, *, group: str, model: Volatility) -> tuple[Floats, float, float]:
    """Return the volatility known before each hour, today's forecast, and the long-run level (per √hour).

    Args:
        returns: Hourly log returns, oldest first.
        group: The factor's asset group: it sets the floor.
        model: The `volatility` parameters.
    """
    floor = hourly(model.floor_annual.of(group))
    known = np.empty_like(returns)
    decay = power(0.5, 1.0 / model.half_life_hours)
    constants = Recursion(start=model.warm_up_hours, decay=decay, rise=model.daily_rise_cap, floor=floor)
    today = recursion(returns, constants, known)
    return known, today, max(root_mean_square(returns), floor)
