"""How far a path's moves must be stretched until a silo becomes liquidatable.

At the multiplier λ a term is worth v₀ + λ·(v - v₀), but it never changes sign: no price falls below zero. Along λ a
weighted sum is therefore straight up to its terms' kinks, and more collateral or less debt never brings a touch nearer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aggregator.exact.compilation import compiled
from aggregator.exact.sums import product
from aggregator.scenarios.columns import PATH_COLUMNS
from aggregator.valuation.books import Floats, Ints, RuleBook, RuleRows
from aggregator.valuation.sides import surplus, surpluses

NEVER = 1e30
"""Multiplier of a path that cannot touch however far it is stretched."""


class Lines(NamedTuple):
    """Rule terms and rows, and scratch for one path."""

    held: RuleBook
    rows: RuleRows
    sums: Ints
    """Weighted sum per column."""
    kinks: Floats
    """Of a silo's terms in one column, smallest first."""
    values: Ints
    """What the term of each kink is worth now."""
    moves: Ints
    """How much more in the column."""


@compiled
def empty_lines(held: RuleBook, rows: RuleRows) -> Lines:
    """Return room for every silo of a book."""
    terms = 0
    for silo in range(held.silo_terms.size - 1):
        terms = max(terms, held.silo_terms[silo + 1] - held.silo_terms[silo])
    return Lines(
        held,
        rows,
        np.zeros(PATH_COLUMNS, dtype=np.int64),
        np.zeros(terms),
        np.zeros(terms, dtype=np.int64),
        np.zeros(terms, dtype=np.int64),
    )


@compiled
def multiplier(surplus: int, lowest: int) -> float:
    """Return the factor on a path's moves at which it just touches: λ with surplus + λ·(lowest - surplus) = 0."""
    if surplus <= 0:
        return 0.0
    if lowest >= surplus:
        return NEVER
    return float(surplus) / (float(surplus) - float(lowest))


@compiled
def kink(now: int, then: int) -> float:
    """Return the multiplier at which a term that moves from `now` to `then` is worth nothing."""
    if (now > 0 and then < now) or (now < 0 and then > now):
        return float(now) / (float(now) - float(then))
    return NEVER


@compiled
def first_kinks(silo: int, path: int, held: RuleBook, rows: RuleRows) -> tuple[float, float]:
    """Return multipliers up to which every term of the silo is straight on the path, and every one that is owed."""
    nearest, owed = NEVER, NEVER
    for p in range(held.silo_terms[silo], held.silo_terms[silo + 1]):
        row = held.rows[p]
        now = rows.mantissas[row, 0]
        bend = kink(now, rows.lowest[row, path] if now > 0 else rows.highest[row, path])
        nearest = min(nearest, bend)
        if product(held.lots[p], now) < 0:
            owed = min(owed, bend)
    return nearest, owed


@compiled
def sort_kinks(silo: int, column: int, lines: Lines) -> int:
    """Write a silo's terms in one column into `lines`, the first to reach its kink first; return how many there are."""
    held, rows, begin, end = lines.held, lines.rows, lines.held.silo_terms[silo], lines.held.silo_terms[silo + 1]
    for p in range(begin, end):
        now, then, place = rows.mantissas[held.rows[p], 0], rows.mantissas[held.rows[p], column], p - begin
        bend, value = kink(now, then), product(held.lots[p], now)
        while place > 0 and lines.kinks[place - 1] > bend:
            lines.kinks[place] = lines.kinks[place - 1]
            lines.values[place] = lines.values[place - 1]
            lines.moves[place] = lines.moves[place - 1]
            place -= 1
        lines.kinks[place] = bend
        lines.values[place] = value
        lines.moves[place] = product(held.lots[p], then) - value
    return int(end - begin)


@compiled
def bent_stretch(level: int, lowest: int, terms: int, lines: Lines, limit: float) -> float:
    """Return the multiplier at which the sum of one column becomes negative, `limit` where that is not before it.

    Kink by kink: a term beyond its own is worth nothing and leaves the sum.

    Args:
        level: The sum now.
        lowest: The sum in the column.
        terms: How many of `lines` are the silo's.
        lines: The silo's terms in the column, sorted by kinks.
        limit: Largest multiplier of interest.
    """
    slope, passed = lowest - level, 0.0
    for index in range(terms + 1):
        following = min(lines.kinks[index], limit) if index < terms else limit
        rounding = 2.0 * terms * (1.0 + following)  # of the products; a sum that ends at 0 does not touch
        if slope < 0 and float(level) + following * float(slope) < -rounding:
            return min(max(float(level) / -float(slope), passed), following)
        if following >= limit:
            return limit
        passed = following
        level -= lines.values[index]
        slope -= lines.moves[index]
    return limit


@compiled
def path_stretch(silo: int, path: int, lines: Lines, limit: float) -> tuple[int, float]:
    """Return a silo's smallest weighted sum on a path, and the multiplier at which it touches.

    Args:
        silo: Index into the book.
        path: Index of the path.
        lines: Book, rows and scratch.
        limit: Multipliers from here on need not be told apart: beyond a kink it is returned for all of them.
    """
    held, rows, start, sums = lines.held, lines.rows, 1 + path * PATH_COLUMNS, lines.sums
    surpluses(silo, start, held, rows.mantissas, sums)
    now, lowest = surplus(silo, 0, held, rows.mantissas), sums.min()
    # One line per path instead of 72: while no term changes sign, sums are straight in λ and the lowest column decides.
    straight = multiplier(now, lowest)
    bent, owed = first_kinks(silo, path, held, rows)
    if straight <= max(bent, 1.0):
        return lowest, straight
    if bent >= limit or (owed >= limit and straight >= limit):
        return lowest, limit
    nearest = limit
    for c in range(PATH_COLUMNS):
        if owed < nearest or multiplier(now, sums[c]) < nearest:  # kinks of collateral only lift the sum
            terms = sort_kinks(silo, start + c, lines)
            nearest = bent_stretch(now, sums[c], terms, lines, nearest)
    return lowest, nearest
