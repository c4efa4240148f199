"""What happened on a day: the loss of each silo at its end, and whether it became liquidatable on the way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backtest.population import DOLLAR, Account, Pledge, Population, debt_value
from backtest.prices import Prices

Floats = NDArray[np.float64]
HOURS = 24


class Ratios(NamedTuple):
    """Prices of a day over the close before it; shape (factors, 24)."""

    close: Floats
    high: Floats
    low: Floats


class Touched(NamedTuple):
    """Whether a silo's weighted collateral fell below its debt within the day."""

    joint: bool
    """All prices at the low of the same hour, or all at its high, or all at its close."""
    apart: bool
    """Collateral at its low and debt at its high: each at its own worst of the hour."""


def ratios(prices: Prices, end: int) -> Ratios:
    """Return the 24 hours from hour `end` on."""
    now = prices.close[:, end - 1 : end].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Ratios(*(table[:, end : end + HOURS] / now for table in (prices.close, prices.high, prices.low)))


def _value(side: dict[str, float], moved: Floats, factors: tuple[str, ...]) -> Floats:
    total = np.zeros(HOURS)
    for name, share in side.items():
        total += share if name == DOLLAR else share * moved[factors.index(name)]
    return total


def touched(silo: Pledge, population: Population, day: Ratios, factors: tuple[str, ...]) -> Touched:
    """Return whether a silo became liquidatable, under both readings of an hour's extremes."""
    limit = population.collateral_usd * population.threshold
    owed = debt_value(silo, population)

    def below(held: Floats, debt: Floats) -> bool:
        surplus = limit * _value(silo.collateral, held, factors) - owed * _value(silo.debt, debt, factors)
        return bool(surplus.min() < 0.0)

    joint = any(below(moved, moved) for moved in day)
    return Touched(joint=joint, apart=joint or below(day.low, day.high))


def account_touched(account: Account, population: Population, day: Ratios, factors: tuple[str, ...]) -> Touched:
    """Return whether any silo of an account did."""
    found = [touched(silo, population, day, factors) for silo in account.silos]
    return Touched(any(each.joint for each in found), any(each.apart for each in found))
