"""What one wrong answer of a venue's oracle costs: a liquidation at prices that nobody trades at.

Nothing moves in the market. A silo is liquidated because one of the answers that price it is wrong, and loses what is
taken beyond what is repaid, both at the right prices. Each silo is as unlucky as it can be: its worst answer counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.buffers import view32, view64
from aggregator.exact.compilation import compiled
from aggregator.exact.sums import product
from aggregator.exact.units import PER_MILLION, LotArray, MantissaArray, value_unit
from aggregator.parameters import Parameters
from riskschema.arrays import PositionTable, RiskArrays

Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]
Floats = NDArray[np.float64]


class Terms(NamedTuple):
    """Rule terms of all silos, and the oracle's answers now."""

    silo_terms: Ints
    close_factors: Int32s
    rows: Int32s
    lots: LotArray
    gross: LotArray
    bonuses: Int32s
    answers: Int32s
    mantissas: MantissaArray


class Sides(NamedTuple):
    """A silo at the oracle's answers, one of them perhaps wrong; in account values of its rule."""

    weighted: float
    required: float
    collateral: float
    debt: float
    premium: float
    """Bonus on all collateral."""


@compiled
def sides(silo: int, answer: int, move: float, terms: Terms) -> Sides:
    """Return both sides of a silo with `answer` off by the relative `move`."""
    weighted, required, collateral, debt, premium = 0.0, 0.0, 0.0, 0.0, 0.0
    for p in range(terms.silo_terms[silo], terms.silo_terms[silo + 1]):
        mantissa = terms.mantissas[terms.rows[p], 0]
        scale = 1.0 + move if terms.answers[p] == answer else 1.0
        counted, worth = product(terms.lots[p], mantissa) * scale, product(terms.gross[p], mantissa) * scale
        if worth > 0.0:
            weighted += counted
            collateral += worth
            premium += worth * (terms.bonuses[p] / PER_MILLION)
        else:
            required -= counted
            debt -= worth
    return Sides(weighted, required, collateral, debt, premium)


@compiled
def cost(silo: int, answer: int, move: float, terms: Terms, maximum_repayments: int) -> float:
    """Return what a silo loses while one answer is wrong: liquidated until it is healthy at the wrong prices."""
    wrong, right = sides(silo, answer, move, terms), sides(silo, answer, 0.0, terms)
    if right.required > right.weighted:  # liquidatable already: no wrong answer is to blame
        return 0.0
    kept, owed, share = 1.0, 1.0, terms.close_factors[silo] / PER_MILLION
    for _ in range(maximum_repayments):
        if wrong.required * owed <= wrong.weighted * kept or wrong.debt <= 0.0 or wrong.collateral <= 0.0:
            break
        bonus = 1.0 + wrong.premium / wrong.collateral
        repaid = min(share * wrong.debt * owed, wrong.collateral * kept / bonus)
        kept -= repaid * bonus / wrong.collateral
        owed -= repaid / wrong.debt
        if kept <= 0.0:
            break
    return max(right.collateral * (1.0 - kept) - right.debt * (1.0 - owed), 0.0)


@compiled
def worst_costs(terms: Terms, moves: Floats, maximum_repayments: int, result: Floats) -> None:
    """Write the cost of the worst answer per silo and move."""
    for silo in range(terms.silo_terms.size - 1):
        largest = -1
        for p in range(terms.silo_terms[silo], terms.silo_terms[silo + 1]):
            largest = max(largest, terms.answers[p])
        for index in range(moves.size):
            for answer in range(largest + 1):
                found = cost(silo, answer, moves[index], terms, maximum_repayments)
                result[silo, index] = max(result[silo, index], found)


def wrong_answer_costs(table: PositionTable, arrays: RiskArrays, parameters: Parameters) -> Ints:
    """Return what each wrong answer of the parameters costs each silo, in account values, rounded up.

    Returns:
        Shape (silos, moves): the last stress columns, in which nothing else happens.
    """
    terms = Terms(
        silo_terms=view64(table.silo_terms),
        close_factors=view32(table.close_factors),
        rows=view32(table.term_rows),
        lots=view64(table.term_lots),
        gross=view64(table.term_gross),
        bonuses=view32(table.term_bonuses),
        answers=view32(table.term_answers),
        mantissas=view32(arrays.rule.mantissas),
    )
    moves = np.array(parameters.oracles.wrong_answers, dtype=np.float64)
    found = np.zeros((terms.silo_terms.size - 1, moves.size))
    worst_costs(terms, moves, parameters.liquidation.maximum_repayments, found)
    units = np.repeat(value_unit(view32(table.account_coarseness)), np.diff(view64(table.account_silos)))
    scale = value_unit(view32(table.rule_coarseness)) / units
    return np.asarray(np.ceil(found * scale[:, None]).astype(np.int64))
