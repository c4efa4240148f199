"""Margin requirements of many accounts: sums over the columns, and the tree of offsets between silos.

Collateral is not fungible between silos, so netting is credited from the inside out: silo, cross-margin group, chain,
all. Inside a group collateral is shared and all of the netting counts; elsewhere a part of it (two markets of one
protocol are no better than two protocols), and never more than the share of tail paths on which no silo is itself
liquidated, since a hedge that is gone hedges nothing. A node with one child has nothing to offset and takes its child's
requirement.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled
from aggregator.exact.sums import column_values, product
from aggregator.exact.units import FULL_WEIGHT, PER_MILLE
from aggregator.margin.base_requirement import (
    DELTA_FLOOR,
    GRID,
    LONG_RUN,
    Requirement,
    Tail,
    fill_tail,
    floor_part,
    grid_part,
    offset,
    requirement,
    tail_mean,
    tail_part,
    tail_size,
    variant_start,
    worst_loss,
)
from aggregator.margin.wrong_answers import wrong_answer_costs
from aggregator.parameters import Parameters
from aggregator.valuation.books import Book, Layout, MarketRows, book, layout, market_rows
from riskschema.arrays import PositionTable, RiskArrays

Ints = NDArray[np.int64]
Int16s = NDArray[np.int16]

SILO, GROUP, CHAIN, ALL = 0, 1, 2, 3
LEVELS = 4


class Tree(NamedTuple):
    """Scratch: sums of the open node at each level."""

    values: Ints
    low: Ints
    deltas: Ints
    """Shape (levels, factors, 3): net delta, and the change when the factor alone falls or rises by its range."""
    gross: Ints
    parts: Ints
    """Sum of the children's requirements."""
    children: Ints


class Sums(NamedTuple):
    """What is added up."""

    held: Book
    rows: MarketRows


class Work(NamedTuple):
    """What every kernel of this module reads and writes."""

    held: Book
    rows: MarketRows
    columns: Layout
    tree: Tree
    tail: Tail
    touched: Int16s
    """Shape (accounts, blocks): largest weight of the account's silos that are liquidated on the path."""
    answers: Ints
    """Shape (silos, moves): what wrong answers of oracles cost, in the last stress columns."""
    result: MarginResult


class MarginResult(NamedTuple):
    """Columns per account, silo or position, in account values."""

    siloed: Ints
    unified: Ints
    net: Ints
    worst_grid_loss: Ints
    worst_grid: Ints
    """Place among the grid columns; after them two per factor: it alone falls, it alone rises."""
    member: Ints
    """Place in MEMBERS: what decides the base of the whole account."""
    silo_base: Ints
    silo_gross: Ints
    """Shape (silos, factors): size of the exposure to each factor, not netted."""
    decided: Ints
    """Per position: its part of the deciding member (Euler: Tasche, 1999), up to rounding."""
    stressed: Ints
    """Per position: its part of the stress loss, where an expected shortfall decides."""


@compiled
def open_silo(silo: int, work: Work) -> None:
    """Add up one silo's positions at the level of silos."""
    held, rows, tree, result = work.held, work.rows, work.tree, work.result
    begin, end = held.silo_positions[silo], held.silo_positions[silo + 1]
    column_values(held.rows[begin:end], held.lots[begin:end], rows.mantissas, tree.values[SILO], tree.low)
    first = 1 + work.columns.grid + work.columns.stress - work.answers.shape[1]
    for move in range(work.answers.shape[1]):
        tree.values[SILO, first + move] -= work.answers[silo, move]
    for p in range(begin, end):
        row, lots = held.rows[p], held.lots[p]
        for slot in range(rows.places.shape[1]):
            place = rows.places[row, slot]
            if place >= 0:
                delta = product(lots, rows.exposures[row, slot, 0])
                tree.deltas[SILO, place, 0] += delta
                tree.deltas[SILO, place, 1] += product(lots, rows.exposures[row, slot, 1])
                tree.deltas[SILO, place, 2] += product(lots, rows.exposures[row, slot, 2])
                tree.gross[SILO] += abs(delta)
                result.silo_gross[silo, place] += abs(delta)


@compiled
def node(level: int, work: Work) -> Requirement:
    """Return the base requirement of the open node at `level`."""
    tree = work.tree
    return requirement(tree.values[level], tree.deltas[level], tree.gross[level], work.columns, work.tail)


@compiled
def clear(level: int, tree: Tree) -> None:
    """Forget the node at `level`."""
    tree.values[level] = 0
    tree.deltas[level] = 0
    tree.gross[level] = 0
    tree.parts[level] = 0
    tree.children[level] = 0


@compiled
def standing(level: int, touched: Int16s, work: Work) -> int:
    """Return the share of the node's tail paths on which no silo is liquidated, in parts per thousand.

    A path on which only silos of little weight are liquidated counts in part.
    """
    # The fitted set alone has dates: its columns are the paths that liquidations were looked for on.
    start, size, kept = variant_start(0, work.columns), tail_size(work.columns), 0
    fill_tail(work.tree.values[level], start, work.columns, work.tail)
    for index in range(size):
        kept += FULL_WEIGHT - int(touched[work.tail.columns[index] - start])
    return PER_MILLE * kept // (size * FULL_WEIGHT)


@compiled
def credited(level: int, account: int, credit: int, work: Work) -> int:
    """Return the node's requirement after its offset."""
    whole = node(level, work).amount
    return offset(work.tree.parts[level], whole, min(credit, standing(level, work.touched[account], work)))


@compiled
def close(level: int, account: int, credit: int, work: Work) -> None:
    """Credit the offset inside the node at `level`, add it to its parent, and clear it."""
    tree, parent = work.tree, level + 1
    unified = tree.parts[level]
    if tree.children[level] > 1:
        unified = credited(level, account, credit, work)
    for c in range(tree.low.size):
        tree.values[parent, c] += tree.values[level, c]
    for factor in range(tree.deltas.shape[1]):
        for change in range(3):
            tree.deltas[parent, factor, change] += tree.deltas[level, factor, change]
    tree.gross[parent] += tree.gross[level]
    tree.parts[parent] += unified
    tree.children[parent] += 1
    clear(level, tree)


@compiled
def climb(account: int, work: Work) -> None:
    """Work through one account's silos, closing groups and chains as they end."""
    held, columns, tree, result = work.held, work.columns, work.tree, work.result
    last = held.account_silos[account + 1] - 1
    for silo in range(held.account_silos[account], last + 1):
        open_silo(silo, work)
        leaf = node(SILO, work)
        result.silo_base[silo] = leaf.amount
        result.siloed[account] += leaf.amount
        tree.parts[SILO] = leaf.amount
        close(SILO, account, 0, work)
        if silo == last or held.groups[silo] != held.groups[silo + 1]:
            close(GROUP, account, PER_MILLE, work)
            if silo == last or held.chains[silo] != held.chains[silo + 1]:
                close(CHAIN, account, columns.within_chain, work)


@compiled
def prepare_tail(member: int, work: Work) -> bool:
    """Fill the tail of the set that decided; False where no expected shortfall did."""
    if member in (GRID, DELTA_FLOOR):
        return False
    start = variant_start(3 if member == LONG_RUN else member, work.columns)
    fill_tail(work.tree.values[ALL], start, work.columns, work.tail)
    return tail_mean(work.tail.losses, work.columns) > 0


@compiled
def allocate(account: int, whole: Requirement, work: Work) -> None:
    """Write each position's part of the account's base: its own loss in the columns that decide."""
    held, rows, columns, result = work.held, work.rows, work.columns, work.result
    tailed = prepare_tail(whole.member, work)
    stress_loss, stress_place = worst_loss(work.tree.values[ALL], 1 + columns.grid, columns.stress)
    share = columns.long_run if whole.member == LONG_RUN else columns.forecast_share
    first, last = held.account_silos[account], held.account_silos[account + 1]
    for p in range(held.silo_positions[first], held.silo_positions[last]):
        row, lots = held.rows[p], held.lots[p]
        now = product(lots, rows.mantissas[row, 0])
        if whole.member == GRID:
            result.decided[p] = grid_part(lots, row, rows, whole.grid_place, columns)
        elif whole.member == DELTA_FLOOR:
            result.decided[p] = floor_part(lots, row, rows, work.tree.deltas[ALL], columns)
        elif tailed:
            result.decided[p] = tail_part(lots, row, rows, work.tail, columns) * share // PER_MILLE
        if whole.member < GRID and stress_loss > 0:
            loss = now - product(lots, rows.mantissas[row, 1 + columns.grid + stress_place])
            result.stressed[p] = loss * (PER_MILLE - columns.forecast_share) // PER_MILLE
    move = stress_place - columns.stress + work.answers.shape[1]
    if whole.member < GRID and stress_loss > 0 and move >= 0:
        for silo in range(first, last):  # a silo's cost is that of its first position: it has no other
            if held.silo_positions[silo] < held.silo_positions[silo + 1]:
                part = work.answers[silo, move] * (PER_MILLE - columns.forecast_share) // PER_MILLE
                result.stressed[held.silo_positions[silo]] += part


@compiled
def margins(sums: Sums, columns: Layout, touched: Int16s, answers: Ints, result: MarginResult) -> None:
    """Work through all accounts; `result` holds zeros and receives everything."""
    held, rows = sums.held, sums.rows
    width, factors, size = rows.mantissas.shape[1], result.silo_gross.shape[1], tail_size(columns)
    tree = Tree(
        np.zeros((LEVELS, width), dtype=np.int64),
        np.zeros(width, dtype=np.int64),
        np.zeros((LEVELS, factors, 3), dtype=np.int64),
        np.zeros(LEVELS, dtype=np.int64),
        np.zeros(LEVELS, dtype=np.int64),
        np.zeros(LEVELS, dtype=np.int64),
    )
    tail = Tail(np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64))
    work = Work(held, rows, columns, tree, tail, touched, answers, result)
    for account in range(held.account_silos.size - 1):
        climb(account, work)
        whole = node(ALL, work)
        unified = tree.parts[ALL]
        net = min(whole.amount, unified)  # rounding up in every node may leave the whole a unit above its parts
        if tree.children[ALL] > 1:
            unified = min(unified, credited(ALL, account, columns.across, work))
        result.unified[account] = unified
        result.net[account] = net
        result.worst_grid_loss[account] = whole.grid_loss
        result.worst_grid[account] = whole.grid_place
        result.member[account] = whole.member
        allocate(account, whole, work)
        clear(ALL, tree)


@compiled
def owed(held: Book, rows: MarketRows, debts: Ints) -> None:
    """Add each silo's negative positions, at market, to `debts`."""
    for silo in range(debts.size):
        for p in range(held.silo_positions[silo], held.silo_positions[silo + 1]):
            debts[silo] += max(-product(held.lots[p], rows.mantissas[held.rows[p], 0]), 0)


def silo_debts(table: PositionTable, arrays: RiskArrays) -> Ints:
    """Return what each silo owes at market, in account values."""
    held = book(table)
    debts = np.zeros(held.silo_positions.size - 1, dtype=np.int64)
    owed(held, market_rows(arrays), debts)
    return debts


def account_margins(table: PositionTable, arrays: RiskArrays, touched: Int16s, parameters: Parameters) -> MarginResult:
    """Return the margin columns of all accounts of `table`, what wrong answers of oracles cost included.

    Args:
        table: The accounts.
        arrays: The round's arrays.
        touched: Shape (accounts, blocks): largest weight of the account's silos that are liquidated on the path.
        parameters: The parameter file.
    """
    held = book(table)
    accounts, silos, positions = held.account_silos.size - 1, held.silo_positions.size - 1, held.rows.size
    per_account = np.zeros((6, accounts), dtype=np.int64)
    bases = np.zeros(silos, dtype=np.int64)
    gross = np.zeros((silos, len(arrays.factors)), dtype=np.int64)
    parts = np.zeros((2, positions), dtype=np.int64)
    result = MarginResult._make([*per_account, bases, gross, *parts])
    answers = wrong_answer_costs(table, arrays, parameters)
    margins(Sums(held, market_rows(arrays)), layout(arrays, parameters), touched, answers, result)
    return result
