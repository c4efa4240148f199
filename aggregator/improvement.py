"""The smallest change that earns a better grade: found by assessing the changed account again, never by a formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from aggregator.assess import assess, assess_again
from aggregator.changes import Candidate, Deltas, candidates, changed, in_dollars, unit_value
from aggregator.parameters import Parameters
from aggregator.valuation.pricing import decimals
from riskschema.assessment import GRADES, Action, Assessment, Improvement, ImprovementPart
from riskschema.instruments import Claim, Debt, Instrument, Token, WrappedToken
from riskschema.market import MarketState
from riskschema.portfolio import Portfolio
from riskschema.units import Amount, Usd, Wad

FINENESS = 1_000_000
"""A change is the smallest up to a millionth of the largest that is thought of."""


Measured = tuple[Candidate, int]
"""A change and how much of it."""


def improvements(
    portfolio: Portfolio, market: MarketState, parameters: Parameters
) -> tuple[Assessment, tuple[Improvement, ...]]:
    """Return the assessment, and per kind of action the cheapest single change that earns a better grade.

    More of a change never lowers a score (docs/risk-model.md, section 5), so the smallest that earns a better grade is
    bisected in whole base units; its grade is that of the account it leads to. What no amount of helps is left out, and
    all debts at once are thought of only where no single silo helps. Cheapest first.

    Args:
        portfolio: One account's.
        market: The agreed market state.
        parameters: The parameter file.
    """
    batch = assess((portfolio,), market, parameters)
    now = batch.assessments[0]

    def reached(measured: Sequence[Measured]) -> list[Assessment]:
        changes = [changed(portfolio, each.deltas(measure)) for each, measure in measured]
        return list(assess_again(changes, batch.arrays, market, parameters))

    offered = [(each, each.most) for each in candidates(portfolio)] if now.grade != GRADES[0] else []
    helpful = [each for (each, _), found in zip(offered, reached(offered), strict=True) if _better(found, now)]
    smallest = _smallest([each for each in helpful if each.silo is not None] or helpful, reached, now)
    prices = {quote.factor: quote.price for quote in market.quotes}
    found = [
        _improvement(portfolio, each, each.deltas(measure), prices, result)
        for (each, measure), result in zip(smallest, reached(smallest), strict=True)
    ]
    cheapest: dict[Action, Improvement] = {}
    for item in sorted(found, key=lambda item: item.value):
        cheapest.setdefault(item.action, item)
    return now, tuple(cheapest.values())


def _better(found: Assessment, now: Assessment) -> bool:
    return GRADES.index(found.grade) < GRADES.index(now.grade)


def _smallest(
    chosen: Sequence[Candidate], reached: Callable[[Sequence[Measured]], list[Assessment]], now: Assessment
) -> list[Measured]:
    """Bisect all candidates in step, each between what is too little and what is enough."""
    little, enough = [0] * len(chosen), [each.most for each in chosen]
    while True:
        halves = {
            at: (little[at] + enough[at]) // 2
            for at, each in enumerate(chosen)
            if enough[at] - little[at] > max(each.most // FINENESS, 1)
        }
        if not halves:
            return list(zip(chosen, enough, strict=True))
        found = reached([(chosen[at], half) for at, half in halves.items()])
        for (at, half), result in zip(halves.items(), found, strict=True):
            (enough if _better(result, now) else little)[at] = half


def _improvement(
    portfolio: Portfolio, candidate: Candidate, deltas: Deltas, prices: Mapping[str, Wad], reached: Assessment
) -> Improvement:
    value, parts = Fraction(0), []
    for (place, at), quantity in deltas.items():
        silo = portfolio.silos[place]
        instrument = silo.positions[at].instrument
        parts.append(
            ImprovementPart(symbol=symbol(instrument), decimals=decimals(instrument), quantity=Amount(quantity))
        )
        value += max(quantity, 0) * unit_value(silo, at) * in_dollars(silo, prices)
    return Improvement(
        action=candidate.action,
        silo=candidate.silo,
        parts=tuple(parts),
        value=Usd(-int(-value * 10**8 // 1)),
        grade=reached.grade,
        score=reached.score,
    )


def symbol(instrument: Instrument) -> str:
    """Return what people call a position's asset."""
    match instrument:
        case Token():
            return instrument.symbol or instrument.factor
        case Claim() | Debt() | WrappedToken():
            return instrument.token.symbol or instrument.token.factor
        case _:
            return type(instrument).__name__
