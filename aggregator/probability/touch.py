"""When silos become liquidatable along the paths.

Exact: a silo touches in the first column where its weighted sum is negative. A path whose bound (each term at its own
worst step) is not negative cannot touch and is not walked. Touched paths are walked on by `liquidation`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled
from aggregator.exact.sums import fold
from aggregator.exact.units import LIMB_BITS, LOW_LIMB, POSITIONS_PER_FOLD, LotArray
from aggregator.parameters import Parameters
from aggregator.probability.liquidation import walk
from aggregator.probability.score import safe_multiplier
from aggregator.probability.stretch import NEVER, multiplier, path_stretch, surplus_now
from aggregator.scenarios.columns import PATH_COLUMNS
from aggregator.valuation.books import Floats, Int8s, Int32s, Ints, RuleBook, RuleRows, rule_book, rule_rows
from riskschema.arrays import PositionTable, RiskArrays


class TouchResult(NamedTuple):
    """Columns per account and per silo."""

    touches: Ints
    """Paths on which any counted silo of the account touches."""
    insolvencies: Ints
    """Paths that leave a counted silo with debt and no collateral."""
    multiplier: Floats
    """Factor on the moves at which the wanted rank of paths touches; below 1 when so many touch already."""
    loss: Floats
    """Sum over paths of what liquidations cost the holder, in dollars."""
    silo_touches: Ints
    silo_multiplier: Floats
    touched: Int8s
    """Shape (accounts, blocks): 1 where a counted silo touches on the path."""


class Wanted(NamedTuple):
    """Which smallest multiplier is wanted, and how far to look."""

    rank: int
    repayments: int
    """In one column."""
    far: float
    """Multipliers from here on need not be told apart: the score is 0."""


class Paths(NamedTuple):
    """Scratch, one element per path."""

    bound: Ints
    low: Ints
    stretch: Floats
    joint: Floats
    touched: Int8s
    insolvent: Int8s
    ranked: Floats


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
    surplus = surplus_now(silo, held, rows)
    bounds(held.rows[begin:end], held.lots[begin:end], rows, paths.bound, paths.low)
    for b in range(paths.bound.size):
        paths.stretch[b] = multiplier(surplus, paths.bound[b])
    # A bound may be too small, never too large: the tenth-smallest bound cannot exceed the tenth-smallest multiplier.
    # Walking the paths up to it gives exact multipliers, and no wanted one exceeds the largest of them, `reach`.
    limit, reach = min(smallest(paths.stretch, paths.ranked), wanted.far), 1.0
    for b in range(paths.bound.size):
        if paths.stretch[b] <= limit:
            reach = max(reach, path_stretch(silo, b, held, rows, wanted.far)[1])
    for b in range(paths.bound.size):
        if paths.stretch[b] <= reach:
            paths.bound[b], paths.stretch[b] = path_stretch(silo, b, held, rows, reach)


@compiled
def touch_silo(silo: int, held: RuleBook, rows: RuleRows, wanted: Wanted, paths: Paths) -> tuple[int, float]:
    """Return a silo's touches and what they cost in dollars over all paths; mark them in `paths`."""
    found, lost = 0, 0.0
    stretch_paths(silo, held, rows, wanted, paths)
    for b in range(paths.bound.size):
        if paths.bound[b] < 0:
            found += 1
            outcome = walk(silo, 1 + b * PATH_COLUMNS, held, rows, wanted.repayments)
            lost += outcome.loss * held.value_units[silo]
            if held.counted[silo]:
                paths.touched[b] = 1
                if outcome.insolvent:
                    paths.insolvent[b] = 1
        if held.counted[silo]:
            paths.joint[b] = min(paths.joint[b], paths.stretch[b])
    return found, lost


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
        np.zeros(blocks),
        np.zeros(blocks, dtype=np.int8),
        np.zeros(blocks, dtype=np.int8),
        np.zeros(wanted.rank),
    )
    for account in range(held.account_silos.size - 1):
        paths.joint[:] = NEVER
        paths.touched[:] = 0
        paths.insolvent[:] = 0
        for silo in range(held.account_silos[account], held.account_silos[account + 1]):
            result.silo_multiplier[silo] = NEVER
            if held.silo_terms[silo] < held.silo_terms[silo + 1]:
                found, lost = touch_silo(silo, held, rows, wanted, paths)
                result.silo_touches[silo] = found
                result.loss[account] += lost
                result.silo_multiplier[silo] = smallest(paths.stretch, paths.ranked)
        result.touched[account] = paths.touched
        for b in range(blocks):
            result.touches[account] += paths.touched[b]
            result.insolvencies[account] += paths.insolvent[b]
        result.multiplier[account] = smallest(paths.joint, paths.ranked)


def account_touches(
    table: PositionTable, arrays: RiskArrays, counted: NDArray[np.int8], parameters: Parameters
) -> TouchResult:
    """Return touches, multipliers and losses of all accounts of `table`.

    Args:
        table: The accounts.
        arrays: The round's arrays.
        counted: Per silo: 1 where its debt is large enough to decide the account's probability.
        parameters: The parameter file.
    """
    held = rule_book(table, counted)
    accounts, silos = held.account_silos.size - 1, held.silo_terms.size - 1
    result = TouchResult(
        touches=np.zeros(accounts, dtype=np.int64),
        insolvencies=np.zeros(accounts, dtype=np.int64),
        multiplier=np.zeros(accounts),
        loss=np.zeros(accounts),
        silo_touches=np.zeros(silos, dtype=np.int64),
        silo_multiplier=np.zeros(silos),
        touched=np.zeros((accounts, arrays.blocks), dtype=np.int8),
    )
    model = parameters.probability
    far = safe_multiplier(arrays.blocks, model)
    wanted = Wanted(rank=model.tail_paths, repayments=parameters.liquidation.maximum_repayments, far=far)
    touches(held, rule_rows(arrays), wanted, result)
    return result
