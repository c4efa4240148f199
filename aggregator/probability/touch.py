"""When silos become liquidatable along the paths.

Exact: a silo touches in the first column where its weighted sum is negative. A path whose bound (each term at its own
worst step) is not negative cannot touch and is not walked. Touched paths are walked on by `liquidation`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aggregator.exact.compilation import compiled
from aggregator.exact.sums import fold
from aggregator.exact.units import LIMB_BITS, LOW_LIMB, POSITIONS_PER_FOLD, LotArray
from aggregator.parameters import Parameters
from aggregator.probability.liquidation import walk
from aggregator.probability.score import safe_multiplier
from aggregator.probability.stretch import NEVER, Lines, empty_lines, multiplier, path_stretch
from aggregator.scenarios.columns import PATH_COLUMNS
from aggregator.valuation.books import Bools, Floats, Int16s, Int32s, Ints, RuleBook, RuleRows, rule_book, rule_rows
from aggregator.valuation.sides import NO_ANSWER, Sides, View, empty_sides, fill_sides, surplus
from riskschema.arrays import PositionTable, RiskArrays


class TouchResult(NamedTuple):
    """Columns per account and per silo."""

    insolvencies: Ints
    """Sum over paths of the largest weight of a silo that is left with debt and no collateral."""
    loss: Floats
    """Sum over paths of what liquidations cost the holder, in dollars."""
    silo_touches: Ints
    silo_multiplier: Floats
    """Factor on the moves at which the wanted rank of paths touches; below 1 when so many touch already."""
    joint_touches: Ints
    """Per silo: paths on which any silo of its account touches that weighs at least as much."""
    joint_multiplier: Floats
    touched: Int16s
    """Shape (accounts, blocks): the largest weight of a silo that touches on the path."""


class Wanted(NamedTuple):
    """Which smallest multiplier is wanted, and how far to look."""

    rank: int
    repayments: int
    """In one column."""
    far: float
    """Multipliers from here on need not be told apart: the score is 0."""


class Paths(NamedTuple):
    """Scratch, one element per path; and for the walk along one of them."""

    bound: Ints
    low: Ints
    stretch: Floats
    walked: Bools
    joint: Floats
    touched: Int16s
    insolvent: Int16s
    ranked: Floats
    lines: Lines
    along: Sides


class Work(NamedTuple):
    """What the kernels of one batch read and write."""

    held: RuleBook
    rows: RuleRows
    wanted: Wanted
    paths: Paths
    result: TouchResult


@compiled
def bounds(rows: Int32s, lots: LotArray, extremes: RuleRows, high: Ints, low: Ints) -> None:
    """Write into `high` a lower bound of the weighted sum on each path: every term at its own worst step."""
    high[:] = 0
    low[:] = 0
    for p in range(rows.size):
        upper, lower = np.int32(lots[p] >> LIMB_BITS), np.int32(lots[p] & LOW_LIMB)
        row = extremes.lowest[rows[p]] if lots[p] >= 0 else extremes.highest[rows[p]]
        for b in range(high.size):
            high[b] += np.int64(upper) * np.int64(row[b])
            low[b] += np.int64(lower) * np.int64(row[b])
        if p % POSITIONS_PER_FOLD == POSITIONS_PER_FOLD - 1:
            fold(high, low)
    fold(high, low)


@compiled
def smallest(values: Floats, ranked: Floats) -> float:
    """Return the r-th smallest value, r the size of the scratch `ranked`; the largest if there are fewer."""
    rank, filled = ranked.size, 0
    for index in range(values.size):
        value = values[index]
        if filled == rank and value >= ranked[rank - 1]:
            continue
        place = filled if filled < rank else rank - 1
        while place > 0 and ranked[place - 1] > value:
            ranked[place] = ranked[place - 1]
            place -= 1
        ranked[place] = value
        filled = min(filled + 1, rank)
    return float(ranked[filled - 1])


@compiled
def stretch_paths(silo: int, held: RuleBook, rows: RuleRows, wanted: Wanted, paths: Paths) -> None:
    """Write each path's multiplier, exact up to the wanted rank or to `far`, and a lower bound beyond.

    The paths with the smallest bounds are walked first: the largest of their exact values cannot be below the wanted
    rank's, so walking every path bounded by it (and every path that may touch) makes the rank exact.
    """
    begin, end = held.silo_terms[silo], held.silo_terms[silo + 1]
    now = surplus(silo, 0, held, rows.mantissas)
    bounds(held.rows[begin:end], held.lots[begin:end], rows, paths.bound, paths.low)
    for b in range(paths.bound.size):
        paths.stretch[b] = multiplier(now, paths.bound[b])
    # A bound may be too small, never too large: the tenth-smallest bound cannot exceed the tenth-smallest multiplier.
    # Walking the paths up to it gives exact multipliers, and no wanted one exceeds the largest of them, `reach`.
    limit, reach = min(smallest(paths.stretch, paths.ranked), wanted.far), 1.0
    for b in range(paths.bound.size):
        paths.walked[b] = paths.stretch[b] <= limit
        if paths.walked[b]:
            paths.bound[b], paths.stretch[b] = path_stretch(silo, b, paths.lines, wanted.far)
            reach = max(reach, paths.stretch[b])
    for b in range(paths.bound.size):
        if paths.stretch[b] <= reach and not paths.walked[b]:
            paths.bound[b], paths.stretch[b] = path_stretch(silo, b, paths.lines, reach)


@compiled
def touch_silo(silo: int, held: RuleBook, rows: RuleRows, wanted: Wanted, paths: Paths) -> tuple[int, float]:
    """Return a silo's touches and what they cost in dollars over all paths; mark them in `paths`."""
    found, lost, weight = 0, 0.0, held.weights[silo]
    stretch_paths(silo, held, rows, wanted, paths)
    for b in range(paths.bound.size):
        if held.liquidatable[silo]:
            paths.stretch[b] = 0.0
        if held.liquidatable[silo] or paths.bound[b] < 0:
            found += 1
            fill_sides(silo, View(1 + b * PATH_COLUMNS, NO_ANSWER, 0.0), held, rows.mantissas, paths.along)
            outcome = walk(paths.along, held.close_factors[silo], wanted.repayments)
            lost += outcome.loss * held.value_units[silo]
            paths.touched[b] = max(paths.touched[b], weight)
            if outcome.insolvent:
                paths.insolvent[b] = max(paths.insolvent[b], weight)
        if weight:
            paths.joint[b] = min(paths.joint[b], paths.stretch[b])
    return found, lost


@compiled
def heaviest_first(first: int, last: int, weights: Int16s) -> Ints:
    """Return the silos from `first` to before `last`, those of the largest weight first."""
    order = np.arange(first, last)
    for place in range(1, order.size):
        silo, hole = order[place], place
        while hole > 0 and weights[order[hole - 1]] < weights[silo]:
            order[hole] = order[hole - 1]
            hole -= 1
        order[hole] = silo
    return order


@compiled
def note_set(silos: Ints, work: Work) -> None:
    """Write what the silos so far touch together, as the columns of `silos`: the lightest of them."""
    touched = np.count_nonzero(work.paths.touched)
    joint = min(smallest(work.paths.joint, work.paths.ranked), work.wanted.far)
    for silo in silos:
        work.result.joint_touches[silo] = touched
        work.result.joint_multiplier[silo] = joint


@compiled
def touch_account(account: int, work: Work) -> None:
    """Fill one account's columns, from its heaviest silos on: each set of silos is the one before and more."""
    held, paths, result = work.held, work.paths, work.result
    paths.joint[:] = NEVER
    paths.touched[:] = 0
    paths.insolvent[:] = 0
    order, begin = heaviest_first(held.account_silos[account], held.account_silos[account + 1], held.weights), 0
    for place in range(order.size):
        silo = order[place]
        result.silo_multiplier[silo] = work.wanted.far
        if held.liquidatable[silo] or held.silo_terms[silo] < held.silo_terms[silo + 1]:
            found, lost = touch_silo(silo, held, work.rows, work.wanted, paths)
            result.silo_touches[silo] = found
            result.loss[account] += lost
            result.silo_multiplier[silo] = min(smallest(paths.stretch, paths.ranked), work.wanted.far)
        if place + 1 == order.size or held.weights[order[place + 1]] < held.weights[silo]:
            note_set(order[begin : place + 1], work)
            begin = place + 1
    result.touched[account] = paths.touched
    for b in range(paths.insolvent.size):
        result.insolvencies[account] += paths.insolvent[b]


@compiled
def touches(held: RuleBook, rows: RuleRows, wanted: Wanted, result: TouchResult) -> None:
    """Work through all accounts; `result` holds zeros and receives everything.

    Args:
        held: Rule terms.
        rows: Rule rows.
        wanted: Rank and bound of the walk.
        result: Columns to fill.
    """
    blocks = rows.lowest.shape[1]
    paths = Paths(
        np.zeros(blocks, dtype=np.int64),
        np.zeros(blocks, dtype=np.int64),
        np.zeros(blocks),
        np.zeros(blocks, dtype=np.bool_),
        np.zeros(blocks),
        np.zeros(blocks, dtype=np.int16),
        np.zeros(blocks, dtype=np.int16),
        np.zeros(wanted.rank),
        empty_lines(held, rows),
        empty_sides(PATH_COLUMNS),
    )
    work = Work(held, rows, wanted, paths, result)
    for account in range(held.account_silos.size - 1):
        touch_account(account, work)


def account_touches(table: PositionTable, arrays: RiskArrays, weights: Int16s, parameters: Parameters) -> TouchResult:
    """Return touches, multipliers and losses of all accounts of `table`.

    Args:
        table: The accounts.
        arrays: The round's arrays.
        weights: Per silo: how much it decides about its account's probability, in parts per ten thousand.
        parameters: The parameter file.
    """
    held = rule_book(table, weights)
    accounts, silos = held.account_silos.size - 1, held.silo_terms.size - 1
    result = TouchResult(
        insolvencies=np.zeros(accounts, dtype=np.int64),
        loss=np.zeros(accounts),
        silo_touches=np.zeros(silos, dtype=np.int64),
        silo_multiplier=np.zeros(silos),
        joint_touches=np.zeros(silos, dtype=np.int64),
        joint_multiplier=np.zeros(silos),
        touched=np.zeros((accounts, arrays.blocks), dtype=np.int16),
    )
    model = parameters.probability
    far = safe_multiplier(arrays.blocks, model)
    wanted = Wanted(rank=model.tail_paths, repayments=parameters.liquidation.maximum_repayments, far=far)
    touches(held, rule_rows(arrays), wanted, result)
    return result
