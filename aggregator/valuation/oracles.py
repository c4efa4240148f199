"""What a venue's oracle answers along the paths: its kind decides what it sees, its deviation and heartbeat when.

A market-following oracle answers anew when the step's low, high or close differs from its answer by the deviation, or
at the close once the heartbeat has passed; else it stays, also where the market is ahead of it already.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled
from aggregator.scenarios.columns import HOURS, PATH_COLUMNS

Floats = NDArray[np.float64]

HOUR_SECONDS = 3600


class Feed(NamedTuple):
    """When an oracle answers anew."""

    deviation: float
    """Relative difference from its answer at which it does."""
    age: int
    """Seconds since it did."""
    heartbeat: int
    """Seconds after which it does anyway."""


@compiled
def follow(market: Floats, answer: float, feed: Feed, result: Floats) -> None:
    """Write the answers along every path.

    Args:
        market: The market's price over the price now: base column first, then low, high and close of each hour.
        answer: The oracle's answer now, in the same unit: 1 is the market now.
        feed: When it answers anew.
        result: One answer per column.
    """
    result[0] = answer
    for start in range(1, market.size, PATH_COLUMNS):
        current, age = answer, feed.age
        for hour in range(HOURS):
            age += HOUR_SECONDS
            for side in range(3):
                column = start + 3 * hour + side
                due = side == 2 and age >= feed.heartbeat
                if due or abs(market[column] - current) >= feed.deviation * current:
                    current, age = market[column], 0
                result[column] = current


def answers(market: Floats, answer: float, feed: Feed) -> Floats:
    """Return the answers along the paths; as in `follow`."""
    result = np.empty_like(market)
    follow(market, answer, feed, result)
    return result
