"""An initial margin from published arrays, with Python's standard library alone: nothing here is the engine's."""

from __future__ import annotations

import math
import struct
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

MODEL = tomllib.loads((Path(__file__).parents[2] / "aggregator" / "parameters.toml").read_text())


class Node(NamedTuple):
    """A silo, or several: value per column; per factor net and gross delta, what its own move changes."""

    values: list[int]
    net: Counter[int]
    gross: Counter[int]
    alone: Counter[tuple[int, int]]

    def plus(self, other: Node) -> Node:
        mine: Any = [Counter(each) for each in self[1:]]
        for sums, more in zip(mine, other[1:], strict=True):
            sums.update(more)
        return Node([a + b for a, b in zip(self.values, other.values, strict=True)], *mine)


def ints(column: Any) -> tuple[int, ...]:
    letter = {"int32": "i", "int64": "q"}[column.dtype]
    return struct.unpack(f"<{len(column.data) // (4 if letter == 'i' else 8)}{letter}", column.data)


def lines(column: Any) -> list[tuple[int, ...]]:
    flat, width = ints(column), math.prod(column.shape[1:])
    return [flat[begin : begin + width] for begin in range(0, len(flat), width)]


def wrong_answer(columns: Any, answers: list[int], silo: int, move: float, unit: float) -> int:
    """Return what a silo loses, in account values, when its worst answer is off by `move`.

    `answers` are the rule rows' mantissas now, `unit` the dollars of an account value.
    """
    terms = range(*columns["silo_terms"][silo : silo + 2])
    share, scale = columns["close_factors"][silo] / 1e6, 2.0 ** (columns["rule_coarseness"][silo] - 29) / unit

    def sides(answer: int, move: float) -> list[float]:
        found = [0.0] * 5
        for p in terms:
            moved = (1 + move) if columns["term_answers"][p] == answer else 1.0
            mantissa = answers[columns["term_rows"][p]]
            counted = (columns["term_lots"][p] * mantissa >> 24) * moved
            worth = (columns["term_gross"][p] * mantissa >> 24) * moved
            held = (counted, 0.0, worth, 0.0, worth * columns["term_bonuses"][p] / 1e6)
            owed = (0.0, -counted, 0.0, -worth, 0.0)
            found = [a + b for a, b in zip(found, held if worth > 0 else owed, strict=True)]
        return found

    def cost(answer: int) -> float:
        weighted, required, collateral, debt, premium = sides(answer, move)
        right, kept, left = sides(answer, 0), 1.0, 1.0
        if right[1] > right[0]:
            return 0.0
        for _ in range(MODEL["liquidation"]["maximum_repayments"]):
            if required * left <= weighted * kept or min(debt, collateral, kept) <= 0:
                break
            bonus = 1 + premium / collateral
            repaid = min(share * debt * left, collateral * kept / bonus)
            kept, left = kept - repaid * bonus / collateral, left - repaid / debt
        return max(right[2] * (1 - kept) - right[3] * (1 - left), 0.0)

    return math.ceil(max((cost(answer) for answer in range(len(terms))), default=0.0) * scale)


class Account:
    """One account of a batch's arrays and position table."""

    def __init__(self, arrays: Any, table: Any, index: int) -> None:
        self.arrays, self.columns = arrays, {name: ints(getattr(table, name)) for name in table.__struct_fields__}
        self.silos = range(*self.columns["account_silos"][index : index + 2])
        self.unit = 2.0 ** (self.columns["account_coarseness"][index] - 29)  # dollars per unit of account value
        self.market, self.rule = lines(arrays.market.mantissas), lines(arrays.rule.mantissas)
        self.nodes = {silo: self.silo(silo) for silo in self.silos}
        self.touched = self.touched_paths()

    def silo(self, silo: int) -> Node:
        held = range(*self.columns["silo_positions"][silo : silo + 2])
        places, exposures = lines(self.arrays.exposure_factors), lines(self.arrays.exposures)
        sums, net, gross = [0] * self.arrays.market.mantissas.shape[1], Counter[int](), Counter[int]()
        alone = Counter[tuple[int, int]]()
        for row, lots in ((self.columns["rows"][place], self.columns["lots"][place]) for place in held):
            sums = [total + lots * mantissa for total, mantissa in zip(sums, self.market[row], strict=True)]
            for slot, factor in enumerate(places[row]):
                if factor >= 0:
                    delta, *changes = (lots * exposure >> 24 for exposure in exposures[row][3 * slot : 3 * slot + 3])
                    net[factor] += delta
                    gross[factor] += abs(delta)
                    alone.update({(factor, side): change for side, change in enumerate(changes)})
        values = [total >> 24 for total in sums]
        first = 1 + len(self.arrays.grid) + len(self.arrays.stress) - len(MODEL["oracles"]["wrong_answers"])
        for place, move in enumerate(MODEL["oracles"]["wrong_answers"]):
            values[first + place] -= wrong_answer(self.columns, [row[0] for row in self.rule], silo, move, self.unit)
        return Node(values, net, gross, alone)

    def losses(self, node: Node, variant: int) -> list[int]:
        begin = 1 + len(self.arrays.grid) + len(self.arrays.stress) + variant * self.arrays.blocks
        return [node.values[0] - value for value in node.values[begin : begin + self.arrays.blocks]]

    def base(self, node: Node) -> float:
        grid, stress, (now, *rest) = len(self.arrays.grid), len(self.arrays.stress), node.values
        worst_grid, worst_stress = (max(0, now - min(part)) for part in (rest[:grid], rest[grid : grid + stress]))
        tail, model = self.arrays.blocks // 100, MODEL["shortfall"]
        means = [max(sum(sorted(self.losses(node, v), reverse=True)[:tail]) / tail, 0) for v in range(4)]
        net = sum(abs(delta) for delta in node.net.values())
        floor = MODEL["delta_floor"]["net"] * net + MODEL["delta_floor"]["hedged"] * (node.gross.total() - net)
        blend = (model["forecast_share"] * mean + (1 - model["forecast_share"]) * worst_stress for mean in means[:3])
        return float(max(*blend, worst_grid, -min(node.alone.values()), floor, model["long_run_floor"] * means[3]))

    def touched_paths(self) -> Counter[int]:
        """Return how much the silos weigh that are liquidatable on each path: by what they owe, 1 from 100 dollars."""
        owed = {
            silo: sum(
                max(-(self.columns["lots"][p] * self.market[self.columns["rows"][p]][0] >> 24), 0) * self.unit
                for p in range(*self.columns["silo_positions"][silo : silo + 2])
            )
            for silo in self.silos
        }
        found = Counter[int]()
        for silo in self.silos:
            weight = math.floor(10_000 * min(owed[silo] / MODEL["probability"]["full_weight_debt_usd"], 1))
            now = self.columns["silo_liquidatable"][silo]
            terms = [
                (self.columns["term_lots"][p], self.rule[self.columns["term_rows"][p]])
                for p in range(*self.columns["silo_terms"][silo : silo + 2])
            ]
            for path in range(self.arrays.blocks):
                steps = range(1 + 72 * path, 73 + 72 * path)
                if now or any(sum(lots * line[step] >> 24 for lots, line in terms) < 0 for step in steps):
                    found[path] = max(found[path], weight)
        return found

    def joined(self, children: list[tuple[Node, float]], credit: float) -> tuple[Node, float]:
        """Return a node of the offset tree and its requirement, after the credit for what its children hedge."""
        (node, required), *others = children
        for other, more in others:
            node, required = node.plus(other), required + more
        ranked = sorted(enumerate(self.losses(node, 0)), key=lambda pair: -pair[1])[: self.arrays.blocks // 100]
        standing = sum(10_000 - self.touched[path] for path, _ in ranked) * 1000 // (10_000 * len(ranked)) / 1000
        saved = max(required - self.base(node), 0) if others else 0
        return node, required - min(credit, standing) * saved

    def unified(self) -> float:
        """Return the requirement of silo, cross-margin group, chain and all, in dollars."""
        chains: dict[int, dict[int, list[tuple[Node, float]]]] = {}
        for silo, node in self.nodes.items():
            groups = chains.setdefault(self.columns["silo_chains"][silo], {})
            groups.setdefault(self.columns["silo_groups"][silo], []).append((node, self.base(node)))
        credit = MODEL["offsets"]
        closed = [
            self.joined([self.joined(silos, 1.0) for silos in groups.values()], credit["within_chain"])
            for groups in chains.values()
        ]
        return self.joined(closed, credit["across_chains"])[1] * self.unit

    def add_ons(self) -> float:
        """Return liquidity, concentration and oracle add-ons of the gross exposure to every factor, in dollars."""
        total = 0.0
        for place, terms in enumerate(self.arrays.factors):
            size = sum(node.gross[place] for node in self.nodes.values()) * self.unit
            hours = size / (MODEL["liquidity"]["participation"] * terms.hourly_volume)
            longer = math.sqrt(max(1, hours / 24)) - 1
            liquidity = size * min(terms.half_spread + terms.impact_per_usd * size + terms.shortfall * longer, 1)
            open_size = terms.hourly_volume * 24 * MODEL["concentration"]["days_of_volume"]
            excess = max(0, size / open_size - MODEL["concentration"]["threshold"])
            concentration = MODEL["concentration"]["factor"] * size * excess**1.5
            total += liquidity + min(concentration, size - liquidity) + size * terms.confidence
        return total

    def initial_margin(self) -> float:
        return self.unified() + self.add_ons()
