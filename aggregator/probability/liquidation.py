"""What happens on a path once a silo is liquidatable: integer values, a pro-rata walk, the holder's loss."""

from __future__ import annotations

from typing import NamedTuple

from aggregator.exact.compilation import compiled
from aggregator.exact.units import PER_MILLION
from aggregator.scenarios.columns import PATH_COLUMNS
from aggregator.valuation.books import RuleBook, RuleRows
from aggregator.valuation.sides import NO_ANSWER, WrongAnswer, sides, surplus


class Outcome(NamedTuple):
    """The end of a walk."""

    loss: float
    insolvent: bool


@compiled
def walk(silo: int, start: int, held: RuleBook, rows: RuleRows, maximum_repayments: int) -> Outcome:
    """Liquidate a silo along the path that begins at column `start`.

    Each liquidation repays the close factor of the debt and takes as much collateral plus the bonus, pro rata over
    the silo's assets, until the silo is healthy again. The loss is what is taken beyond what is repaid; the silo is
    insolvent when the collateral runs out first.

    Args:
        silo: Index into `held`.
        start: First of the path's 72 columns.
        held: Rule terms.
        rows: Rule rows.
        maximum_repayments: Liquidations in one column.
    """
    kept, owed, loss = 1.0, 1.0, 0.0
    share = held.close_factors[silo] / PER_MILLION
    # Weighted sums stay below 2^50, which floats hold exactly: before the first negative one nothing is liquidated.
    touch, end = start, start + PATH_COLUMNS
    while touch < end and surplus(silo, touch, held, rows.mantissas) >= 0:
        touch += 1
    for column in range(touch, end):
        now = sides(silo, column, held, rows.mantissas, WrongAnswer(NO_ANSWER, 0.0))
        for _ in range(maximum_repayments):
            if now.required * owed <= now.weighted * kept:
                break
            if now.debt * owed <= 0.0 or now.collateral <= 0.0:
                return Outcome(loss, now.debt * owed > 0.0)
            bonus = now.premium / now.collateral
            repaid = share * now.debt * owed
            seized, available = repaid * (1.0 + bonus), now.collateral * kept
            if seized >= available:
                paid = available / (1.0 + bonus)
                return Outcome(loss + (available - paid), now.debt * owed > paid)
            loss += seized - repaid
            kept -= seized / now.collateral
            owed -= repaid / now.debt
    return Outcome(loss, False)
