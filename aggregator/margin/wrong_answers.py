"""What one wrong answer of a venue's oracle costs: a liquidation at prices that nobody trades at.

Nothing moves in the market. A silo is liquidated because one of the answers that price it is wrong, and loses what is
taken beyond what is repaid, both at the right prices. Each silo is as unlucky as it can be: its worst answer counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.buffers import view32, view64
from aggregator.exact.compilation import compiled
from aggregator.exact.units import PER_MILLION, MantissaArray, value_unit
from aggregator.parameters import Parameters
from aggregator.valuation.books import RuleBook, rule_book
from aggregator.valuation.sides import NO_ANSWER, Sides, View, empty_sides, fill_sides
from riskschema.arrays import PositionTable, RiskArrays

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@compiled
def cost(wrong: Sides, right: Sides, share: float, maximum_repayments: int) -> float:
    """Return what a silo loses while one answer is wrong: liquidated until it is healthy at the wrong prices.

    Args:
        wrong: Both sides at the wrong answer, in one column.
        right: The same at the right ones.
        share: Of the debt that one liquidation repays.
        maximum_repayments: Most liquidations.
    """
    if right.required[0] > right.weighted[0]:  # liquidatable already: no wrong answer is to blame
        return 0.0
    kept, owed, collateral, debt = 1.0, 1.0, wrong.collateral[0], wrong.debt[0]
    for _ in range(maximum_repayments):
        if wrong.required[0] * owed <= wrong.weighted[0] * kept or debt <= 0.0 or collateral <= 0.0:
            break
        bonus = 1.0 + wrong.premium[0] / collateral
        repaid = min(share * debt * owed, collateral * kept / bonus)
        kept -= repaid * bonus / collateral
        owed -= repaid / debt
        if kept <= 0.0:
            break
    return float(max(right.collateral[0] * (1.0 - kept) - right.debt[0] * (1.0 - owed), 0.0))


@compiled
def worst_costs(
    held: RuleBook, mantissas: MantissaArray, moves: Floats, maximum_repayments: int, result: Floats
) -> None:
    """Write the cost of the worst answer per silo and move."""
    wrong, right = empty_sides(1), empty_sides(1)
    for silo in range(held.silo_terms.size - 1):
        largest, share = -1, held.close_factors[silo] / PER_MILLION
        for p in range(held.silo_terms[silo], held.silo_terms[silo + 1]):
            largest = max(largest, held.answers[p])
        fill_sides(silo, View(0, NO_ANSWER, 0.0), held, mantissas, right)
        for index in range(moves.size):
            for answer in range(largest + 1):
                fill_sides(silo, View(0, answer, moves[index]), held, mantissas, wrong)
                result[silo, index] = max(result[silo, index], cost(wrong, right, share, maximum_repayments))


def wrong_answer_costs(table: PositionTable, arrays: RiskArrays, parameters: Parameters) -> Ints:
    """Return what each wrong answer of the parameters costs each silo, in account values, rounded up.

    Returns:
        Shape (silos, moves): the last stress columns, in which nothing else happens.
    """
    silos = view64(table.silo_terms).size - 1
    held = rule_book(table, np.zeros(silos, dtype=np.int16))
    moves = np.array(parameters.oracles.wrong_answers, dtype=np.float64)
    found = np.zeros((silos, moves.size))
    worst_costs(held, view32(arrays.rule.mantissas), moves, parameters.liquidation.maximum_repayments, found)
    units = np.repeat(value_unit(view32(table.account_coarseness)), np.diff(view64(table.account_silos)))
    scale = held.value_units / units
    return np.asarray(np.ceil(found * scale[:, None]).astype(np.int64))
