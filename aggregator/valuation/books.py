"""Position tables and row tables as the kernels see them: named tuples of arrays, without copies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.buffers import view32, view64
from aggregator.exact.units import PER_MILLE, LotArray, MantissaArray, value_unit, whole_parts
from aggregator.parameters import Parameters
from aggregator.scenarios.columns import PATH_COLUMNS
from riskschema.arrays import PositionTable, RiskArrays

Int16s = NDArray[np.int16]
Int32s = NDArray[np.int32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Book(NamedTuple):
    """Positions of many accounts; see `riskschema.arrays.PositionTable`."""

    account_silos: Ints
    silo_positions: Ints
    groups: Int32s
    chains: Int32s
    rows: Int32s
    lots: LotArray


class MarketRows(NamedTuple):
    """Market rows; see `riskschema.arrays.RiskArrays`."""

    mantissas: MantissaArray
    places: Int32s
    exposures: MantissaArray
    """Shape (rows, slots, 3): per unit of relative move, and when the factor alone falls or rises by its range."""


class Layout(NamedTuple):
    """Where sets of columns are, and the weights in parts per thousand."""

    grid: int
    stress: int
    blocks: int
    percent: int
    forecast_share: int
    long_run: int
    net: int
    hedged: int
    within_chain: int
    across: int


class RuleBook(NamedTuple):
    """Rule terms of many accounts."""

    account_silos: Ints
    silo_terms: Ints
    weights: Int16s
    """How much each silo decides about its account's probability, in parts per ten thousand."""
    liquidatable: Int32s
    """1 where the venue says that a silo can be liquidated now: it touches every path."""
    close_factors: Int32s
    value_units: Floats
    """Dollars that one unit of account value is."""
    rows: Int32s
    lots: LotArray
    gross: LotArray
    bonuses: Int32s
    answers: Int32s
    """Which of its silo's oracle answers prices a term; -1: none that could be wrong."""


class RuleRows(NamedTuple):
    """Rule rows, and their extremes per path, shape (rows, blocks)."""

    mantissas: MantissaArray
    lowest: MantissaArray
    highest: MantissaArray


def book(table: PositionTable) -> Book:
    """Return the positions of `table`."""
    return Book(
        account_silos=view64(table.account_silos),
        silo_positions=view64(table.silo_positions),
        groups=view32(table.silo_groups),
        chains=view32(table.silo_chains),
        rows=view32(table.rows),
        lots=view64(table.lots),
    )


def market_rows(arrays: RiskArrays) -> MarketRows:
    """Return the market rows of `arrays`."""
    return MarketRows(
        mantissas=view32(arrays.market.mantissas),
        places=view32(arrays.exposure_factors),
        exposures=view32(arrays.exposures),
    )


def layout(arrays: RiskArrays, parameters: Parameters) -> Layout:
    """Return the column layout, shares as whole parts per thousand."""
    return Layout(
        grid=len(arrays.grid),
        stress=len(arrays.stress),
        blocks=arrays.blocks,
        percent=parameters.shortfall.tail_percent,
        forecast_share=whole_parts(parameters.shortfall.forecast_share, PER_MILLE),
        long_run=whole_parts(parameters.shortfall.long_run_floor, PER_MILLE),
        net=whole_parts(parameters.delta_floor.net, PER_MILLE),
        hedged=whole_parts(parameters.delta_floor.hedged, PER_MILLE),
        within_chain=whole_parts(parameters.offsets.within_chain, PER_MILLE),
        across=whole_parts(parameters.offsets.across_chains, PER_MILLE),
    )


def rule_book(table: PositionTable, weights: Int16s) -> RuleBook:
    """Return the rule terms of `table`; `weights` say how much each silo decides about its account's score."""
    return RuleBook(
        account_silos=view64(table.account_silos),
        silo_terms=view64(table.silo_terms),
        weights=weights,
        liquidatable=view32(table.silo_liquidatable),
        close_factors=view32(table.close_factors),
        value_units=value_unit(view32(table.rule_coarseness)),
        rows=view32(table.term_rows),
        lots=view64(table.term_lots),
        gross=view64(table.term_gross),
        bonuses=view32(table.term_bonuses),
        answers=view32(table.term_answers),
    )


def rule_rows(arrays: RiskArrays) -> RuleRows:
    """Return the rule rows of `arrays` with the extremes of each path.

    What is owed counts at least as it is now: bounds of stretched paths must not shrink a debt below zero.
    """
    mantissas = view32(arrays.rule.mantissas)
    paths = mantissas[:, 1:].reshape(mantissas.shape[0], arrays.blocks, PATH_COLUMNS)
    now = mantissas[:, :1]
    lowest, highest = paths.min(axis=2), paths.max(axis=2)
    return RuleRows(
        mantissas=mantissas,
        lowest=np.where(now < 0, np.minimum(lowest, now), lowest),
        highest=np.where(now > 0, np.maximum(highest, now), highest),
    )
