"""Wallets and liquidity that backs no debt: nothing to liquidate."""

from __future__ import annotations

from aggregator.rule_terms import LinearRule
from riskschema.portfolio import NoLiquidation, Silo

RULE = NoLiquidation


def read(silo: Silo) -> LinearRule:
    """Return a rule without terms."""
    return LinearRule(terms=(), close_factor_ppm=0)
