"""What happens on a path once a silo is liquidatable: integer values, a pro-rata walk, the holder's loss."""

from __future__ import annotations

from typing import NamedTuple

from aggregator.exact.compilation import compiled
from aggregator.exact.units import PER_MILLION
from aggregator.valuation.sides import Sides


class Outcome(NamedTuple):
    """The end of a walk."""

    loss: float
    insolvent: bool


@compiled
def walk(along: Sides, close_factor: int, maximum_repayments: int) -> Outcome:
    """Liquidate a silo along a path.

    Each liquidation repays the close factor of the debt and takes as much collateral plus the bonus, pro rata over
    the silo's assets, until the silo is healthy again. The loss is what is taken beyond what is repaid; the silo is
    insolvent when the collateral runs out first.

    Args:
        along: Both sides of the silo in the path's 72 columns.
        close_factor: What one liquidation repays of the debt, in parts per million.
        maximum_repayments: Liquidations in one column.
    """
    kept, owed, loss, share = 1.0, 1.0, 0.0, close_factor / PER_MILLION
    for column in range(along.debt.size):
        weighted, required = along.weighted[column], along.required[column]
        collateral, debt = along.collateral[column], along.debt[column]
        for _ in range(maximum_repayments):
            if required * owed <= weighted * kept:
                break
            if debt * owed <= 0.0 or collateral <= 0.0:
                return Outcome(loss, debt * owed > 0.0)
            bonus = along.premium[column] / collateral
            repaid = share * debt * owed
            seized, available = repaid * (1.0 + bonus), collateral * kept
            if seized >= available:
                paid = available / (1.0 + bonus)
                return Outcome(loss + (available - paid), debt * owed > paid)
            loss += seized - repaid
            kept -= seized / collateral
            owed -= repaid / debt
    return Outcome(loss, False)
