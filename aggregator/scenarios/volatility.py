"""Volatility of each factor from the agreed hourly history: a mixture of recursions, its cap, and its long-run level.

Five forecasts of the mean hourly variance of the next 24 hours: three exponential averages (RiskMetrics, 1996), a
GJR-GARCH recursion toward a slow average (Glosten, Jagannathan, Runkle, 1993; Engle, Lee, 1999), and a linear one in
realised variances of a day, a week and a month (Corsi, 2009). Their mixture has weights per asset group, fitted out of
sample (docs/validation.md). Everything is a recursion over agreed hours: nothing is estimated when a round runs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled
from aggregator.exact.kernels import power
from aggregator.parameter_tables import Volatility

Floats = NDArray[np.float64]

HOURS_PER_YEAR = 8760.0
DAY, WEEK, MONTH = 24, 168, 720
COMPONENTS = ("fast", "middle", "slow", "garch", "realised")
"""What the mixture is made of, in the order of the columns below."""


class Recursions(NamedTuple):
    """What the components are made of."""

    start: int
    """Hours whose mean square everything starts from."""
    fast: float
    """λ of an exponential average: what an hour leaves of the past."""
    middle: float
    slow: float
    long_run: float
    """Likewise, of the level that the GARCH recursion returns to."""
    alpha: float
    """Weight of a squared return in the next hour's variance."""
    gamma: float
    """Added for a negative return."""
    beta: float
    """Weight of the last hour's variance."""
    reach: float
    """What the next 24 hours keep, on average, of the next hour's distance from the long-run level."""
    level: float
    """Weight of the long-run level beside the realised variances of ..."""
    day: float
    """... the last 24 hours, ..."""
    week: float
    """... 168 hours, ..."""
    month: float
    """... and 720 hours."""


class Cap(NamedTuple):
    """Bounds on what is published."""

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
def window_mean(total: float, seen: int, window: int, model: Recursions, start: float) -> float:
    """Return the mean of the squares in a window, of those seen while it is not full, or the level of the start."""
    if seen >= window:
        return max(total, 0.0) / window
    if seen >= model.start:
        return total / seen
    return start


@compiled
def components(returns: Floats, model: Recursions, result: Floats) -> None:
    """Write the variance that each component expects before each hour, and after the last one.

    Args:
        returns: Hourly log returns, oldest first, at least one.
        model: Constants of the recursions.
        result: Shape (returns + 1, 5), in the order of COMPONENTS; mean hourly variance of the next 24 hours.
    """
    known = min(model.start, returns.size)
    start = 0.0
    for index in range(known):
        start += returns[index] * returns[index]
    start = start / known
    fast, middle, slow, level, hour = start, start, start, start, start
    persistence = model.alpha + model.gamma / 2.0 + model.beta
    day, week, month = 0.0, 0.0, 0.0
    for index in range(returns.size + 1):
        result[index, 0] = fast
        result[index, 1] = middle
        result[index, 2] = slow
        result[index, 3] = level + (hour - level) * model.reach
        recent = model.day * window_mean(day, index, DAY, model, start)
        recent += model.week * window_mean(week, index, WEEK, model, start)
        result[index, 4] = model.level * level + recent + model.month * window_mean(month, index, MONTH, model, start)
        if index < returns.size:
            square = returns[index] * returns[index]
            weight = model.alpha + (model.gamma if returns[index] < 0.0 else 0.0)
            fast = model.fast * fast + (1.0 - model.fast) * square
            middle = model.middle * middle + (1.0 - model.middle) * square
            slow = model.slow * slow + (1.0 - model.slow) * square
            level = model.long_run * level + (1.0 - model.long_run) * square
            hour = (1.0 - persistence) * level + weight * square + model.beta * hour
            day += square - (returns[index - DAY] * returns[index - DAY] if index >= DAY else 0.0)
            week += square - (returns[index - WEEK] * returns[index - WEEK] if index >= WEEK else 0.0)
            month += square - (returns[index - MONTH] * returns[index - MONTH] if index >= MONTH else 0.0)


@compiled
def mixed(variances: Floats, weights: Floats, cap: Cap, result: Floats) -> None:
    """Write the volatility published at each line of `variances`: the root of the weighted mean, bounded.

    Never below the floor, never more than `rise` times the value of 24 hours ago. The cap holds for what is published,
    not for the recursions themselves.
    """
    for index in range(variances.shape[0]):
        variance = 0.0
        for place in range(weights.size):
            variance += weights[place] * variances[index, place]
        current = max(math.sqrt(variance), cap.floor)
        if index >= DAY:
            current = min(current, cap.rise * result[index - DAY])
        result[index] = current


@compiled
def root_mean_square(returns: Floats) -> float:
    """Return the root of the mean square, summed in order."""
    total = 0.0
    for index in range(returns.size):
        total += returns[index] * returns[index]
    return math.sqrt(total / returns.size)


def recursions(model: Volatility, group: str) -> Recursions:
    """Return the constants of a group's components."""
    garch, realised = model.garch.of(group), model.realised.of(group)
    persistence = garch.alpha + garch.gamma / 2.0 + garch.beta
    kept, reach = 1.0, 0.0
    for _ in range(DAY):
        reach += kept
        kept *= persistence
    return Recursions(
        start=model.warm_up_hours,
        fast=power(0.5, 1.0 / model.fast_half_life_hours),
        middle=power(0.5, 1.0 / model.half_life_hours),
        slow=power(0.5, 1.0 / model.slow_half_life_hours),
        long_run=power(0.5, 1.0 / model.long_run_half_life_hours),
        alpha=garch.alpha,
        gamma=garch.gamma,
        beta=garch.beta,
        reach=reach / DAY,
        level=realised.level,
        day=realised.day,
        week=realised.week,
        month=realised.month,
    )


def forecast_series(returns: Floats, *, group: str, model: Volatility) -> tuple[Floats, float, float]:
    """Return the volatility known before each hour, today's forecast, and the long-run level (per √hour).

    Args:
        returns: Hourly log returns, oldest first.
        group: The factor's asset group: it sets the weights and the floor.
        model: The `volatility` parameters.
    """
    floor = hourly(model.floor_annual.of(group))
    variances = np.empty((returns.size + 1, len(COMPONENTS)))
    components(returns, recursions(model, group), variances)
    published = np.empty(returns.size + 1)
    weights = np.array([getattr(model.mixture.of(group), name) for name in COMPONENTS])
    mixed(variances, weights, Cap(rise=model.daily_rise_cap, floor=floor), published)
    return published[:-1], float(published[-1]), max(root_mean_square(returns), floor)


def with_implied(forecast: float, implied: float, *, group: str, model: Volatility) -> float:
    """Return a forecast that takes in what options say (per √hour), by its share of the variance in the group.

    Implied variance is scaled by what has been realised of it: options cost more than they turn out to be worth.
    """
    share, ratio = model.implied_share.of(group), model.implied_ratio.of(group)
    return math.sqrt((1.0 - share) * (forecast * forecast) + share * ratio * (implied * implied))
