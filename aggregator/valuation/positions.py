"""From portfolios to position tables: quantities in lots, silo by silo, and what could not be valued."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from aggregator.asked_once import AskedOnce
from aggregator.exact.buffers import column, view32
from aggregator.exact.units import LotExponent, coarseness, to_lots
from aggregator.rule_terms import LinearRule, RowInstrument, RuleRow, RuleTerm
from aggregator.scenarios.factors import Listing
from aggregator.valuation.pricing import unquoted_factors
from aggregator.valuation.rule_rows import market_key, own_factor, rule_key
from aggregator.valuation.saturation import outgrows
from aggregator.venues import read_rule
from riskschema.arrays import PositionTable, RiskArrays, RowTable
from riskschema.buffers import DType
from riskschema.flags import Flag
from riskschema.instruments import FactorId, Future, Perpetual
from riskschema.portfolio import USD, MarginFraction, Portfolio, Silo, Unread
from riskschema.units import WAD

CONTRACTS = (Perpetual, Future)


class ReadSilo(msgspec.Struct, frozen=True, kw_only=True):
    """A silo with what can be valued of it."""

    silo: Silo
    holdings: tuple[tuple[RowInstrument, int], ...]
    """Priced positions and settlement cash, base units."""
    rule: LinearRule | None
    """None where nothing can be liquidated or the rule cannot be followed."""
    unfollowed: bool = False
    """Something owed has no price, a rate is absurd, or the rule is not known: the silo must not look safe."""
    unsettled: bool = False
    """What its contracts are measured against is not known: their moves count, their notional is no equity."""
    unpriced_debt: bool = False
    """Something owed has no price: nobody knows how much it is."""

    @property
    def liquidatable(self) -> bool:
        """Whether the venue itself says so, now."""
        return self.silo.health is not None and self.silo.health < WAD

    @property
    def worth(self) -> tuple[bool, ...]:
        """Per holding: whether its value is part of the equity."""
        return tuple(not (self.unsettled and isinstance(item, CONTRACTS)) for item, _ in self.holdings)


class ReadAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A portfolio with its silos ordered by chain, venue, cross-margin group and id."""

    portfolio: Portfolio
    silos: tuple[ReadSilo, ...]
    unread: tuple[Unread, ...]
    flags: frozenset[Flag]


class _Quotes(NamedTuple):
    """What lacks a price, of everything that the accounts hold."""

    unquoted: AskedOnce[RowInstrument, tuple[FactorId, ...]]
    """Per instrument: the factors that would have to be quoted."""
    priced: AskedOnce[FactorId, bool]
    """Per numeraire."""


def read_accounts(portfolios: Sequence[Portfolio], known: Listing) -> list[ReadAccount]:
    """Read the venue rules of all portfolios and set aside what has no price.

    Args:
        portfolios: One per subject.
        known: The factor list and the agreed prices.
    """
    quotes = _Quotes(
        unquoted=AskedOnce(lambda instrument: unquoted_factors(instrument, known)),
        priced=AskedOnce(lambda numeraire: known.worth(numeraire) is not None),
    )
    return [_read_account(portfolio, quotes) for portfolio in portfolios]


def _read_account(portfolio: Portfolio, quotes: _Quotes) -> ReadAccount:
    ordered = sorted(portfolio.silos, key=lambda silo: (silo.chain_id, silo.venue, silo.cross_margin_group, silo.id))
    unread = list(portfolio.unread)
    flags = {Flag.VENUE_UNREAD} if portfolio.unread else set()
    silos = []
    for silo in ordered:
        missing = _unpriced(silo, quotes)
        unread += [_unread(silo, "factor_unknown", f"no quote of factor {name}") for name in missing]
        if missing:
            flags.add(Flag.UNPRICED)
        rule = read_rule(silo)
        if rule is None:
            unread.append(_unread(silo, "rule_not_implemented", f"no rule for {_rule_name(silo)}"))
            flags.add(Flag.VENUE_UNREAD)
        if rule is not None and not rule.terms and _owes(silo):
            unread.append(_unread(silo, "rule_not_implemented", "a debt under a rule that liquidates nothing"))
            flags.add(Flag.VENUE_UNREAD)
        silos.append(_read_silo(silo, rule, quotes))
    return ReadAccount(
        portfolio=portfolio,
        silos=tuple(silos),
        unread=tuple(unread),
        flags=frozenset(flags),
    )


def _read_silo(silo: Silo, rule: LinearRule | None, quotes: _Quotes) -> ReadSilo:
    unfollowed, unsettled = _unfollowed(silo, rule, quotes), _unsettled(silo, rule, quotes)
    holdings: list[tuple[RowInstrument, int]] = [
        (p.instrument, int(p.quantity)) for p in silo.positions if _priced(p.instrument, quotes) and p.quantity
    ]
    if rule is not None:
        holdings += rule.settlement if not unsettled else ()
        kept = tuple(term for term in rule.terms if _priced_term(term, quotes))
        rule = msgspec.structs.replace(rule, terms=kept) if kept else None
    return ReadSilo(
        silo=silo,
        holdings=tuple(holdings),
        rule=rule,
        unfollowed=unfollowed,
        unsettled=unsettled,
        unpriced_debt=any(p.quantity < 0 and not _priced(p.instrument, quotes) for p in silo.positions),
    )


def _unfollowed(silo: Silo, rule: LinearRule | None, quotes: _Quotes) -> bool:
    """Tell whether something that is owed, or can be, escapes the silo's rule."""
    held = [p for p in silo.positions if p.quantity]
    if any(p.quantity < 0 and not _priced(p.instrument, quotes) for p in held):
        return True
    if rule is None:
        return silo.health is not None or any(p.quantity < 0 or isinstance(p.instrument, CONTRACTS) for p in held)
    if not rule.terms and _owes(silo):
        return True
    absurd = _owes(silo) and any(outgrows(p.instrument) for p in held)
    return absurd or any(term.weighted < 0 and not _priced_term(term, quotes) for term in rule.terms)


def _owes(silo: Silo) -> bool:
    return any(p.quantity < 0 for p in silo.positions)


def _unsettled(silo: Silo, rule: LinearRule | None, quotes: _Quotes) -> bool:
    """Tell whether a contract lacks what it is measured against: its entry value, or a price of either."""
    contracts = [p.instrument for p in silo.positions if p.quantity and isinstance(p.instrument, CONTRACTS)]
    if rule is None or not isinstance(silo.rule, MarginFraction):
        return bool(contracts)
    parts = (*contracts, *(cash for cash, _ in rule.settlement))
    return not all(_priced(part, quotes) for part in parts)


def _rule_name(silo: Silo) -> str:
    return str(getattr(silo.rule, "model", "")) or type(silo.rule).__name__


def _priced(instrument: RowInstrument, quotes: _Quotes) -> bool:
    return not quotes.unquoted[instrument]


def _priced_term(term: RuleTerm, quotes: _Quotes) -> bool:
    return quotes.priced[term.row.numeraire] and _priced(term.row.instrument, quotes)


def _unpriced(silo: Silo, quotes: _Quotes) -> list[str]:
    held = (p.instrument for p in silo.positions if p.quantity)
    names = {name for item in held for name in quotes.unquoted[item]}
    numeraire = getattr(silo.rule, "numeraire", USD)
    if not quotes.priced[numeraire]:
        names.add(numeraire)
    return sorted(names)


def _unread(silo: Silo, code: str, detail: str) -> Unread:
    return Unread(
        chain_id=silo.chain_id,
        venue=silo.venue,
        market=silo.market,
        account=silo.account,
        code=code,
        detail=detail[:500],
    )


def needed_instruments(accounts: Sequence[ReadAccount]) -> set[RowInstrument]:
    """Return the market rows the accounts need."""
    return {item for account in accounts for silo in account.silos for item, _ in silo.holdings}


def needed_rule_rows(accounts: Sequence[ReadAccount]) -> set[RuleRow]:
    """Return the rule rows the accounts need."""
    return {term.row for account in accounts for silo in account.silos if silo.rule for term in silo.rule.terms}


def position_table(accounts: Sequence[ReadAccount], arrays: RiskArrays) -> PositionTable:
    """Put accounts into lots of the rows of `arrays`.

    Quantities are rounded against the account; the error of its value is below 2^-43 of gross per position.
    """
    return _TableBuilder(arrays).build(accounts)


_Answer = tuple[FactorId | None, int]
"""Whose price a venue's oracle says, and what it says."""


class _Place(NamedTuple):
    """Where a row is, and what its lots are measured in."""

    row: int
    exponent: LotExponent
    negative: bool
    """Worth less than nothing now."""


def _places(table: RowTable) -> dict[str, _Place]:
    exponents = view32(table.lot_exponents).tolist()
    negative = (view32(table.mantissas)[:, 0] < 0).tolist()
    rows = enumerate(zip(table.keys, exponents, negative, strict=True))
    return {key: _Place(row, LotExponent(exponent), below) for row, (key, exponent, below) in rows}


class _TableBuilder:
    """Column lists under construction."""

    def __init__(self, arrays: RiskArrays) -> None:
        market, rule = _places(arrays.market), _places(arrays.rule)
        self._market: AskedOnce[RowInstrument, _Place] = AskedOnce(lambda item: market[market_key(item)])
        self._rule: AskedOnce[RuleRow, _Place] = AskedOnce(lambda row: rule[rule_key(row)])
        self._answers = AskedOnce(_answer)
        self._columns: dict[str, list[int]] = {name: [] for name in PositionTable.__struct_fields__}

    def build(self, accounts: Sequence[ReadAccount]) -> PositionTable:
        columns = self._columns
        for account in accounts:
            columns["account_silos"].append(len(columns["silo_chains"]))
            self._account(account)
        columns["account_silos"].append(len(columns["silo_chains"]))
        columns["silo_positions"].append(len(columns["rows"]))
        columns["silo_terms"].append(len(columns["term_rows"]))
        annotated = {
            name: column(np.array(values, dtype=_DTYPES[name]), _DTYPES[name]) for name, values in columns.items()
        }
        return PositionTable(**annotated)

    def _account(self, account: ReadAccount) -> None:
        columns = self._columns
        found = [[(self._market[item], quantity) for item, quantity in silo.holdings] for silo in account.silos]
        sizes = [math.ldexp(abs(quantity), -place.exponent) for silo in found for place, quantity in silo]
        coarse = coarseness(sizes)
        columns["account_coarseness"].append(coarse)
        groups: dict[tuple[str, str, str], int] = {}
        chains = sorted({silo.silo.chain_id for silo in account.silos})
        for silo, holdings in zip(account.silos, found, strict=True):
            columns["silo_positions"].append(len(columns["rows"]))
            for place, quantity in holdings:
                columns["rows"].append(place.row)
                columns["lots"].append(to_lots(quantity, place.exponent, coarse, up=place.negative))
            columns["silo_groups"].append(groups.setdefault(_sharing(silo.silo), len(groups)))
            columns["silo_chains"].append(chains.index(silo.silo.chain_id))
            columns["silo_liquidatable"].append(int(silo.liquidatable))
            columns["silo_unpriced_debts"].append(int(silo.unpriced_debt))
            self._terms(silo)

    def _terms(self, silo: ReadSilo) -> None:
        columns = self._columns
        columns["silo_terms"].append(len(columns["term_rows"]))
        terms = silo.rule.terms if silo.rule else ()
        found = [self._rule[term.row] for term in terms]
        sizes = [
            math.ldexp(max(abs(term.gross), abs(term.weighted) // WAD), -place.exponent)
            for term, place in zip(terms, found, strict=True)
        ]
        coarse = coarseness(sizes)
        columns["rule_coarseness"].append(coarse)
        columns["close_factors"].append(silo.rule.close_factor_ppm if silo.rule else 0)
        answers: dict[_Answer, int] = {}
        for term, (row, exponent, up) in zip(terms, found, strict=True):
            columns["term_rows"].append(row)
            columns["term_lots"].append(to_lots(term.weighted, exponent, coarse, denominator=WAD, up=up))
            columns["term_gross"].append(to_lots(term.gross, exponent, coarse, up=up))
            columns["term_bonuses"].append(term.bonus_ppm)
            answer = self._answers[term.row]
            columns["term_answers"].append(-1 if answer is None else answers.setdefault(answer, len(answers)))


def _answer(row: RuleRow) -> _Answer | None:
    """Return the answer behind a row; a contract's mark, a constant, and one of one have none."""
    name = own_factor(row.instrument)
    if row.price is None or row.kind == "fixed" or name == row.numeraire:
        return None
    return name, int(row.price)


def _sharing(silo: Silo) -> tuple[str, str, str]:
    """Return what the silos that share their collateral have in common; a silo without a group shares with none."""
    return silo.venue, silo.cross_margin_group, "" if silo.cross_margin_group else silo.id


_DTYPES: dict[str, DType] = {
    "account_silos": "int64",
    "account_coarseness": "int32",
    "silo_positions": "int64",
    "silo_groups": "int32",
    "silo_chains": "int32",
    "silo_liquidatable": "int32",
    "silo_unpriced_debts": "int32",
    "rows": "int32",
    "lots": "int64",
    "silo_terms": "int64",
    "rule_coarseness": "int32",
    "close_factors": "int32",
    "term_rows": "int32",
    "term_lots": "int64",
    "term_gross": "int64",
    "term_bonuses": "int32",
    "term_answers": "int32",
}
