"""Quantiles and tails of sampled losses, and the scores of forecasts, their conventions stated once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SMALLEST = 1e-6
"""Probabilities are kept this far from 0 and 1 where their logarithm is taken."""


def value_at_risk(losses: Floats, level: float) -> Floats:
    """Return the loss that one more draw exceeds with probability 1 - level, along the last axis.

    Of n draws the k-th largest is exceeded by the next with probability k/(n + 1) (Weibull plotting position), so the
    value lies at k = (1 - level)·(n + 1), between two of them where that is not whole; with too few draws it is the
    largest.
    """
    count = losses.shape[-1]
    place = (1.0 - level) * (count + 1)
    whole = min(max(int(place), 1), count)
    upper = min(whole + 1, count)
    part = np.partition(losses, [count - upper, count - whole], axis=-1)
    share = max(place - whole, 0.0)
    return np.asarray((1.0 - share) * part[..., count - whole] + share * part[..., count - upper])


def expected_shortfall(losses: Floats, level: float) -> Floats:
    """Return the mean of the worst 1 - level of the draws, the last counted in part (Rockafellar, Uryasev, 2000)."""
    count = losses.shape[-1]
    size = count * (1.0 - level)
    whole = int(size)
    ordered = np.sort(losses, axis=-1)[..., ::-1]
    total = ordered[..., :whole].sum(axis=-1) + (size - whole) * ordered[..., whole]
    return np.asarray(total / size)


def tail(losses: Floats, level: float, size: int) -> Floats:
    """Return `size` losses at even steps through the worst 1 - level of the draws, largest first, along a last axis."""
    count = losses.shape[-1]
    reach = max(int(np.ceil(round((1.0 - level) * count, 9))), 1)
    ordered = np.sort(losses, axis=-1)[..., ::-1][..., :reach]
    places = (np.arange(size) * reach) // size
    return np.asarray(ordered[..., places])


def quantile_loss(realised: Floats, forecast: Floats, level: float) -> Floats:
    """Return the tick loss of a quantile forecast, element by element; its mean is least at the true quantile.

    Level·(x - q) above the forecast, (1 - level)·(q - x) below (Koenker, Bassett, 1978).
    """
    excess = realised - forecast
    return np.asarray(np.maximum(level * excess, (level - 1.0) * excess))


def log_loss(probability: Floats, happened: Floats) -> Floats:
    """Return -log of the probability given to what happened, element by element."""
    chance = np.clip(probability, SMALLEST, 1.0 - SMALLEST)
    return np.asarray(-np.where(happened > 0.5, np.log(chance), np.log1p(-chance)))


def brier(probability: Floats, happened: Floats) -> Floats:
    """Return the squared error of a probability, element by element (Brier, 1950)."""
    return np.asarray((probability - happened) ** 2)


def area_under_curve(probability: Floats, happened: Floats) -> float | None:
    """Return the chance that what happened was given a higher probability than what did not, equal ones half.

    The area under the receiver operating characteristic (Hanley, McNeil, 1982); None where all or none happened.
    """
    order = np.argsort(probability, kind="stable")
    values, hits = probability[order], happened[order] > 0.5
    first = np.flatnonzero(np.concatenate([[True], values[1:] > values[:-1]]))
    last = np.append(first[1:], values.size)
    ranks = np.repeat((first + last - 1) / 2.0 + 1.0, last - first)
    count = int(hits.sum())
    others = hits.size - count
    return float((ranks[hits].sum() - count * (count + 1) / 2.0) / (count * others)) if count and others else None


def calibration_error(probability: Floats, happened: Floats, bins: Sequence[float]) -> float:
    """Return the mean distance of predicted and observed shares over bins, each by its number of predictions.

    Args:
        probability: Predicted.
        happened: 0 or 1.
        bins: Upper edges of all bins but the last; an edge belongs to the bin below it.
    """
    places = np.searchsorted(np.asarray(bins), probability, side="left")
    gaps = np.bincount(places, weights=probability - happened)
    return float(np.abs(gaps).sum() / probability.size)
