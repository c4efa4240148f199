"""Both sides of a silo as its venue sees them: what is held, what is owed, and what a liquidator takes on top."""

from __future__ import annotations

from typing import NamedTuple

from aggregator.exact.compilation import compiled
from aggregator.exact.sums import product
from aggregator.exact.units import PER_MILLION, MantissaArray
from aggregator.valuation.books import RuleBook

NO_ANSWER = -2
"""The number of none, not even of what has no answer (-1)."""


class WrongAnswer(NamedTuple):
    """One answer of a silo's oracle, off by a relative move."""

    answer: int
    """`NO_ANSWER`: all are right."""
    move: float


class Sides(NamedTuple):
    """One silo in one column, in account values of its rule."""

    weighted: float
    """Collateral at its weights."""
    collateral: float
    premium: float
    """Bonus on all collateral."""
    required: float
    """What the weighted collateral must cover: debts, with the margin on what is short."""
    debt: float


@compiled
def surplus(silo: int, column: int, held: RuleBook, mantissas: MantissaArray) -> int:
    """Return a silo's weighted sum in a column: negative where it is liquidatable."""
    total = 0
    for p in range(held.silo_terms[silo], held.silo_terms[silo + 1]):
        total += product(held.lots[p], mantissas[held.rows[p], column])
    return total


@compiled
def sides(silo: int, column: int, held: RuleBook, mantissas: MantissaArray, wrong: WrongAnswer) -> Sides:
    """Return both sides of a silo in a column, at the answers of its oracle, of which one may be wrong."""
    weighted, collateral, premium, required, debt = 0.0, 0.0, 0.0, 0.0, 0.0
    for p in range(held.silo_terms[silo], held.silo_terms[silo + 1]):
        mantissa = mantissas[held.rows[p], column]
        counted, worth = float(product(held.lots[p], mantissa)), float(product(held.gross[p], mantissa))
        if held.answers[p] == wrong.answer:
            counted, worth = counted * (1.0 + wrong.move), worth * (1.0 + wrong.move)
        if worth > 0.0:
            weighted += counted
            collateral += worth
            premium += worth * (held.bonuses[p] / PER_MILLION)
        else:
            required -= counted
            debt -= worth
    return Sides(weighted, collateral, premium, required, debt)
