"""How far a path's moves must be stretched until a silo becomes liquidatable.

At the multiplier λ a term is worth v₀ + λ·(v - v₀), but it never changes sign: no price falls below zero. Along λ a
weighted sum is therefore straight up to its terms' kinks, and more collateral or less debt never brings a touch nearer.
"""

from __future__ import annotations

import numpy as np

from aggregator.exact.compilation import compiled
from aggregator.exact.sums import product
from aggregator.exact.units import ABOVE_ALL_VALUES
from aggregator.scenarios.columns import PATH_COLUMNS
from aggregator.valuation.books import RuleBook, RuleRows
from aggregator.valuation.sides import surplus

NEVER = 1e30
"""Multiplier of a path that cannot touch however far it is stretched."""


@compiled
def multiplier(surplus: int, lowest: int) -> float:
    """Return the factor on a path's moves at which it just touches: λ with surplus + λ·(lowest - surplus) = 0."""
    if surplus <= 0:
        return 0.0
    if lowest >= surplus:
        return NEVER
    return float(surplus) / (float(surplus) - float(lowest))


@compiled
def lowest_sum(silo: int, start: int, held: RuleBook, rows: RuleRows) -> int:
    """Return the smallest weighted sum over the 72 columns from `start`."""
    least = ABOVE_ALL_VALUES
    for column in range(start, start + PATH_COLUMNS):
        least = min(least, surplus(silo, column, held, rows.mantissas))
    return least


@compiled
def kink(now: int, then: int) -> float:
    """Return the multiplier at which a term that moves from `now` to `then` is worth nothing."""
    if (now > 0 and then < now) or (now < 0 and then > now):
        return float(now) / (float(now) - float(then))
    return NEVER


@compiled
def first_kink(silo: int, path: int, held: RuleBook, rows: RuleRows) -> float:
    """Return a multiplier up to which every term of the silo is straight on the path."""
    nearest = NEVER
    for p in range(held.silo_terms[silo], held.silo_terms[silo + 1]):
        row = held.rows[p]
        now = rows.mantissas[row, 0]
        nearest = min(nearest, kink(now, rows.lowest[row, path] if now > 0 else rows.highest[row, path]))
    return nearest


@compiled
def bent_stretch(silo: int, column: int, held: RuleBook, rows: RuleRows, limit: float) -> float:
    """Return the multiplier at which the sum of one column becomes negative, `limit` where that is not before it.

    Kink by kink: a term beyond its own is worth nothing and leaves the sum.
    """
    begin, end = held.silo_terms[silo], held.silo_terms[silo + 1]
    level, slope, owed = 0, 0, NEVER
    for p in range(begin, end):
        now, then = rows.mantissas[held.rows[p], 0], rows.mantissas[held.rows[p], column]
        value = product(held.lots[p], now)
        level += value
        slope += product(held.lots[p], then) - value
        if value < 0:
            owed = min(owed, kink(now, then))
    if owed >= limit and multiplier(level, level + slope) >= limit:  # kinks of collateral only lift the sum
        return limit
    kinks, passed = np.empty(end - begin), 0.0
    values, moves = np.empty(end - begin, dtype=np.int64), np.empty(end - begin, dtype=np.int64)
    for p in range(begin, end):
        now, then, place = rows.mantissas[held.rows[p], 0], rows.mantissas[held.rows[p], column], p - begin
        kinks[place] = kink(now, then)
        values[place] = product(held.lots[p], now)
        moves[place] = product(held.lots[p], then) - values[place]
    order = np.argsort(kinks, kind="mergesort")
    for index in range(order.size + 1):
        following = min(kinks[order[index]], limit) if index < order.size else limit
        rounding = 2.0 * (end - begin) * (1.0 + following)  # of the products; a sum that ends at 0 does not touch
        if slope < 0 and float(level) + following * float(slope) < -rounding:
            return min(max(float(level) / -float(slope), passed), following)
        if following >= limit:
            return limit
        passed = following
        level -= values[order[index]]
        slope -= moves[order[index]]
    return limit


@compiled
def path_stretch(silo: int, path: int, held: RuleBook, rows: RuleRows, limit: float) -> tuple[int, float]:
    """Return a silo's smallest weighted sum on a path, and the multiplier at which it touches.

    Args:
        silo: Index into `held`.
        path: Index of the path.
        held: Rule terms.
        rows: Rule rows.
        limit: Multipliers from here on need not be told apart: beyond a kink it is returned for all of them.
    """
    lowest = lowest_sum(silo, 1 + path * PATH_COLUMNS, held, rows)
    # One line per path instead of 72: while no term changes sign, sums are straight in λ and the lowest column decides.
    straight = multiplier(surplus(silo, 0, held, rows.mantissas), lowest)
    bent = first_kink(silo, path, held, rows)
    if straight <= max(bent, 1.0):
        return lowest, straight
    if bent >= limit:
        return lowest, limit
    nearest = limit
    for column in range(1 + path * PATH_COLUMNS, 1 + (path + 1) * PATH_COLUMNS):
        nearest = min(nearest, bent_stretch(silo, column, held, rows, nearest))
    return lowest, nearest
