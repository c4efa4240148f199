"""Margin requirements of many accounts: integer sums over the columns, and the tree of offsets between silos.

base = max{ w·ES + (1 − w)·stress loss under each correlation variant, worst grid loss, Δ-floor, long-run floor }. Every
member is positively homogeneous and sub-additive (expected shortfall: Acerbi, Tasche, 2002), so netting never costs.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.arrays import view
from aggregator.compilation import compiled
from aggregator.parameters import Parameters
from aggregator.sums import column_values, product
from riskschema.arrays import PositionTable, RiskArrays

Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]

MEMBERS = ("fitted", "toward_target", "broken", "grid", "delta_floor", "long_run_floor")
"""What can decide the base requirement, in the order of the `member` column."""

LEAF, VENUE, CHAIN, ALL = 0, 1, 2, 3


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are in the columns, and the weights, as integers for the kernels."""

    grid: int
    stress: int
    blocks: int
    percent: int
    weight: int
    long_run: int
    net: int
    hedged: int
    within_venue: int
    within_chain: int
    across: int

    @classmethod
    def of(cls, arrays: RiskArrays, parameters: Parameters) -> Layout:
        """Read the layout; shares become parts per thousand, rounded to the nearest."""
        return cls(
            grid=len(arrays.grid),
            stress=len(arrays.stress),
            blocks=arrays.blocks,
            percent=parameters.shortfall.tail_percent,
            weight=round(parameters.shortfall.weight * 1000),
            long_run=round(parameters.shortfall.long_run_floor * 1000),
            net=round(parameters.delta_floor.net * 1000),
            hedged=round(parameters.delta_floor.hedged * 1000),
            within_venue=round(parameters.offsets.within_venue * 1000),
            within_chain=round(parameters.offsets.within_chain * 1000),
            across=round(parameters.offsets.across_chains * 1000),
        )

    def vector(self) -> Ints:
        """Return the fields in order, for a kernel."""
        return np.array([getattr(self, name) for name in self.__struct_fields__], dtype=np.int64)


class MarginResult(msgspec.Struct, frozen=True, kw_only=True):
    """Columns per account or silo, in units of 2^(account exponent − 29) USD."""

    equity: Ints
    siloed: Ints
    unified: Ints
    net: Ints
    worst_grid_loss: Ints
    worst_grid: Ints
    """Index into the grid columns."""
    member: Ints
    """Index into MEMBERS: what decides the base of the whole account."""
    silo_equity: Ints
    silo_base: Ints
    silo_gross: Ints
    """Shape (silos, factors): size of the exposure to each factor, not netted."""
    contributions: Ints
    """Shape (2, positions): each position's part of the account's base (Euler), from the deciding member and, where that
    is an expected shortfall, from its stress loss; up to rounding."""
    debts: Ints
    """Per silo: what is owed, at market."""


@compiled
def tail_sum(values: Ints, start: int, now: int, layout: Ints, worst: Ints, where: Ints) -> int:
    """Return the expected shortfall of `blocks` columns from `start`, rounded up; note the tail's losses and columns.

    Args:
        values: Values in all columns.
        start: First column of the set.
        now: Value at base.
        layout: `Layout.vector`.
        worst: Scratch; receives the tail losses, largest first.
        where: Receives their columns.
    """
    blocks, percent = layout[2], layout[3]
    whole = blocks * percent // 100
    rest = blocks * percent % 100
    size = whole + (1 if rest else 0)
    filled = 0
    for index in range(blocks):
        loss = now - values[start + index]
        if filled == size and loss <= worst[size - 1]:
            continue
        place = filled if filled < size else size - 1
        while place > 0 and worst[place - 1] < loss:
            worst[place] = worst[place - 1]
            where[place] = where[place - 1]
            place -= 1
        worst[place] = loss
        where[place] = start + index
        filled = min(filled + 1, size)
    total = 0
    for index in range(whole):
        total += worst[index] * 100
    if rest:
        total += worst[size - 1] * rest
    return -(-total // (blocks * percent))


@compiled
def worst_loss(values: Ints, start: int, count: int, now: int) -> tuple[int, int]:
    """Return the largest loss of `count` columns from `start` (at least 0) and its index in the set."""
    largest, place = 0, 0
    for index in range(count):
        loss = now - values[start + index]
        if loss > largest:
            largest, place = loss, index
    return largest, place


@compiled
def thousandths(share: int, amount: int) -> int:
    """Return share/1000 of a non-negative amount, rounded up, without overflow."""
    return amount // 1000 * share + (-(-(amount % 1000 * share) // 1000))


@compiled
def base_requirement(
    values: Ints, deltas: Ints, gross_delta: int, layout: Ints, worst: Ints, where: Ints, found: Ints
) -> int:
    """Return the base requirement of one set of positions.

    Args:
        values: Value per column.
        deltas: Net delta per factor.
        gross_delta: Sum of the sizes of all deltas.
        layout: `Layout.vector`.
        worst: Scratch.
        where: Scratch.
        found: Receives the deciding member, the worst grid loss and its index.
    """
    grid, stress, blocks = layout[0], layout[1], layout[2]
    now = values[0]
    grid_loss, grid_place = worst_loss(values, 1, grid, now)
    stress_loss, _ = worst_loss(values, 1 + grid, stress, now)
    start = 1 + grid + stress
    largest, member = 0, 0
    for variant in range(3):
        shortfall = max(tail_sum(values, start + variant * blocks, now, layout, worst, where), 0)
        amount = thousandths(layout[4], shortfall) + thousandths(1000 - layout[4], stress_loss)
        if amount > largest:
            largest, member = amount, variant
    if grid_loss > largest:
        largest, member = grid_loss, 3
    net = 0
    for f in range(deltas.size):
        net += abs(deltas[f])
    amount = thousandths(layout[6], net) + thousandths(layout[7], max(gross_delta - net, 0))
    if amount > largest:
        largest, member = amount, 4
    shortfall = max(tail_sum(values, start + 3 * blocks, now, layout, worst, where), 0)
    amount = thousandths(layout[5], shortfall)
    if amount > largest:
        largest, member = amount, 5
    found[0], found[1], found[2] = member, grid_loss, grid_place
    return largest


@compiled
def offset(children: int, base: int, credit: int) -> int:
    """Return Σ U(children) − c·(Σ U(children) − base), never outside [base, Σ]; c in parts per thousand.

    A base above the sum of its parts can only be its last unit of rounding, so it is cut.
    """
    saving = max(children - base, 0)
    return children - (saving // 1000 * credit + saving % 1000 * credit // 1000)


@compiled
def euler(
    account: tuple[int, int, int],
    rows: Int32s,
    lots: Ints,
    table: Int32s,
    exposures: tuple[Int32s, Int32s],
    deltas: Ints,
    layout: Ints,
    scratch: tuple[Ints, Ints, Ints],
    grid_place: int,
    contributions: Ints,
) -> None:
    """Write each position's part of the deciding member (Tasche, 1999): its own loss in the columns that decide.

    Args:
        account: First and last-plus-one position, and the deciding member.
        rows: Market row of each position.
        lots: Lots of each position.
        table: Market mantissas.
        exposures: Factor places and mantissas of each row.
        deltas: Net deltas of the account.
        layout: `Layout.vector`.
        scratch: The account's values, and two tail buffers.
        grid_place: The deciding grid column.
        contributions: Receives the parts.
    """
    first, last, member = account
    values, worst, where = scratch
    grid, stress, blocks, percent = layout[0], layout[1], layout[2], layout[3]
    start, now = 1 + grid + stress, values[0]
    whole, rest = blocks * percent // 100, blocks * percent % 100
    stress_loss, stress_place = worst_loss(values, 1 + grid, stress, now)
    shortfall = 0
    if member in (0, 1, 2, 5):
        variant = 3 if member == 5 else member
        shortfall = tail_sum(values, start + variant * blocks, now, layout, worst, where)
    for p in range(first, last):
        row, held = rows[p], lots[p]
        base = product(held, table[row, 0])
        part, stressed = 0, 0
        if member == 3:
            part = base - product(held, table[row, 1 + grid_place])
        elif member == 4:
            for slot in range(2):
                place = exposures[0][row, slot]
                if place >= 0:
                    delta = product(held, exposures[1][row, slot])
                    sign = 1 if deltas[place] > 0 else -1
                    part += ((layout[6] - layout[7]) * sign * delta + layout[7] * abs(delta)) // 1000
        else:
            if shortfall > 0:
                total = 0
                for index in range(whole):
                    total += (base - product(held, table[row, where[index]])) * 100
                if rest:
                    total += (base - product(held, table[row, where[whole]])) * rest
                share = layout[5] if member == 5 else layout[4]
                part = total // (blocks * percent) * share // 1000
            if member != 5 and stress_loss > 0:
                loss = base - product(held, table[row, 1 + grid + stress_place])
                stressed = loss * (1000 - layout[4]) // 1000
        contributions[0, p], contributions[1, p] = part, stressed


@compiled
def margins(
    account_silos: Ints,
    silo_positions: Ints,
    groups: Int32s,
    rows: Int32s,
    lots: Ints,
    table: Int32s,
    places: Int32s,
    exposures: Int32s,
    layout: Ints,
    factors: int,
    account_columns: Ints,
    gross: Ints,
    silo_columns: Ints,
    contributions: Ints,
) -> None:
    """Work through all accounts; see `MarginResult` for what is written.

    Args:
        account_silos: Offsets of silos.
        silo_positions: Offsets of positions.
        groups: Per silo: venue, chain, and whether the venue crosses its silos.
        rows: Market row per position.
        lots: Lots per position.
        table: Market mantissas (rows, columns).
        places: Exposure factors (rows, 2).
        exposures: Exposure mantissas (rows, 2).
        layout: `Layout.vector`.
        factors: Number of factors.
        account_columns: Receives equity, siloed, unified, net, worst grid loss, its index, member.
        gross: Receives the size of exposures (silos, factors).
        silo_columns: Receives equity, base, debts.
        contributions: Receives Euler parts per position.
    """
    width = table.shape[1]
    values = np.zeros((4, width), dtype=np.int64)
    low = np.zeros(width, dtype=np.int64)
    deltas = np.zeros((4, factors), dtype=np.int64)
    gross_delta = np.zeros(4, dtype=np.int64)
    tail = layout[2] * layout[3] // 100 + 1
    worst, where = np.zeros(tail, dtype=np.int64), np.zeros(tail, dtype=np.int64)
    found = np.zeros(3, dtype=np.int64)
    sums = np.zeros(4, dtype=np.int64)
    counts = np.zeros(4, dtype=np.int64)
    for account in range(account_silos.size - 1):
        first, last = account_silos[account], account_silos[account + 1]
        sums[:] = 0
        counts[:] = 0
        siloed = 0
        net = 0
        values[1:] = 0
        deltas[1:] = 0
        gross_delta[1:] = 0
        for silo in range(first, last):
            begin, end = silo_positions[silo], silo_positions[silo + 1]
            column_values(rows[begin:end], lots[begin:end], table, values[0], low)
            deltas[0] = 0
            gross_delta[0] = 0
            debts = 0
            for p in range(begin, end):
                worth = product(lots[p], table[rows[p], 0])
                if worth < 0:
                    debts -= worth
                for slot in range(2):
                    place = places[rows[p], slot]
                    if place >= 0:
                        delta = product(lots[p], exposures[rows[p], slot])
                        deltas[0, place] += delta
                        gross[silo, place] += abs(delta)
                        gross_delta[0] += abs(delta)
            leaf = base_requirement(values[0], deltas[0], gross_delta[0], layout, worst, where, found)
            silo_columns[0, silo], silo_columns[1, silo], silo_columns[2, silo] = values[0, 0], leaf, debts
            siloed += leaf
            for level in range(1, 4):
                for c in range(width):
                    values[level, c] += values[0, c]
                for f in range(factors):
                    deltas[level, f] += deltas[0, f]
                gross_delta[level] += gross_delta[0]
            sums[VENUE] += leaf
            counts[VENUE] += 1
            venue_ends = silo + 1 == last or groups[silo, 0] != groups[silo + 1, 0]
            if not venue_ends:
                continue
            unified = sums[VENUE]
            if counts[VENUE] > 1:
                base = base_requirement(values[VENUE], deltas[VENUE], gross_delta[VENUE], layout, worst, where, found)
                unified = offset(unified, base, 1000 if groups[silo, 2] else layout[8])
            sums[CHAIN] += unified
            counts[CHAIN] += 1
            sums[VENUE] = 0
            counts[VENUE] = 0
            values[VENUE] = 0
            deltas[VENUE] = 0
            gross_delta[VENUE] = 0
            chain_ends = silo + 1 == last or groups[silo, 1] != groups[silo + 1, 1]
            if not chain_ends:
                continue
            unified = sums[CHAIN]
            if counts[CHAIN] > 1:
                base = base_requirement(values[CHAIN], deltas[CHAIN], gross_delta[CHAIN], layout, worst, where, found)
                unified = offset(unified, base, layout[9])
            sums[ALL] += unified
            counts[ALL] += 1
            sums[CHAIN] = 0
            counts[CHAIN] = 0
            values[CHAIN] = 0
            deltas[CHAIN] = 0
            gross_delta[CHAIN] = 0
        net = base_requirement(values[ALL], deltas[ALL], gross_delta[ALL], layout, worst, where, found)
        unified = sums[ALL]
        net = min(net, unified)
        if counts[ALL] > 1:
            unified = offset(unified, net, layout[10])
        account_columns[0, account] = values[ALL, 0]
        account_columns[1, account] = siloed
        account_columns[2, account] = unified
        account_columns[3, account] = net
        account_columns[4, account] = found[1]
        account_columns[5, account] = found[2]
        account_columns[6, account] = found[0]
        euler(
            (silo_positions[first], silo_positions[last], found[0]),
            rows,
            lots,
            table,
            (places, exposures),
            deltas[ALL],
            layout,
            (values[ALL], worst, where),
            found[2],
            contributions,
        )


def account_margins(table: PositionTable, arrays: RiskArrays, parameters: Parameters) -> MarginResult:
    """Return the margin columns of all accounts of `table`."""
    account_silos, silo_positions = view(table.account_silos), view(table.silo_positions)
    accounts, silos, factors = account_silos.size - 1, silo_positions.size - 1, len(arrays.factors)
    groups = np.stack([view(table.silo_venues), view(table.silo_chains), view(table.silo_crossed)], axis=1)
    account_columns = np.zeros((7, accounts), dtype=np.int64)
    silo_columns = np.zeros((3, silos), dtype=np.int64)
    gross = np.zeros((silos, factors), dtype=np.int64)
    contributions = np.zeros((2, view(table.rows).size), dtype=np.int64)
    margins(
        account_silos,
        silo_positions,
        np.ascontiguousarray(groups, dtype=np.int32),
        view(table.rows),
        view(table.lots),
        view(arrays.market.mantissas),
        view(arrays.exposure_factors),
        view(arrays.exposures),
        Layout.of(arrays, parameters).vector(),
        factors,
        account_columns,
        gross,
        silo_columns,
        contributions,
    )
    return MarginResult(
        equity=account_columns[0],
        siloed=account_columns[1],
        unified=account_columns[2],
        net=account_columns[3],
        worst_grid_loss=account_columns[4],
        worst_grid=account_columns[5],
        member=account_columns[6],
        silo_equity=silo_columns[0],
        silo_base=silo_columns[1],
        silo_gross=gross,
        contributions=contributions,
        debts=silo_columns[2],
    )
