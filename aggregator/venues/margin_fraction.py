"""A fraction of the notional must be covered by equity: perpetual and futures venues.

Liquidatable when Σ cash + Σ q·mark - entry value < Σ fraction·|q|·mark; linear in the mark given the sign of q. For
inverse contracts (quantity in quote units, settled in the base coin) a contract is worth -1/mark coin, so the entry
value counts with the opposite sign (docs/risk-model.md).
"""

from __future__ import annotations

from aggregator.rule_terms import Cash, LinearRule, RowInstrument, RuleRow, RuleTerm
from riskschema.instruments import Future, Perpetual
from riskschema.portfolio import MarginFraction, Position, Silo
from riskschema.units import WAD, Wad

RULE = MarginFraction


def read(silo: Silo) -> LinearRule | None:
    """Return one term per position and one for the entry value; None for a silo that mixes payoffs."""
    rule = silo.rule
    if not isinstance(rule, MarginFraction):
        return None
    payoffs = {p.instrument.payoff for p in silo.positions if isinstance(p.instrument, Perpetual | Future)}
    if len(payoffs) > 1:
        return None
    cash = Cash(factor=rule.numeraire)
    entry = int(rule.entry_value) if payoffs == {"inverse"} else -int(rule.entry_value)
    terms = [
        _term(position, fraction, rule.numeraire, inverse=payoffs == {"inverse"})
        for position, fraction in zip(silo.positions, rule.fractions, strict=True)
        if position.quantity
    ]
    if entry:
        terms.append(RuleTerm(row=_marked(cash, rule.numeraire), weighted=entry * WAD, gross=entry))
    return LinearRule(terms=tuple(terms), close_factor_ppm=1_000_000, settlement=((cash, entry),) if entry else ())


def _term(position: Position, fraction: Wad, numeraire: str, *, inverse: bool) -> RuleTerm:
    quantity = int(position.quantity)
    derivative = isinstance(position.instrument, Perpetual | Future)
    # The row of an inverse contract is negative, so the requirement adds to the quantity instead of lowering it.
    requirement = abs(quantity) * int(fraction) * (-1 if inverse and derivative else 1)
    return RuleTerm(
        row=_marked(position.instrument, numeraire),
        weighted=quantity * WAD - requirement,
        gross=quantity,
    )


def _marked(instrument: RowInstrument, numeraire: str) -> RuleRow:
    """Return the row of what the venue marks at the market price."""
    return RuleRow(instrument=instrument, numeraire=numeraire, price=None)
