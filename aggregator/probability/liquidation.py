"""What happens on a path once a silo is liquidatable: integer values, a pro-rata walk, the holder's loss."""

from __future__ import annotations

from typing import NamedTuple

from aggregator.exact.compilation import compiled
from aggregator.exact.sums import product
from aggregator.exact.units import PER_MILLION
from aggregator.scenarios.columns import PATH_COLUMNS
from aggregator.valuation.books import RuleBook, RuleRows


class Sides(NamedTuple):
    """One silo in one column, in account values of its rule."""

    weighted: float
    """Collateral at its weights."""
    collateral: float
    premium: float
    """Bonus on all collateral."""
    required: float
    """What the weighted collateral must cover: debts, with the margin on what is short."""
    debt: float


class Outcome(NamedTuple):
    """The end of a walk."""

    loss: float
    insolvent: bool


@compiled
def sides(silo: int, column: int, held: RuleBook, rows: RuleRows) -> Sides:
    """Return both sides of a silo in a column."""
    weighted, collateral, premium, required, debt = 0.0, 0.0, 0.0, 0.0, 0.0
    for p in range(held.silo_terms[silo], held.silo_terms[silo + 1]):
        mantissa = rows.mantissas[held.rows[p], column]
        counted = float(product(held.lots[p], mantissa))
        worth = float(product(held.gross[p], mantissa))
        if worth > 0.0:
            weighted += counted
            collateral += worth
            premium += worth * (held.bonuses[p] / PER_MILLION)
        else:
            required -= counted
            debt -= worth
    return Sides(weighted, collateral, premium, required, debt)


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
    for column in range(start, start + PATH_COLUMNS):
        now = sides(silo, column, held, rows)
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
