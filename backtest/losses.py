"""Quantiles and tails of sampled losses, their convention stated once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
