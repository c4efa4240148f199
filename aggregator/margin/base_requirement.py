"""The base requirement of one set of positions: integer kernels over its value in every column.

base = max{ w·ES + (1 - w)·stress loss under each correlation variant, worst grid loss, delta floor, long-run floor }.
Every member is positively homogeneous and sub-additive (expected shortfall: Acerbi, Tasche, 2002), so netting never
costs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled
from aggregator.exact.sums import product
from aggregator.exact.units import PER_MILLE
from aggregator.valuation.books import Layout, MarketRows

Ints = NDArray[np.int64]

MEMBERS = ("fitted", "toward_target", "broken", "grid", "delta_floor", "long_run_floor")
"""What can decide the base requirement, as numbered by the kernels."""
GRID, DELTA_FLOOR, LONG_RUN = 3, 4, 5


class Tail(NamedTuple):
    """Scratch: the tail's losses, largest first, and their columns."""

    losses: Ints
    columns: Ints


class Requirement(NamedTuple):
    """A base requirement, what decided it, and the worst scenario: of the grid, or after it of one factor alone."""

    amount: int
    member: int
    grid_loss: int
    grid_place: int


@compiled
def tail_size(layout: Layout) -> int:
    """Return how many blocks the tail holds, the last perhaps in part."""
    return (layout.blocks * layout.percent + 99) // 100


@compiled
def fill_tail(values: Ints, start: int, layout: Layout, tail: Tail) -> None:
    """Write the largest losses of the `blocks` columns from `start`; of equal ones the earlier column comes first."""
    # Inserted one by one: the tail has eleven places, and nearly all losses are turned away by the first comparison.
    size, filled = tail_size(layout), 0
    for column in range(start, start + layout.blocks):
        loss = values[0] - values[column]
        if filled == size and loss <= tail.losses[size - 1]:
            continue
        place = filled if filled < size else size - 1
        while place > 0 and tail.losses[place - 1] < loss:
            tail.losses[place] = tail.losses[place - 1]
            tail.columns[place] = tail.columns[place - 1]
            place -= 1
        tail.losses[place] = loss
        tail.columns[place] = column
        filled = min(filled + 1, size)


@compiled
def tail_mean(losses: Ints, layout: Layout) -> int:
    """Return the expected shortfall of a filled tail, rounded up (Rockafellar, Uryasev, 2000)."""
    whole, rest = layout.blocks * layout.percent // 100, layout.blocks * layout.percent % 100
    total = 0
    for index in range(whole):
        total += losses[index] * 100
    if rest:
        total += losses[whole] * rest
    return -(-total // (layout.blocks * layout.percent))


@compiled
def worst_loss(values: Ints, start: int, count: int) -> tuple[int, int]:
    """Return the largest loss of `count` columns from `start`, at least 0, and its place among them."""
    largest, place = 0, 0
    for index in range(count):
        loss = values[0] - values[start + index]
        if loss > largest:
            largest, place = loss, index
    return largest, place


@compiled
def worst_alone(deltas: Ints) -> tuple[int, int]:
    """Return the largest loss when one factor alone moves by its range, and its place: 2·factor, +1 for a rise."""
    largest, place = 0, 0
    for factor in range(deltas.shape[0]):
        for side in range(2):
            if -deltas[factor, 1 + side] > largest:
                largest, place = -deltas[factor, 1 + side], 2 * factor + side
    return largest, place


@compiled
def thousandths(share: int, amount: int) -> int:
    """Return share/1000 of a non-negative amount, rounded up, without overflow."""
    # Divided first, so that the product of a share and any amount fits.
    return amount // PER_MILLE * share + (-(-(amount % PER_MILLE * share) // PER_MILLE))


@compiled
def variant_start(variant: int, layout: Layout) -> int:
    """Return the first column of a set of block ends: fitted, toward the target, broken, long-run."""
    return 1 + layout.grid + layout.stress + variant * layout.blocks


@compiled
def delta_floor(deltas: Ints, gross: int, layout: Layout) -> int:
    """Return the margin that no scenario can net away: a share of net delta and one of what is hedged in a factor."""
    net = 0
    for factor in range(deltas.shape[0]):
        net += abs(deltas[factor, 0])
    return thousandths(layout.net, net) + thousandths(layout.hedged, max(gross - net, 0))


@compiled
def requirement(values: Ints, deltas: Ints, gross: int, layout: Layout, tail: Tail) -> Requirement:
    """Return the base requirement of a set of positions.

    Args:
        values: Value per column; the first is now.
        deltas: Per factor: net delta, and change in value when it alone falls or rises by its range.
        gross: Sum of the sizes of the positions' deltas.
        layout: Column layout and weights.
        tail: Scratch.
    """
    grid_loss, grid_place = worst_loss(values, 1, layout.grid)
    alone_loss, alone_place = worst_alone(deltas)
    if alone_loss > grid_loss:
        grid_loss, grid_place = alone_loss, layout.grid + alone_place
    stress_loss, _ = worst_loss(values, 1 + layout.grid, layout.stress)
    # Stress is blended into each variant before the maximum is taken: a max of sums stays sub-additive, as each sum is.
    stressed = thousandths(PER_MILLE - layout.forecast_share, stress_loss)
    largest, member = 0, 0
    for variant in range(3):
        fill_tail(values, variant_start(variant, layout), layout, tail)
        amount = thousandths(layout.forecast_share, max(tail_mean(tail.losses, layout), 0)) + stressed
        if amount > largest:
            largest, member = amount, variant
    if grid_loss > largest:
        largest, member = grid_loss, GRID
    floor = delta_floor(deltas, gross, layout)
    if floor > largest:
        largest, member = floor, DELTA_FLOOR
    fill_tail(values, variant_start(3, layout), layout, tail)
    amount = thousandths(layout.long_run, max(tail_mean(tail.losses, layout), 0))
    if amount > largest:
        largest, member = amount, LONG_RUN
    return Requirement(largest, member, grid_loss, grid_place)


@compiled
def offset(parts: int, whole: int, credit: int) -> int:
    """Return Σ U(parts) - c·(Σ U(parts) - base(whole)), never above Σ; the credit c in parts per thousand.

    A base above the sum of its parts can only be the last unit of rounding; it earns nothing.
    """
    saving = max(parts - whole, 0)
    return parts - (saving // PER_MILLE * credit + saving % PER_MILLE * credit // PER_MILLE)


@compiled
def tail_part(lots: int, row: int, rows: MarketRows, tail: Tail, layout: Layout) -> int:
    """Return one position's part of the expected shortfall: its own mean loss in the tail's columns."""
    whole, rest = layout.blocks * layout.percent // 100, layout.blocks * layout.percent % 100
    now, total = product(lots, rows.mantissas[row, 0]), 0
    for index in range(whole):
        total += (now - product(lots, rows.mantissas[row, tail.columns[index]])) * 100
    if rest:
        total += (now - product(lots, rows.mantissas[row, tail.columns[whole]])) * rest
    return total // (layout.blocks * layout.percent)


@compiled
def floor_part(lots: int, row: int, rows: MarketRows, deltas: Ints, layout: Layout) -> int:
    """Return one position's part of the delta floor."""
    part = 0
    for slot in range(rows.places.shape[1]):
        place = rows.places[row, slot]
        if place >= 0:
            delta = product(lots, rows.exposures[row, slot, 0])
            aligned = delta if deltas[place, 0] > 0 else -delta
            part += ((layout.net - layout.hedged) * aligned + layout.hedged * abs(delta)) // PER_MILLE
    return part


@compiled
def grid_part(lots: int, row: int, rows: MarketRows, grid_place: int, layout: Layout) -> int:
    """Return one position's part of the worst scenario's loss."""
    if grid_place < layout.grid:
        return product(lots, rows.mantissas[row, 0]) - product(lots, rows.mantissas[row, 1 + grid_place])
    factor, side = (grid_place - layout.grid) // 2, (grid_place - layout.grid) % 2
    for slot in range(rows.places.shape[1]):
        if rows.places[row, slot] == factor:
            return -product(lots, rows.exposures[row, slot, 1 + side])
    return 0
