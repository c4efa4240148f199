"""Risk arrays and position tables: the columnar values between building scenarios and adding up accounts.

An account's value in a column is the sum over its positions of lots x mantissa; everything else follows from such sums
(docs/risk-model.md). Both types hold plain bytes, so whoever has them needs no array library to recompute a margin.
"""

from __future__ import annotations

import msgspec

from riskschema.buffers import Column
from riskschema.flags import Flag
from riskschema.instruments import FactorId, Timestamp


class RowTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unit values of rows in columns: value of one lot = mantissa·2^-53 USD, one lot = 2^lot_exponent base units."""

    keys: tuple[str, ...]
    """What each row is (canonical JSON), sorted."""
    lot_exponents: Column
    """int32 (rows,)."""
    mantissas: Column
    """int32 (rows, columns)."""
    saturated: Column
    """int8 (rows,): 1 where a mantissa was cut at 2^30."""


class FactorTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the size add-ons need of one factor."""

    factor: FactorId
    half_spread: float
    impact_per_usd: float
    """Relative price impact per dollar sold."""
    shortfall: float
    """Expected shortfall of a one-day move in either direction, as a share."""
    scenario_range: float
    """The largest of the grid's joint moves in size, R, as a share."""
    hourly_volume: float
    """US dollars."""
    confidence: float
    """Half-width of the price as a share of it."""
    static_share: float
    """Static requirement as a share of gross."""
    break_cost: float = 0.0
    """Of a peg: expected fall within a day beyond its calm noise, as a share: what a discount costs who must sell."""
    flags: tuple[Flag, ...]
    """Those that hold for whoever is exposed to the factor: simulated or short history, stale quote."""


class RiskArrays(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One round's arrays: columns in the order base, grid, stress, then four sets of `blocks` block ends.

    The four sets are: fitted, correlations toward the target, correlations broken between groups, long-run volatility.
    Rule rows have the base column and then, block by block, low, high and close of each hour.
    """

    as_of: Timestamp
    parameters_hash: str
    model_version: int
    horizon_hours: int
    blocks: int
    hours_per_block: int
    grid: tuple[str, ...]
    """Names of the grid columns."""
    stress: tuple[str, ...]
    """Names of the stress columns."""
    factors: tuple[FactorTerms, ...]
    """Sorted by factor."""
    market: RowTable
    exposure_factors: Column
    """int32 (market rows, 4): index into `factors`, -1 for none."""
    exposures: Column
    """int32 (market rows, 4, 3): change of the mantissa per unit of relative price change of that factor, when that
    factor alone falls by its range, and when it alone rises by it."""
    rule: RowTable


class PositionTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Positions of many accounts in lots, silo by silo; silos of one group, and of one chain, are neighbours."""

    account_silos: Column
    """int64 (accounts + 1,): where each account's silos begin."""
    account_coarseness: Column
    """int32 (accounts,): a lot of the account is 2^coarseness lots of the row."""
    silo_positions: Column
    """int64 (silos + 1,)."""
    silo_groups: Column
    """int32 (silos,): equal for the silos of an account that share their collateral."""
    silo_chains: Column
    """int32 (silos,)."""
    silo_liquidatable: Column
    """int32 (silos,): 1 where the venue's own health is below 1."""
    silo_unpriced_debts: Column
    """int32 (silos,): 1 where something owed has no price."""
    rows: Column
    """int32 (positions,): market row."""
    lots: Column
    """int64 (positions,): rounded against the account."""
    silo_terms: Column
    """int64 (silos + 1,): where each silo's rule terms begin."""
    rule_coarseness: Column
    """int32 (silos,): likewise, of the silo's rule terms."""
    close_factors: Column
    """int32 (silos,): parts per million."""
    term_rows: Column
    """int32 (terms,): rule row."""
    term_lots: Column
    """int64 (terms,): weighted, rounded against the account."""
    term_gross: Column
    """int64 (terms,): unweighted."""
    term_bonuses: Column
    """int32 (terms,): liquidation bonus, parts per million."""
    term_answers: Column
    """int32 (terms,): which of the silo's oracle answers prices the term; -1 where none can be wrong."""
