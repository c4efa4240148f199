"""How sure a probability is: an interval for what so many replayed days can say."""

from __future__ import annotations

import math
from typing import NamedTuple

from aggregator.parameter_tables import ProbabilityModel
from aggregator.probability.score import touch_probability


class Chance(NamedTuple):
    """A probability between its bounds."""

    probability: float
    low: float
    high: float

    def plus(self, share: float, other: Chance) -> Chance:
        """Return this and a share of another, as if both erred together."""
        return Chance(*(mine + share * theirs for mine, theirs in zip(self, other, strict=True)))


IMPOSSIBLE = Chance(0.0, 0.0, 0.0)


def wilson(found: int, blocks: int, deviations: float) -> tuple[float, float]:
    """Return the score interval of a share (Wilson, 1927; recommended by Brown, Cai, DasGupta, 2001).

    Args:
        found: Of the blocks, those that count.
        blocks: Number of independent blocks.
        deviations: Standard deviations on either side: 1.96 covers 95 %.
    """
    share, square = found / blocks, deviations * deviations
    spread = deviations * math.sqrt(share * (1.0 - share) / blocks + square / (4.0 * blocks * blocks))
    middle, scale = share + square / (2.0 * blocks), 1.0 + square / blocks
    return (middle - spread) / scale, (middle + spread) / scale


def touch_chance(touches: int, multiplier: float, blocks: int, model: ProbabilityModel) -> Chance:
    """Return the probability of a touch and the interval of the paths that it rests on.

    Below `tail_paths` touches the estimate is carried down from that many, and so are its bounds: the power law itself
    is taken as given. All blocks count as independent: standardised days of 28 tokens touch together no more often than
    independent ones (design effect 1.0 at every rank from 11 to 330 of 1,100; Bartlett weights over 20 days).

    Args:
        touches: Paths that touch.
        multiplier: The k-th smallest λ over paths.
        blocks: Number of paths.
        model: The `probability` parameters.
    """
    estimate, known = touch_probability(touches, multiplier, blocks, model), max(touches, model.tail_paths)
    low, high = wilson(min(known, blocks), blocks, model.interval_deviations)
    carried = estimate / (known / blocks)
    return Chance(estimate, max(low * carried, 0.0), min(high * carried, 1.0))
