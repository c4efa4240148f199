"""From touches to probability, score and grade."""

from __future__ import annotations

import math

import msgspec

from aggregator.exact.kernels import log10, power
from aggregator.parameter_tables import ProbabilityModel
from riskschema.assessment import GRADES, MAX_SCORE, Grade

LIQUIDATABLE: Grade = GRADES[-1]
"""What a venue itself calls liquidatable; the grades before it have a bound in the parameter file."""


class Verdict(msgspec.Struct, frozen=True):
    """What is published of a probability."""

    probability_ppm: int
    score: int
    grade: Grade


def touch_probability(touches: int, multiplier: float, blocks: int, model: ProbabilityModel) -> float:
    """Return the probability of a touch within the horizon.

    The share of paths that touch. Where fewer than `tail_paths` do, the share of `tail_paths` is also carried down by
    the power law of returns at the multiplier λ of moves at which so many would touch, p = (k/B)·λ^-a, and the larger
    of the two counts: what happened is not talked away. They meet at λ = 1.

    Args:
        touches: Paths that touch.
        multiplier: The k-th smallest λ over paths.
        blocks: Number of paths B.
        model: The `probability` parameters.
    """
    share = touches / blocks
    if touches >= model.tail_paths:
        return share
    return max(share, model.tail_paths / blocks * power(max(multiplier, 1.0), -model.tail_index))


def safe_multiplier(blocks: int, model: ProbabilityModel) -> float:
    """Return the multiplier λ from which on the power law gives a score of 0."""
    safest = 1 / 10**model.score_decades
    return max(power(model.tail_paths / blocks / safest, 1.0 / model.tail_index), 1.0)


def verdict(probability: float, *, liquidatable: bool, floor_ppm: int, model: ProbabilityModel) -> Verdict:
    """Return the published probability, the score and the grade.

    score = round(1000·clip((log10 p + d)/d, 0, 1)) of the probability before its published floor; d: `score_decades`.

    Args:
        probability: Between 0 and 1.
        liquidatable: A silo's own health is below 1 now: certain, grade D.
        floor_ppm: The probability is at least this (debts without a price).
        model: The `probability` parameters.
    """
    if liquidatable:
        return Verdict(1_000_000, MAX_SCORE, LIQUIDATABLE)
    chance = max(min(probability, 1.0), floor_ppm / 1e6)
    ppm = min(math.ceil(chance * 1e6), 1_000_000)
    grade = next(name for name in GRADES[:-1] if ppm <= getattr(model.grades, name))
    above = (log10(chance) + model.score_decades) / model.score_decades if chance > 0.0 else 0.0
    score = math.floor(MAX_SCORE * min(max(above, 0.0), 1.0) + 0.5)
    return Verdict(max(ppm, model.published_floor_ppm), score, grade)
