"""What chance alone does to the figures: intervals from blocks of days, and how often a perfect model would pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backtest.coverage import CHI_SQUARE_95, coverage, shortfall_statistic

Floats = NDArray[np.float64]
BLOCK_DAYS = 10
"""Days drawn together: bad days come in runs."""


def day_blocks(days: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Return `draws` rows of `days` day numbers: a circular block bootstrap (Politis, Romano, 1992)."""
    generator = np.random.default_rng(seed)
    length = min(BLOCK_DAYS, days)
    starts = generator.integers(0, days, (draws, -(-days // length)))
    return np.asarray((starts[:, :, None] + np.arange(length)).reshape(draws, -1)[:, :days] % days)


def mean_interval(sums: Floats, counts: Floats, *, draws: int = 1_000, seed: int = 1) -> tuple[float, float, float]:
    """Return the pooled mean of daily sums over daily counts, with its 2.5 and 97.5 % bootstrap quantiles.

    Args:
        sums: Per day.
        counts: Per day: how many observations each sum holds.
        draws: Resamples.
        seed: Of the resampling.
    """
    picked = day_blocks(sums.size, draws, seed)
    means = sums[picked].sum(axis=1) / np.maximum(counts[picked].sum(axis=1), 1.0)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sums.sum() / max(counts.sum(), 1.0)), float(low), float(high)


def perfect_shares(
    standardised: Floats, tails: Floats, critical: Floats, rate: float, *, draws: int = 400, seed: int = 2
) -> Floats:
    """Return, per resample, the shares of series that a perfect model would pass: Kupiec, independence, Z2.

    Days are drawn one by one, so violations are independent in time; each series' realised losses are ranked among
    themselves, so it violates with exactly the wanted probability; all series of a day are drawn together, so they
    depend on each other as they did.

    Args:
        standardised: Shape (days, series): realised loss over forecast quantile.
        tails: Shape (days, series, n): forecast losses beyond the quantile over the shortfall, largest first.
        critical: Per series: smallest Z2 that passes.
        rate: Share of days that violate.
        draws: Resamples.
        seed: Of the resampling.

    Returns:
        Shape (draws, 3).
    """
    generator = np.random.default_rng(seed)
    days, series = standardised.shape
    ranks = np.argsort(np.argsort(standardised, axis=0), axis=0)
    size = tails.shape[2]
    columns = np.arange(series)
    shares = np.empty((draws, 3))
    for draw in range(draws):
        picked: NDArray[np.int64] = generator.integers(0, days, size=(days,))
        place = (ranks[picked] + generator.random((days, series))) / days
        violated = place > 1.0 - rate
        beyond = np.clip(((1.0 - place) / rate * size).astype(np.int64), 0, size - 1)
        losses = np.where(violated, tails[picked[:, None], columns[None, :], beyond], 0.0)
        found = coverage(violated, rate)
        statistic = shortfall_statistic(losses, violated, np.ones_like(losses), rate)
        passed = (found.kupiec <= CHI_SQUARE_95, found.independence <= CHI_SQUARE_95, statistic >= critical)
        shares[draw] = [part.mean() for part in passed]
    return shares
