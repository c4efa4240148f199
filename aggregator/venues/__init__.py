"""Venues' own margin rules, one file each, found by their presence: a new rule is a new file and nothing else.

A module names the rule type it reads in ``RULE`` (for a named portfolio-margin model also ``MODEL``) and has a function
``read(silo)``. Rules never import each other.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from aggregator.rule_terms import LinearRule, RuleReader
from riskschema.portfolio import PortfolioMargin, Silo


@cache
def readers() -> dict[tuple[type, str], RuleReader]:
    """Return every rule of this package by its schema type and model name (empty for rules without models)."""
    found: dict[tuple[type, str], RuleReader] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda item: item.name):
        rule = importlib.import_module(f"{__name__}.{module.name}")
        found[(rule.RULE, getattr(rule, "MODEL", ""))] = rule.read
    return found


def read_rule(silo: Silo) -> LinearRule | None:
    """Return the silo's rule, or None if no version of it is implemented here."""
    model = silo.rule.model if isinstance(silo.rule, PortfolioMargin) else ""
    reader = readers().get((type(silo.rule), model))
    return reader(silo) if reader else None
