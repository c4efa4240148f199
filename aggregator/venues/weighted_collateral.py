"""Collateral counted at a weight against debt at the venue's oracle: Aave v3, Morpho Blue and their kin.

Aave v3 ``GenericLogic.calculateUserAccountData``: health = Σ collateral·threshold / Σ debt. Morpho Blue
``_isHealthy``: collateral·price·lltv ≥ borrowed. Both are liquidatable when Σ weight·collateral < Σ debt.
"""

from __future__ import annotations

from aggregator.rule_terms import LinearRule, RuleRow, RuleTerm, parts_per_million
from riskschema.portfolio import Silo, WeightedCollateral
from riskschema.units import WAD

RULE = WeightedCollateral


def read(silo: Silo) -> LinearRule | None:
    """Return the pledged collaterals and the debts as terms."""
    rule = silo.rule
    if not isinstance(rule, WeightedCollateral):
        return None
    terms = [
        RuleTerm(
            row=RuleRow(
                instrument=position.instrument,
                numeraire=rule.numeraire,
                price=term.price,
                oracle=term.oracle,
                numeraire_oracle=rule.numeraire_oracle or "market",
            ),
            weighted=position.quantity * (term.weight if position.quantity > 0 else WAD),
            gross=int(position.quantity),
            bonus_ppm=parts_per_million(term.liquidation_bonus),
        )
        for position, term in zip(silo.positions, rule.terms, strict=True)
        if position.quantity < 0 or (position.quantity > 0 and term.weight > 0)
    ]
    return LinearRule(terms=tuple(terms), close_factor_ppm=parts_per_million(rule.close_factor))
