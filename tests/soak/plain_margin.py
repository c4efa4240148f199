"""Margins recomputed from the published arrays alone, in plain Python with exact fractions: a second implementation.

It shares no code with the engine: columns are read as bytes, the parameter file as text, formulas are those of
docs/risk-model.md. Column values are integers, rounded down as the format says; after that nothing is rounded.
"""

from __future__ import annotations

import math
import sys
import tomllib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from riskschema.arrays import FactorTerms, PositionTable, RiskArrays
from riskschema.buffers import Column
from tests.aggregator.recomputation import wrong_answer

STEPS = 72
LETTERS = {"int8": "b", "int32": "i", "int64": "q"}
PARAMETERS = Path(__file__).parents[2] / "aggregator" / "parameters.toml"
FITTED, LONG_RUN = 0, 3
SLOTS, FALL, RISE = 4, 1, 2
"""Factors a row may follow; which of their numbers are the changes when the factor alone falls or rises."""


def integers(column: Column) -> array[int]:
    """Return a column's integers, which are little-endian."""
    found = array(LETTERS[column.dtype])
    found.frombytes(column.data)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def parameters() -> dict[str, Any]:
    """Return the parameter file with exact numbers."""
    return tomllib.loads(PARAMETERS.read_text(), parse_float=Fraction)


@dataclass(frozen=True)
class Node:
    """Sums of a set of positions, in units of value."""

    values: list[int]
    deltas: dict[int, Fraction]
    gross: Fraction
    alone: dict[tuple[int, int], Fraction]
    """By factor and side."""

    def __add__(self, other: Node) -> Node:
        values = [one + another for one, another in zip(self.values, other.values, strict=True)]
        deltas, alone = _summed(self.deltas, other.deltas), _summed(self.alone, other.alone)
        return Node(values, deltas, self.gross + other.gross, alone)


def _summed(first: dict[Any, Fraction], second: dict[Any, Fraction]) -> dict[Any, Fraction]:
    return {key: first.get(key, Fraction(0)) + second.get(key, Fraction(0)) for key in first | second}


@dataclass(frozen=True)
class Margin:
    """An account's figures: dollars, or counts."""

    unit: Fraction
    """Dollars per unit of value."""
    array_equity: Fraction
    positions: int
    lots: int
    """Sum of the sizes of the positions."""
    worst_grid_loss: Fraction
    silo_bases: list[Fraction]
    siloed: Fraction
    unified: Fraction
    net: Fraction
    silo_gross: list[dict[int, Fraction]]
    """Size of the exposure per silo and factor, dollars."""
    touches: int


class PlainMargin:
    """Recomputes any account of one set of arrays."""

    def __init__(self, arrays: RiskArrays, table: PositionTable) -> None:
        self._model = parameters()
        self._arrays = arrays
        width = arrays.market.mantissas.shape[1]
        self._market = _lines(arrays.market.mantissas, width)
        self._rule = _lines(arrays.rule.mantissas, arrays.rule.mantissas.shape[1])
        self._places, self._exposures = integers(arrays.exposure_factors), integers(arrays.exposures)
        self._columns = {name: integers(getattr(table, name)) for name in table.__struct_fields__}
        self._first_stress = 1 + len(arrays.grid)
        self._first_block = self._first_stress + len(arrays.stress)
        percent = self._model["shortfall"]["tail_percent"]
        self._tail = Fraction(arrays.blocks * percent, 100)

    def account(self, index: int) -> Margin:
        """Return the figures of one account."""
        columns, offsets = self._columns, self._model["offsets"]
        unit = Fraction(2) ** (columns["account_coarseness"][index] - 29)
        silos = range(*columns["account_silos"][index : index + 2])
        held = range(columns["silo_positions"][silos[0]], columns["silo_positions"][silos[-1] + 1])
        nodes = {silo: self._silo(silo, unit) for silo in silos}
        touched = self._touched(silos)
        bases = {silo: self._base(nodes[silo]) for silo in silos}

        def close(children: list[tuple[Node, Fraction]], credit: Fraction) -> tuple[Node, Fraction]:
            node = sum((child for child, _ in children[1:]), children[0][0])
            parts = sum((amount for _, amount in children), Fraction(0))
            if len(children) == 1:
                return node, parts
            credit = min(credit, Fraction(self._standing(node, touched)))
            return node, parts - credit * max(parts - self._base(node), Fraction(0))

        chains: dict[int, dict[int, list[tuple[Node, Fraction]]]] = {}
        for silo in silos:
            chain = chains.setdefault(columns["silo_chains"][silo], {})
            chain.setdefault(columns["silo_groups"][silo], []).append((nodes[silo], bases[silo]))
        closed = []
        for groups in chains.values():
            inner = [close(held, Fraction(1)) for held in groups.values()]
            closed.append(close(inner, offsets["within_chain"]))
        whole, unified = close(closed, offsets["across_chains"])
        return Margin(
            unit=unit,
            array_equity=whole.values[0] * unit,
            positions=len(held),
            lots=sum(abs(columns["lots"][place]) for place in held),
            worst_grid_loss=self._worst_scenario(whole) * unit,
            silo_bases=[bases[silo] * unit for silo in silos],
            siloed=sum(bases.values(), Fraction(0)) * unit,
            unified=unified * unit,
            net=self._base(whole) * unit,
            silo_gross=[self._gross(silo, unit) for silo in silos],
            touches=len(touched),
        )

    def _silo(self, silo: int, unit: Fraction) -> Node:
        columns, deltas, gross = self._columns, dict[int, Fraction](), Fraction(0)
        held = range(*columns["silo_positions"][silo : silo + 2])
        lines = [(columns["lots"][place], self._market[columns["rows"][place]]) for place in held]
        for factor, delta in self._slots(held):
            deltas[factor] = deltas.get(factor, Fraction(0)) + delta
            gross += abs(delta)
        alone: dict[tuple[int, int], Fraction] = {}
        for side in FALL, RISE:
            for factor, moved in self._slots(held, side):
                alone[factor, side] = alone.get((factor, side), Fraction(0)) + moved
        values = _weighted(lines, len(self._market[0]))
        moves = [float(move) for move in self._model["oracles"]["wrong_answers"]]
        for place, move in enumerate(moves, start=self._first_block - len(moves)):
            values[place] -= wrong_answer(columns, [row[0] for row in self._rule], silo, move, float(unit))
        return Node(values, deltas, gross, alone)

    def _slots(self, held: Sequence[int], change: int = 0) -> list[tuple[int, Fraction]]:
        rows, lots = self._columns["rows"], self._columns["lots"]
        slots = [(SLOTS * rows[place] + slot, lots[place]) for place in held for slot in range(SLOTS)]
        return [
            (self._places[slot], Fraction(lot * self._exposures[3 * slot + change], 2**24))
            for slot, lot in slots
            if self._places[slot] >= 0
        ]

    def _gross(self, silo: int, unit: Fraction) -> dict[int, Fraction]:
        sizes: dict[int, Fraction] = {}
        for factor, delta in self._slots(range(*self._columns["silo_positions"][silo : silo + 2])):
            sizes[factor] = sizes.get(factor, Fraction(0)) + abs(delta) * unit
        return sizes

    def _base(self, node: Node) -> Fraction:
        shortfall, floor = self._model["shortfall"], self._model["delta_floor"]
        weight, stress = shortfall["forecast_share"], self._worst(node, self._first_stress, self._first_block)
        tails = [max(self._expected_shortfall(node, variant), 0) for variant in range(4)]
        net = sum((abs(delta) for delta in node.deltas.values()), Fraction(0))
        return max(
            *(weight * tail + (1 - weight) * stress for tail in tails[:LONG_RUN]),
            shortfall["long_run_floor"] * tails[LONG_RUN],
            self._worst_scenario(node),
            floor["net"] * net + floor["hedged"] * (node.gross - net),
        )

    def _worst_scenario(self, node: Node) -> Fraction:
        return max(Fraction(self._worst(node, 1, self._first_stress)), -min(node.alone.values(), default=Fraction(0)))

    def _worst(self, node: Node, begin: int, end: int) -> int:
        return max(0, node.values[0] - min(node.values[begin:end], default=node.values[0]))

    def _losses(self, node: Node, variant: int) -> list[int]:
        begin = self._first_block + variant * self._arrays.blocks
        return [node.values[0] - value for value in node.values[begin : begin + self._arrays.blocks]]

    def _expected_shortfall(self, node: Node, variant: int) -> Fraction:
        """Mean of the worst blocks, the last counted in part."""
        ordered = sorted(self._losses(node, variant), reverse=True)
        whole = math.floor(self._tail)
        part = (self._tail - whole) * ordered[whole]
        return (sum(ordered[:whole]) + part) / self._tail

    def _standing(self, node: Node, touched: dict[int, int]) -> Fraction:
        """Share of the tail's paths on which no silo is liquidated, in whole parts per thousand."""
        losses = self._losses(node, FITTED)
        tail = sorted(range(len(losses)), key=lambda block: (-losses[block], block))[: math.ceil(self._tail)]
        kept = sum(10_000 - touched.get(block, 0) for block in tail)
        return Fraction(1_000 * kept // (10_000 * len(tail)), 1_000)

    def _touched(self, silos: Sequence[int]) -> dict[int, int]:
        """Return the paths on which a silo is liquidatable at any step, with the largest weight of such a silo."""
        columns = self._columns
        touched: dict[int, int] = {}
        for silo, weight in ((silo, self._weight(silo)) for silo in silos):
            if not weight:
                continue
            if columns["silo_liquidatable"][silo]:
                touched.update({block: max(weight, touched.get(block, 0)) for block in range(self._arrays.blocks)})
            terms = range(*columns["silo_terms"][silo : silo + 2])
            sums = [0] * (1 + self._arrays.blocks * STEPS)
            for place in terms:
                lots, line = columns["term_lots"][place], self._rule[columns["term_rows"][place]]
                sums = [total + (lots * mantissa >> 24) for total, mantissa in zip(sums, line, strict=True)]
            for block in range(self._arrays.blocks if terms else 0):
                begin = 1 + block * STEPS
                if min(sums[begin : begin + STEPS]) < 0:
                    touched[block] = max(weight, touched.get(block, 0))
        return touched

    def _weight(self, silo: int) -> int:
        """Return how much a silo decides, in parts per ten thousand: all where its debt has no price."""
        if self._columns["silo_unpriced_debts"][silo]:
            return 10_000
        return min(math.floor(10_000 * self._owed(silo) / self._model["probability"]["full_weight_debt_usd"]), 10_000)

    def _owed(self, silo: int) -> Fraction:
        columns = self._columns
        account = next(index for index, begin in enumerate(columns["account_silos"][1:]) if silo < begin)
        unit = Fraction(2) ** (columns["account_coarseness"][account] - 29)
        held = range(*columns["silo_positions"][silo : silo + 2])
        values = [columns["lots"][place] * self._market[columns["rows"][place]][0] >> 24 for place in held]
        return -sum(min(value, 0) for value in values) * unit


def add_ons(gross: dict[int, Fraction], factors: Sequence[FactorTerms], model: dict[str, Any]) -> float:
    """Return liquidity, concentration and oracle add-ons of exposures in dollars."""
    total = 0.0
    for place, size in gross.items():
        terms, amount = factors[place], float(size)
        hours = amount / (float(model["liquidity"]["participation"]) * terms.hourly_volume)
        longer = math.sqrt(max(1.0, hours / 24)) - 1
        unwinding = terms.half_spread + terms.impact_per_usd * amount + terms.shortfall * longer
        open_size = terms.hourly_volume * 24 * model["concentration"]["days_of_volume"]
        excess = max(0.0, amount / open_size - float(model["concentration"]["threshold"]))
        crowding = float(model["concentration"]["factor"]) * excess**1.5
        total += amount * (min(unwinding + crowding, 1.0) + terms.confidence)
    return total


def _lines(column: Column, width: int) -> list[array[int]]:
    flat = integers(column)
    return [flat[begin : begin + width] for begin in range(0, len(flat), width)]


def _weighted(lines: list[tuple[int, array[int]]], width: int) -> list[int]:
    sums = [0] * width
    for lots, line in lines:
        sums = [total + lots * mantissa for total, mantissa in zip(sums, line, strict=True)]
    return [total >> 24 for total in sums]
