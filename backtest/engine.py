"""One day's forecasts from the engine that signs: the distribution of losses, requirements and probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.assess import assess, margins_under
from aggregator.parameters import Parameters
from riskschema.arrays import PositionTable, RiskArrays
from riskschema.assessment import MAX_SCORE
from riskschema.buffers import Column
from riskschema.market import MarketState
from riskschema.portfolio import Portfolio
from riskschema.units import WAD

Floats = NDArray[np.float64]
MANTISSA_BITS = 53
LEVEL = 0.99
"""Of the quantile and of the expected shortfall."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of a day before it begins; dollars, in the order of the portfolios and of their silos."""

    losses: Floats
    """Shape (portfolios, blocks): loss at each end of a block, all silos together."""
    silo_losses: Floats
    """Shape (silos, blocks)."""
    base: Floats
    """Per silo: the base requirement, without add-ons."""
    following: Floats
    """Per silo: what the base would be without stress and floors, so that all of it follows the forecast."""
    unified: Floats
    """Per portfolio: the unified base requirement."""
    net: Floats
    """Per portfolio: the base requirement if all silos shared their collateral."""
    probability: Floats
    """Per portfolio: of a liquidation within 24 hours, before the published floor."""
    static: Floats
    """Per portfolio: fixed percentages of gross."""


def forecast(portfolios: Sequence[Portfolio], market: MarketState, parameters: Parameters) -> Forecast:
    """Assess the portfolios and return what the engine expects of the next 24 hours."""
    batch = assess(portfolios, market, parameters)
    table, arrays = batch.positions, batch.arrays
    margins = batch.measures.margins
    following = margins_under(batch, _without_stress(arrays), _without_floors(parameters)).silo_base
    silos = _ints(table.account_silos)
    unit = np.ldexp(1.0, _ints(table.account_coarseness) - 29)
    by_silo = _silo_losses(table, arrays)
    return Forecast(
        losses=np.add.reduceat(by_silo, silos[:-1], axis=0),
        silo_losses=by_silo,
        base=margins.silo_base.astype(np.float64) * np.repeat(unit, np.diff(silos)),
        following=following.astype(np.float64) * np.repeat(unit, np.diff(silos)),
        unified=margins.unified.astype(np.float64) * unit,
        net=margins.net.astype(np.float64) * unit,
        probability=np.array([probability_of_score(found.score) for found in batch.assessments]),
        static=np.array([int(found.static_margin) / 1e8 for found in batch.assessments]),
    )


def _without_stress(arrays: RiskArrays) -> RiskArrays:
    """Return arrays in whose stress columns nothing moves."""
    mantissas = _ints(arrays.market.mantissas).reshape(arrays.market.mantissas.shape).astype("<i4")
    begin = 1 + len(arrays.grid)
    mantissas[:, begin : begin + len(arrays.stress)] = mantissas[:, :1]
    column = Column(dtype="int32", shape=mantissas.shape, data=mantissas.tobytes())
    return msgspec.structs.replace(arrays, market=msgspec.structs.replace(arrays.market, mantissas=column))


def _without_floors(parameters: Parameters) -> Parameters:
    return msgspec.structs.replace(
        parameters,
        shortfall=msgspec.structs.replace(parameters.shortfall, long_run_floor=0.0),
        delta_floor=msgspec.structs.replace(parameters.delta_floor, net=0.0, hedged=0.0),
    )


def probability_of_score(score: int) -> float:
    """Return the probability that a score stands for; one of 0 stands for at most .01 %."""
    return float(10.0 ** (score * 4.0 / MAX_SCORE - 4.0))


def _ints(column: Column) -> NDArray[np.int64]:
    return np.frombuffer(column.data, dtype=np.dtype(column.dtype).newbyteorder("<")).astype(np.int64)


def _silo_losses(table: PositionTable, arrays: RiskArrays) -> Floats:
    """Return each silo's loss at the ends of the fitted blocks, from lots and mantissas."""
    width = arrays.market.mantissas.shape[1]
    mantissas = _ints(arrays.market.mantissas).reshape(-1, width)
    start = 1 + len(arrays.grid) + len(arrays.stress)
    moves = (mantissas[:, :1] - mantissas[:, start : start + arrays.blocks]).astype(np.float64)
    silo_positions, account_silos = _ints(table.silo_positions), _ints(table.account_silos)
    weights = np.zeros((silo_positions.size - 1, mantissas.shape[0]))
    coarse = np.repeat(_ints(table.account_coarseness), np.diff(account_silos))
    places = np.repeat(np.arange(silo_positions.size - 1), np.diff(silo_positions))
    np.add.at(weights, (places, _ints(table.rows)), _ints(table.lots).astype(np.float64))
    return np.asarray((weights @ moves) * np.ldexp(1.0, coarse - MANTISSA_BITS)[:, None])


def price_in_wad(units: int) -> int:
    """Return a price of the history (10^-12 dollars) with 18 decimals."""
    return units * (WAD // 10**12)
