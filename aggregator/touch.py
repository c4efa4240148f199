"""When silos become liquidatable along the paths, and what liquidations then cost.

Phase 1 is exact: a silo touches at the first column in which its weighted sum is negative. A path whose bound, the sum of
each term at its own worst step, is not negative cannot touch and is not walked. Phase 2 walks touched paths on.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.arrays import view
from aggregator.compilation import compiled
from aggregator.parameters import Parameters
from aggregator.sums import product
from riskschema.arrays import PositionTable, RiskArrays

Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]
Floats = NDArray[np.float64]

STEPS = 72
NEVER = 1e30
"""Multiplier of a path that cannot touch however far it is stretched."""


class TouchResult(msgspec.Struct, frozen=True, kw_only=True):
    """Per account and per silo."""

    touches: Ints
    """Paths on which any counted silo of the account touches."""
    multiplier: Floats
    """Factor on the moves at which the `tail_paths`-th path of the account touches; below 1 when so many touch."""
    insolvencies: Ints
    """Paths that leave a silo with more debt than collateral."""
    loss: Floats
    """Sum over paths of liquidation bonuses paid and bad debt avoided, in dollars; never negative."""
    silo_touches: Ints
    silo_multiplier: Floats
    silo_surplus: Ints
    """Weighted sum now, in units of 2^(rule exponent − 29) USD."""


@compiled
def bounds(rows: Int32s, lots: Ints, lowest: Int32s, highest: Int32s, high: Ints, low: Ints) -> None:
    """Write into `high` a lower bound of the weighted sum on each path: every term at its own worst step."""
    high[:] = 0
    low[:] = 0
    for p in range(rows.size):
        upper, lower = np.int32(lots[p] >> 24), np.int32(lots[p] & 0xFFFFFF)
        row = lowest[rows[p]] if lots[p] >= 0 else highest[rows[p]]
        for b in range(high.size):
            high[b] += np.int64(upper) * np.int64(row[b])
            low[b] += np.int64(lower) * np.int64(row[b])
        if p % 128 == 127:
            for b in range(high.size):
                high[b] += low[b] >> 24
                low[b] &= 0xFFFFFF
    for b in range(high.size):
        high[b] += low[b] >> 24


@compiled
def multiplier(surplus: int, lowest: int) -> float:
    """Return the factor on a path's moves at which it just touches: λ with surplus + λ·(lowest − surplus) = 0."""
    if surplus <= 0:
        return 0.0
    if lowest >= surplus:
        return NEVER
    return float(surplus) / (float(surplus) - float(lowest))


@compiled
def smallest(values: Floats, rank: int, scratch: Floats) -> float:
    """Return the `rank`-th smallest value (1 is the smallest), or the largest if there are fewer."""
    filled = 0
    for index in range(values.size):
        value = values[index]
        if filled == rank and value >= scratch[rank - 1]:
            continue
        place = filled if filled < rank else rank - 1
        while place > 0 and scratch[place - 1] > value:
            scratch[place] = scratch[place - 1]
            place -= 1
        scratch[place] = value
        filled = min(filled + 1, rank)
    return float(scratch[filled - 1])


@compiled
def path_minimum(rows: Int32s, lots: Ints, table: Int32s, start: int) -> int:
    """Return the smallest weighted sum over one path's 72 columns."""
    least = np.int64(1) << 62
    for c in range(start, start + STEPS):
        total = np.int64(0)
        for p in range(rows.size):
            total += product(lots[p], table[rows[p], c])
        least = min(least, total)
    return int(least)


@compiled
def walk(
    rows: Int32s,
    lots: Ints,
    gross: Ints,
    bonuses: Int32s,
    table: Int32s,
    start: int,
    close_factor: float,
    maximum_steps: int,
) -> tuple[float, bool]:
    """Liquidate a silo along one path; return what its holder loses and whether debt is left without collateral.

    Collateral is taken and debt repaid pro rata, at the path's prices plus the bonus, until the silo is healthy again.

    Args:
        rows: Rule rows of the terms.
        lots: Weighted lots.
        gross: Unweighted lots.
        bonuses: Liquidation bonus per term, parts per million.
        table: Rule mantissas.
        start: First column of the path.
        close_factor: Largest share of the debt repaid at once.
        maximum_steps: Liquidations at one column.
    """
    held, owed, loss = 1.0, 1.0, 0.0
    for c in range(start, start + STEPS):
        weighted, collateral, premium, debt = 0.0, 0.0, 0.0, 0.0
        for p in range(rows.size):
            mantissa = table[rows[p], c]
            if lots[p] > 0:
                weighted += float(product(lots[p], mantissa))
                worth = float(product(gross[p], mantissa))
                collateral += worth
                premium += worth * (bonuses[p] / 1e6)
            else:
                debt -= float(product(lots[p], mantissa))
        bonus = premium / collateral if collateral > 0.0 else 0.0
        for _ in range(maximum_steps):
            if debt * owed <= weighted * held:
                break
            repaid = close_factor * debt * owed
            seized = repaid * (1.0 + bonus)
            available = collateral * held
            if seized >= available:
                paid = available / (1.0 + bonus)
                loss += available - paid
                return loss, debt * owed > paid
            loss += seized - repaid
            held -= seized / collateral
            owed -= repaid / debt
    return loss, False


@compiled
def touches(
    account_silos: Ints,
    silo_terms: Ints,
    counted: NDArray[np.int8],
    close_factors: Int32s,
    rows: Int32s,
    lots: Ints,
    gross: Ints,
    bonuses: Int32s,
    table: Int32s,
    lowest: Int32s,
    highest: Int32s,
    rank: int,
    maximum_steps: int,
    counts: Ints,
    multipliers: Floats,
    units: Floats,
    losses: Floats,
    silo_counts: Ints,
    silo_multipliers: Floats,
    surpluses: Ints,
) -> None:
    """Work through all accounts; see `TouchResult` for what is written.

    Args:
        account_silos: Offsets of silos.
        silo_terms: Offsets of rule terms.
        counted: Per silo: whether its debt is large enough to decide.
        close_factors: Per silo, parts per million.
        rows: Rule row per term.
        lots: Weighted lots per term.
        gross: Unweighted lots per term.
        bonuses: Per term, parts per million.
        table: Rule mantissas.
        lowest: Smallest mantissa per rule row and path.
        highest: Largest likewise.
        rank: Which smallest multiplier is wanted.
        maximum_steps: Bound of a liquidation walk.
        counts: Receives touches and insolvencies (2, accounts).
        multipliers: Receives the account's multiplier.
        units: Per silo: dollars per unit of value.
        losses: Receives the loss in dollars.
        silo_counts: Receives touches.
        silo_multipliers: Receives the silo's multiplier.
        surpluses: Receives the weighted sum now.
    """
    blocks = lowest.shape[1]
    high, low = np.zeros(blocks, dtype=np.int64), np.zeros(blocks, dtype=np.int64)
    stretch, joint = np.zeros(blocks), np.zeros(blocks)
    insolvent, touched = np.zeros(blocks, dtype=np.int8), np.zeros(blocks, dtype=np.int8)
    scratch = np.zeros(rank)
    for account in range(account_silos.size - 1):
        joint[:] = NEVER
        insolvent[:] = 0
        touched[:] = 0
        for silo in range(account_silos[account], account_silos[account + 1]):
            begin, end = silo_terms[silo], silo_terms[silo + 1]
            silo_multipliers[silo] = NEVER
            if begin == end:
                continue
            some_rows, some_lots = rows[begin:end], lots[begin:end]
            surplus = np.int64(0)
            for p in range(begin, end):
                surplus += product(lots[p], table[rows[p], 0])
            surpluses[silo] = surplus
            bounds(some_rows, some_lots, lowest, highest, high, low)
            for b in range(blocks):
                stretch[b] = multiplier(surplus, high[b])
            # Walk the paths with the smallest bounds, then all that could still be below the rank's exact value.
            limit = smallest(stretch, rank, scratch)
            reach = 1.0
            for b in range(blocks):
                if stretch[b] <= limit:
                    exact = multiplier(surplus, path_minimum(some_rows, some_lots, table, 1 + b * STEPS))
                    reach = max(reach, exact)
            for b in range(blocks):
                if stretch[b] <= reach:
                    least = path_minimum(some_rows, some_lots, table, 1 + b * STEPS)
                    stretch[b] = multiplier(surplus, least)
                    if least < 0:
                        silo_counts[silo] += 1
                        if counted[silo]:
                            touched[b] = 1
                        lost, broke = walk(
                            some_rows,
                            some_lots,
                            gross[begin:end],
                            bonuses[begin:end],
                            table,
                            1 + b * STEPS,
                            close_factors[silo] / 1e6,
                            maximum_steps,
                        )
                        losses[account] += lost * units[silo]
                        if broke:
                            insolvent[b] = 1
                if counted[silo]:
                    joint[b] = min(joint[b], stretch[b])
            silo_multipliers[silo] = smallest(stretch, rank, scratch)
        for b in range(blocks):
            counts[0, account] += touched[b]
            counts[1, account] += insolvent[b]
        multipliers[account] = smallest(joint, rank, scratch)


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
    account_silos, silo_terms = view(table.account_silos), view(table.silo_terms)
    accounts, silos = account_silos.size - 1, silo_terms.size - 1
    mantissas = view(arrays.rule.mantissas)
    paths = mantissas[:, 1:].reshape(mantissas.shape[0], arrays.blocks, STEPS)
    counts = np.zeros((2, accounts), dtype=np.int64)
    multipliers, losses = np.zeros(accounts), np.zeros(accounts)
    silo_counts, silo_multipliers = np.zeros(silos, dtype=np.int64), np.zeros(silos)
    surpluses = np.zeros(silos, dtype=np.int64)
    touches(
        account_silos,
        silo_terms,
        counted,
        view(table.close_factors),
        view(table.term_rows),
        view(table.term_lots),
        view(table.term_gross),
        view(table.term_bonuses),
        mantissas,
        paths.min(axis=2),
        paths.max(axis=2),
        parameters.probability.tail_paths,
        parameters.liquidation.maximum_steps,
        counts,
        multipliers,
        np.ldexp(1.0, view(table.rule_exponents) - 29),
        losses,
        silo_counts,
        silo_multipliers,
        surpluses,
    )
    return TouchResult(
        touches=counts[0],
        multiplier=multipliers,
        insolvencies=counts[1],
        loss=losses,
        silo_touches=silo_counts,
        silo_multiplier=silo_multipliers,
        silo_surplus=surpluses,
    )
