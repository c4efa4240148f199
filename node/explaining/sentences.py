"""An assessment in sentences, and what would improve it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from riskschema.assessment import (
    GRADES,
    Assessment,
    Contribution,
    Improvement,
    ImprovementPart,
    LiquidationPrice,
    SiloAssessment,
)
from riskschema.instruments import Claim, Debt, Instrument, Token, WrappedToken, protocol_of
from riskschema.portfolio import RESTRICTION_MEANINGS, OracleKind, Portfolio, Silo, WeightedCollateral, symbol_of
from riskschema.reasons import REASONS
from riskschema.units import WAD, Usd

KINDS = {
    "expected_shortfall": "the mean of the worst hundredth of days",
    "stress": "past crises",
    "grid": "the worst scenario",
    "delta_floor": "the least that exposure needs",
    "long_run_floor": "the worst days at long-run volatility",
    "hedge_not_credited": "hedges between silos that share no collateral",
    "liquidity": "getting out",
    "concentration": "being a large part of the market",
    "oracle": "prices that are not certain",
    "rounding": "rounding",
}
UNCOVERED = {
    "size": "that is for its size: without add-ons the equity would be enough",
    "hedges_apart": "its silos hedge each other but share no collateral: as one they would need less",
    "blind_oracle": "a venue prices something by what the market does not move: it would not act, but the loss is real",
    "scenario": "the worst scenario costs more than any replayed day, and probabilities come from the days",
    "rare_loss": "the worst days cost more than the equity, though a venue acts on them rarely or late",
}
ACTIONS = {"repay": "repaying", "add": "adding", "close": "selling"}
SEEN: dict[OracleKind, str] = {
    "market": "",
    "exchange_rate": "at its exchange rate, whatever the market pays for it",
    "capped": "at its exchange rate, which may not grow too fast, whatever the market pays for it",
    "fixed": "at a fixed price",
}
LARGEST = 3
LAST_DAY = int(datetime(9_999, 12, 31, tzinfo=UTC).timestamp())
"""The last that a calendar names."""


def sentences(assessment: Assessment, changes: tuple[Improvement, ...], portfolio: Portfolio) -> Iterator[str]:
    """Yield what a holder wants to know: how likely, where, how much, why, and what to do."""
    yield _outlook(assessment)
    owing = [silo for silo in assessment.silos if silo.health is not None]
    if owing:
        yield _nearest(max(owing, key=lambda silo: (silo.liquidation_probability, -(silo.health or 0))))
    for silo in portfolio.silos:
        yield from _blindness(silo)
        for line in barriers(silo):
            yield f"Not possible now: {line}."
    yield from _margin(assessment)
    if assessment.uncovered is not None:
        yield f"More than the equity is required though a liquidation is unlikely: {UNCOVERED[assessment.uncovered]}."
    if changes:
        yield f"A better grade takes one of these: {'; '.join(map(describe, changes))}."
    elif assessment.grade != GRADES[0]:
        yield "No repayment, addition or sale that was tried earns a better grade."
    for item in assessment.unread:
        yield f"Not read or not followed: {item.venue}: {item.detail or item.code}."
    for flag in assessment.flags:
        yield f"Read with care: {REASONS[flag].short}. {REASONS[flag].long}"


def _outlook(assessment: Assessment) -> str:
    found = assessment.probability_interval
    graded = f"Grade {assessment.grade}, score {assessment.score} of 1000:"
    if assessment.grade == GRADES[-1]:
        return f"{graded} a venue can liquidate this account now."
    return (
        f"{graded} a liquidation within 24 hours is {found.estimate.wire():.2%} likely (95 % interval"
        f" {found.low.wire():.2%} to {found.high.wire():.2%}); published is at most"
        f" {assessment.liquidation_probability.wire():.2%}."
    )


def _nearest(silo: SiloAssessment) -> str:
    where = f"{silo.id} ({protocol_of(silo.venue)}, chain {silo.chain_id})"
    if silo.distance is None:
        return f"Nearest to liquidation is {where}: nothing is held against its debts."
    if silo.distance < 0:
        return f"Nearest to liquidation is {where}: its collateral is {-silo.distance / WAD:.1%} of its value short."
    prices = sorted(silo.liquidation_prices, key=lambda price: abs(price.distance))
    alone = f", {_price(prices[0])}" if prices else ""
    return f"Nearest to liquidation is {where}: all its collateral may lose {silo.distance / WAD:.1%}{alone}."


def _blindness(silo: Silo) -> Iterator[str]:
    """Yield what a venue's oracles do not see of what is pledged and owed there."""
    rule = silo.rule
    if not isinstance(rule, WeightedCollateral):
        return
    seen = {
        _symbol(position.instrument): SEEN[term.oracle.kind]
        for position, term in zip(silo.positions, rule.terms, strict=True)
        if position.quantity and term.weight and term.oracle is not None
    }
    if rule.numeraire_oracle is not None:
        seen[rule.numeraire] = SEEN[rule.numeraire_oracle]
    blind = "; ".join(f"{name} {how}" for name, how in seen.items() if how)
    if blind:
        yield f"{protocol_of(silo.venue)} (chain {silo.chain_id}) prices {blind}."


def barriers(silo: Silo) -> Iterator[str]:
    """Yield what a venue lets nobody do with a silo now."""
    for each in silo.restrictions:
        what = symbol_of(silo, each) or "all of the silo"
        end = "" if each.until is None else f", until {_time(each.until)}"
        yield f"{silo.venue}: {what}: {RESTRICTION_MEANINGS[each.kind]} ({each.kind}{end})"


def _time(timestamp: int) -> str:
    return f"{datetime.fromtimestamp(min(timestamp, LAST_DAY), UTC):%Y-%m-%d %H:%M} UTC"


def _symbol(instrument: Instrument) -> str:
    match instrument:
        case Token() | WrappedToken():
            return instrument.symbol or instrument.factor
        case Claim() | Debt():
            return instrument.token.symbol or instrument.token.factor
        case _:
            return type(instrument).__name__


def _price(price: LiquidationPrice) -> str:
    return f"or {price.factor} {price.direction} to {price.price / WAD:,.6g} ({price.distance / WAD:+.1%})"


def _margin(assessment: Assessment) -> Iterator[str]:
    equity, initial = assessment.equity, assessment.initial_margin
    enough = "which is enough" if equity >= initial else f"{_usd(Usd(initial - equity))} more than there is"
    yield (
        f"Held minus owed is {_usd(equity)}; the initial margin is {_usd(initial)}, {enough}:"
        f" {_usd(assessment.base_margin)} for what may be lost and {_usd(assessment.add_ons)} for size."
    )
    largest = sorted(assessment.explanation, key=lambda line: -line.amount)[:LARGEST]
    if largest:
        yield f"The largest parts are {'; '.join(map(_part, largest))}."
    yield (
        f"Were every silo alone it would be {_usd(assessment.siloed_margin)}, were all one"
        f" {_usd(assessment.net_margin)}; fixed percentages would ask {_usd(assessment.static_margin)}."
    )


def _part(line: Contribution) -> str:
    where = [name for name in (line.factor, line.silo and f"in {line.silo}") if name]
    return f"{_usd(line.amount)} for {KINDS[line.kind]}{' (' + ' '.join(where) + ')' if where else ''}"


def describe(change: Improvement) -> str:
    """Return a change in words: what, how much, where, what it earns."""
    taken = [part for part in change.parts if part.quantity > 0]
    given = [part for part in change.parts if part.quantity < 0]
    words = " and ".join(map(_amount, given or taken))
    if given:
        words += f" to repay {' and '.join(map(_amount, taken))}"
    where = f"in {change.silo}" if change.silo is not None else "in all silos"
    return f"{ACTIONS[change.action]} {words} ({_usd(change.value)}) {where}, for grade {change.grade}"


def _amount(part: ImprovementPart) -> str:
    return f"{abs(int(part.quantity)) / 10**part.decimals:,.8g} {part.symbol}"


def _usd(value: Usd) -> str:
    return f"{'-' if value < 0 else ''}${abs(int(value)) / 10**8:,.2f}"
