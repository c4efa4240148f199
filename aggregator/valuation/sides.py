"""Both sides of a silo as its venue sees them: what is held, what is owed, and what a liquidator takes on top."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aggregator.exact.compilation import compiled
from aggregator.exact.sums import add_products, product
from aggregator.exact.units import PER_MILLION, MantissaArray
from aggregator.valuation.books import Floats, Ints, RuleBook

NO_ANSWER = -2
"""The number of none, not even of what has no answer (-1)."""


class View(NamedTuple):
    """Columns in which a silo is looked at, at its oracle's answers, of which one may be off by a relative move."""

    start: int
    """The first column."""
    wrong: int
    """Number of the wrong answer; `NO_ANSWER`: all are right."""
    move: float


class Sides(NamedTuple):
    """One silo in some columns, in account values of its rule."""

    weighted: Floats
    """Collateral at its weights."""
    collateral: Floats
    premium: Floats
    """Bonus on all collateral."""
    required: Floats
    """What the weighted collateral must cover: debts, with the margin on what is short."""
    debt: Floats
    counted: Ints
    """Scratch."""
    worth: Ints
    """Scratch."""


@compiled
def surplus(silo: int, column: int, held: RuleBook, mantissas: MantissaArray) -> int:
    """Return a silo's weighted sum in a column: negative where it is liquidatable."""
    total = 0
    for p in range(held.silo_terms[silo], held.silo_terms[silo + 1]):
        total += product(held.lots[p], mantissas[held.rows[p], column])
    return total


@compiled
def surpluses(silo: int, start: int, held: RuleBook, mantissas: MantissaArray, result: Ints) -> None:
    """Write a silo's weighted sums in the columns from `start`, as many as `result` has."""
    result[:] = 0
    for p in range(held.silo_terms[silo], held.silo_terms[silo + 1]):
        add_products(held.lots[p], mantissas[held.rows[p], start : start + result.size], result)


@compiled
def empty_sides(columns: int) -> Sides:
    """Return room for both sides of a silo in so many columns."""
    return Sides(
        np.zeros(columns),
        np.zeros(columns),
        np.zeros(columns),
        np.zeros(columns),
        np.zeros(columns),
        np.zeros(columns, dtype=np.int64),
        np.zeros(columns, dtype=np.int64),
    )


@compiled
def fill_sides(silo: int, view: View, held: RuleBook, mantissas: MantissaArray, result: Sides) -> None:
    """Write both sides of a silo in the columns of a view, as many as `result` has."""
    weighted, collateral, premium, required, debt, counted, worth = result
    weighted[:] = 0.0
    collateral[:] = 0.0
    premium[:] = 0.0
    required[:] = 0.0
    debt[:] = 0.0
    for p in range(held.silo_terms[silo], held.silo_terms[silo + 1]):
        row = mantissas[held.rows[p], view.start : view.start + weighted.size]
        factor = 1.0 + view.move if held.answers[p] == view.wrong else 1.0
        bonus = held.bonuses[p] / PER_MILLION
        counted[:] = 0
        worth[:] = 0
        add_products(held.lots[p], row, counted)
        add_products(held.gross[p], row, worth)
        # Every column takes both branches, so that the loop runs in vectors.
        for c in range(weighted.size):
            value, size = float(counted[c]) * factor, float(worth[c]) * factor
            is_held = size > 0.0
            weighted[c] += value if is_held else 0.0
            collateral[c] += size if is_held else 0.0
            premium[c] += size * bonus if is_held else 0.0
            required[c] -= 0.0 if is_held else value
            debt[c] -= 0.0 if is_held else size
