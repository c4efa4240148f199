"""Do losses exceed a quantile forecast as often, and as irregularly, as they should?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CHI_SQUARE_95 = 3.841458820694124
"""95 % quantile of χ² with one degree of freedom."""


class Coverage(NamedTuple):
    """Violations of a quantile forecast; arrays of the shape of the series counted."""

    days: int
    violations: NDArray[np.int64]
    kupiec: Floats
    """Likelihood ratio of the unconditional rate (Kupiec, 1995): χ² with one degree of freedom."""
    independence: Floats
    """Likelihood ratio of a first-order Markov chain against independence (Christoffersen, 1998): likewise."""


def _log_likelihood(successes: NDArray[np.int64], failures: NDArray[np.int64]) -> Floats:
    """Return the largest log likelihood of Bernoulli counts; 0·log 0 is 0."""
    total = np.maximum(successes + failures, 1)
    parts = []
    for count in (successes, failures):
        share = np.where(count > 0, count / total, 1.0)
        parts.append(count * np.log(share))
    return np.asarray(parts[0] + parts[1])


def coverage(violated: Flags, rate: float) -> Coverage:
    """Count violations along the first axis (days) and test them; the other axes are series.

    Args:
        violated: True where the loss exceeded its forecast.
        rate: Share of days it should.
    """
    days = violated.shape[0]
    count = violated.sum(axis=0)
    expected = count * math.log(rate) + (days - count) * math.log1p(-rate)
    before, after = violated[:-1], violated[1:]
    both = (before & after).sum(axis=0)
    left, entered = (before & ~after).sum(axis=0), (~before & after).sum(axis=0)
    neither = (days - 1) - both - left - entered
    apart = _log_likelihood(entered, neither) + _log_likelihood(both, left)
    together = _log_likelihood(entered + both, neither + left)
    return Coverage(days, count, 2.0 * (_log_likelihood(count, days - count) - expected), 2.0 * (apart - together))


def shortfall_statistic(losses: Floats, violated: Flags, shortfall: Floats, rate: float) -> Floats:
    """Return Z2 = 1 - Σ L·1{violated}/(T·rate·ES) along the first axis (Acerbi, Szekely, 2014).

    Its mean is 0 under the model and negative where violations are too many or too large.
    """
    days = losses.shape[0]
    parts = np.where(violated, losses, 0.0) / np.maximum(shortfall, np.finfo(np.float64).tiny)
    return np.asarray(1.0 - parts.sum(axis=0) / (days * rate))


def simulated_shortfall(tails: Floats, shortfall: Floats, rate: float, draws: int, seed: int) -> Floats:
    """Return `draws` values of Z2 of one series under its own forecasts, sorted: critical values without a table.

    Args:
        tails: Shape (days, n): each day's forecast losses beyond the quantile, equally likely.
        shortfall: Per day.
        rate: Share of days that violate.
        draws: Number of simulated series.
        seed: Of the simulation.
    """
    generator = np.random.default_rng(seed)
    days, size = tails.shape
    ratios = tails / np.maximum(shortfall, np.finfo(np.float64).tiny)[:, None]
    counts = generator.binomial(days, rate, draws)
    picked = ratios[generator.integers(0, days, counts.sum()), generator.integers(0, size, counts.sum())]
    sums = np.bincount(np.repeat(np.arange(draws), counts), weights=picked, minlength=draws)
    return np.sort(1.0 - sums / (days * rate))
