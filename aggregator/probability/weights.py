"""How much a silo decides about its account's probability: by its own debt, from nothing at 0 to all at 100 USD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.buffers import view32, view64
from aggregator.exact.units import FULL_WEIGHT, value_unit
from aggregator.parameter_tables import ProbabilityModel
from aggregator.probability.interval import IMPOSSIBLE, Chance, touch_chance
from riskschema.arrays import PositionTable

Weights = NDArray[np.int16]


def silo_weights(table: PositionTable, debts: NDArray[np.int64], model: ProbabilityModel) -> Weights:
    """Return each silo's weight min(1, debt / `full_weight_debt_usd`) in parts per ten thousand, rounded down.

    It depends on nothing but the silo's own debt, so that a debt elsewhere never makes this one count less. A debt
    whose size nobody knows weighs in full.

    Args:
        table: The accounts.
        debts: What each silo owes at market, in account values.
        model: The `probability` parameters.
    """
    units = np.repeat(value_unit(view32(table.account_coarseness)), np.diff(view64(table.account_silos)))
    share = np.minimum(debts.astype(np.float64) * units / model.full_weight_debt_usd, 1.0)
    known = np.floor(share * FULL_WEIGHT).astype(np.int16)
    return np.where(view32(table.silo_unpriced_debts) != 0, np.int16(FULL_WEIGHT), known)


def joint_probability(
    weights: Sequence[int], touches: Sequence[int], multipliers: Sequence[float], blocks: int, model: ProbabilityModel
) -> Chance:
    """Return the probability that one of an account's silos is liquidated, and its interval.

    p = Σ (t_k - t_{k-1})·p(silos of weight t_k or more) over the sorted weights t (a Choquet integral: Choquet, 1954).
    The probability of a set never falls when a silo joins it or comes nearer, so more debt and less collateral never
    lower the sum.

    Args:
        weights: Per silo, in parts per ten thousand.
        touches: Per silo: paths on which any silo touches that weighs at least as much.
        multipliers: Per silo: likewise, the multiplier of the wanted rank.
        blocks: Number of paths.
        model: The `probability` parameters.
    """
    total, below = IMPOSSIBLE, 0
    for weight, found, multiplier in sorted(set(zip(weights, touches, multipliers, strict=True))):
        total = total.plus((weight - below) / FULL_WEIGHT, touch_chance(found, multiplier, blocks, model))
        below = weight
    return total
