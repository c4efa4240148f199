"""What stands in for a factor without history: beta times its group's leading factor, and noise of its own.

Two unknown assets are neither identical nor independent. The noise has the number of the factor in the factor list, so
no two have the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aggregator.parameter_tables import Proxy
from aggregator.parameters import Parameters
from aggregator.scenarios.reference_blocks import own_blocks

Floats = NDArray[np.float64]


def proxy_blocks(leading: Floats, stream: int, *, led: float, parameters: Parameters) -> Floats:
    """Return standardised blocks of unit variance, shape (blocks, 24, 3): low, high, close.

    Args:
        leading: The leading factor's blocks.
        stream: Number of the factor's own noise.
        led: Share of its volatility that is beta times the leading factor's; the rest of its variance is its own.
        parameters: The parameter file.
    """
    parts = parameters.paths.reference_parts_per_hour
    own_share = max(math.sqrt(max(1.0 - led * led, 0.0)), parameters.proxy.smallest_own_share)
    own = own_share * own_blocks(stream, blocks=leading.shape[0], parts_per_hour=parts)
    return summed(math.sqrt(1.0 - own_share * own_share) * leading, own)


def summed(first: Floats, second: Floats) -> Floats:
    """Return the sum of two factors' moves of shape (blocks, 24, 3), whose extremes need not coincide.

    Low = min(low + other close, close + other low), highs likewise.
    """
    low = np.minimum(first[:, :, 0] + second[:, :, 2], first[:, :, 2] + second[:, :, 0])
    high = np.maximum(first[:, :, 1] + second[:, :, 2], first[:, :, 2] + second[:, :, 1])
    return np.stack([low, high, first[:, :, 2] + second[:, :, 2]], axis=2)


def quartile(values: Sequence[float], model: Proxy) -> float:
    """Return the value at the wanted quartile, the lower of two."""
    ordered = sorted(values)
    return ordered[model.volatility_quartile * (len(ordered) - 1) // 4]
