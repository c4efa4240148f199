"""What a holder can do about a lending silo: repay, add collateral, or close a part, each by any amount."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

import msgspec

from aggregator.valuation.pricing import decimals
from riskschema.assessment import Action
from riskschema.instruments import Instrument
from riskschema.portfolio import USD, Portfolio, Silo, SiloId, WeightedCollateral, is_stuck, takes_no_more
from riskschema.units import WAD, Amount, Wad

Deltas = Mapping[tuple[int, int], int]
"""Base units by which positions change, by place of the silo and of the position in it."""

PARTS = 1_000_000
"""In which a share of all debts is counted."""
MOST_ADDED = 4
"""Times its debts: no more collateral than that is thought of."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A change of which more is never worse."""

    action: Action
    silo: SiloId | None
    """None: the same share of the debts of all silos."""
    most: int
    """Its largest measure: base units, or parts of all debts."""
    deltas: Callable[[int], Deltas]


def candidates(portfolio: Portfolio) -> Iterator[Candidate]:
    """Yield what can be done in each lending silo that owes something, and the same share of all their debts.

    Repay a debt from elsewhere, add more of a collateral that is there, or close: sell a collateral at the venue's
    prices to repay a debt. What the venue lets nobody do now is left out.
    """
    owing: list[tuple[int, int, int]] = []
    for place, silo in enumerate(portfolio.silos):
        if not isinstance(silo.rule, WeightedCollateral):
            continue
        debts = [at for at, position in enumerate(silo.positions) if position.quantity < 0]
        pledged = [at for at, term in enumerate(silo.rule.terms) if silo.positions[at].quantity > 0 < term.weight]
        owing += [(place, at, -int(silo.positions[at].quantity)) for at in debts]
        if debts:
            yield from _repayments(place, silo, debts)
            yield from _additions(place, silo, debts, pledged)
            yield from _closings(place, silo, debts, pledged)
    stuck = any(is_stuck(portfolio.silos[place], _instrument(portfolio.silos[place], at)) for place, at, _ in owing)
    if len({place for place, _, _ in owing}) > 1 and not stuck:
        yield Candidate(
            action="repay",
            silo=None,
            most=PARTS,
            deltas=lambda parts: {(place, at): -(-owed * parts // PARTS) for place, at, owed in owing},
        )


def _repayments(place: int, silo: Silo, debts: list[int]) -> Iterator[Candidate]:
    for debt in debts:
        if is_stuck(silo, _instrument(silo, debt)):
            continue
        owed = -int(silo.positions[debt].quantity)
        yield Candidate(action="repay", silo=silo.id, most=owed, deltas=_moved((place, debt), Fraction(1)))


def _additions(place: int, silo: Silo, debts: list[int], pledged: list[int]) -> Iterator[Candidate]:
    owed = sum((unit_value(silo, debt) * -int(silo.positions[debt].quantity) for debt in debts), Fraction(0))
    for backing in pledged:
        unit = unit_value(silo, backing)
        if unit and not takes_no_more(silo, _instrument(silo, backing)):
            most = int(MOST_ADDED * owed / unit) + 1
            yield Candidate(action="add", silo=silo.id, most=most, deltas=_moved((place, backing), Fraction(1)))


def _closings(place: int, silo: Silo, debts: list[int], pledged: list[int]) -> Iterator[Candidate]:
    for debt in debts:
        for backing in pledged:
            unit = unit_value(silo, backing)
            if not unit or any(is_stuck(silo, _instrument(silo, at)) for at in (debt, backing)):
                continue
            rate = unit_value(silo, debt) / unit
            worth = int(silo.positions[backing].quantity) // rate if rate else 0
            most = min(-int(silo.positions[debt].quantity), int(worth))
            if most > 0:
                deltas = _moved((place, debt), Fraction(1), sold=(place, backing), rate=rate)
                yield Candidate(action="close", silo=silo.id, most=most, deltas=deltas)


def _instrument(silo: Silo, at: int) -> Instrument:
    return silo.positions[at].instrument


def _moved(
    where: tuple[int, int], each: Fraction, *, sold: tuple[int, int] | None = None, rate: Fraction = Fraction(0)
) -> Callable[[int], Deltas]:
    def deltas(measure: int) -> Deltas:
        found = {where: int(measure * each)}
        return found if sold is None else found | {sold: -int(-(-measure * rate // 1))}

    return deltas


def unit_value(silo: Silo, at: int) -> Fraction:
    """Return what the venue takes one base unit of a position for, in its numeraire."""
    if not isinstance(silo.rule, WeightedCollateral):
        return Fraction(0)
    return Fraction(int(silo.rule.terms[at].price), WAD * 10 ** decimals(silo.positions[at].instrument))


def in_dollars(silo: Silo, prices: Mapping[str, Wad]) -> Fraction:
    """Return the agreed price of the silo's numeraire."""
    numeraire = silo.rule.numeraire if isinstance(silo.rule, WeightedCollateral) else USD
    return Fraction(1) if numeraire == USD else Fraction(int(prices[numeraire]), WAD)


def changed(portfolio: Portfolio, deltas: Deltas) -> Portfolio:
    """Return the portfolio after a change; health moves as the venue's own rule does.

    Args:
        portfolio: Before.
        deltas: Base units per position; a debt grows toward zero.
    """
    silos = list(portfolio.silos)
    for place in {place for place, _ in deltas}:
        before = silos[place]
        positions = tuple(
            msgspec.structs.replace(position, quantity=Amount(int(position.quantity) + deltas.get((place, at), 0)))
            for at, position in enumerate(before.positions)
        )
        after = msgspec.structs.replace(before, positions=positions)
        silos[place] = msgspec.structs.replace(after, health=_health(before, after))
    return msgspec.structs.replace(portfolio, silos=tuple(silos))


def _health(before: Silo, after: Silo) -> Wad | None:
    """Return the venue's health times what its rule's ratio became of what it was, rounded down."""
    backing, owed = _sides(after)
    if before.health is None or not owed:
        return None
    was_backing, was_owed = _sides(before)
    if not was_backing or not before.health:
        return Wad(int(backing / owed * WAD))
    return Wad(int(int(before.health) * (backing / owed) / (was_backing / was_owed)))


def _sides(silo: Silo) -> tuple[Fraction, Fraction]:
    """Return weighted collateral and debts, in the numeraire."""
    backing, owed = Fraction(0), Fraction(0)
    terms = silo.rule.terms if isinstance(silo.rule, WeightedCollateral) else ()
    for at, (position, term) in enumerate(zip(silo.positions, terms, strict=True)):
        value = unit_value(silo, at) * int(position.quantity)
        if value > 0:
            backing += value * Fraction(int(term.weight), WAD)
        else:
            owed -= value
    return backing, owed
