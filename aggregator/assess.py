"""Assess many portfolios under one market state: the stage's entry point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress

import msgspec

from aggregator.asked_once import AskedOnce
from aggregator.exact.buffers import view32, view64
from aggregator.exact.units import FULL_WEIGHT, PER_MILLION, USD_UNIT, Coarseness, whole_parts
from aggregator.margin.add_ons import AddOn, factor_add_on
from aggregator.margin.base_requirement import MEMBERS
from aggregator.margin.equity import PlainPrices, plain_prices, plain_value, silo_equity
from aggregator.margin.explanation import (
    Missing,
    Part,
    SeenRows,
    explain,
    liquidation_prices,
    only_factor,
    seen_rows,
    uncovered,
)
from aggregator.margin.unified import MarginResult, account_margins, silo_debts
from aggregator.parameters import Parameters
from aggregator.probability.interval import Chance
from aggregator.probability.score import touch_probability, verdict
from aggregator.probability.touch import TouchResult, account_touches
from aggregator.probability.weights import Weights, joint_probability, silo_weights
from aggregator.rule_terms import RowInstrument
from aggregator.scenarios.factors import Listing, listing
from aggregator.valuation.arrays import arrays_digest_chunks, build_arrays
from aggregator.valuation.money import dollars, usd_ceiling, usd_from_dollars
from aggregator.valuation.positions import (
    ReadAccount,
    ReadSilo,
    needed_instruments,
    needed_rule_rows,
    position_table,
    read_accounts,
)
from aggregator.valuation.pricing import only_asset
from aggregator.valuation.saturation import Cut, cut_silos
from riskschema.arrays import PositionTable, RiskArrays
from riskschema.assessment import Assessment, LiquidationPrice, ProbabilityInterval, SiloAssessment
from riskschema.flags import Flag
from riskschema.instruments import FactorId
from riskschema.market import MarketState
from riskschema.portfolio import Portfolio
from riskschema.units import WAD, Probability, Usd, Wad

CERTAIN = Probability(PER_MILLION)


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """All columns of a batch, before they become assessments."""

    margins: MarginResult
    touches: TouchResult
    weights: Weights


class AssessmentBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Assessments of one round, in the order of the portfolios, and the arrays they follow from."""

    assessments: tuple[Assessment, ...]
    arrays: RiskArrays
    positions: PositionTable
    measures: Measures

    def array_rows(self) -> tuple[bytes, ...]:
        """Return the canonical bytes of every row of the arrays: the leaves of the header's arrays root."""
        return tuple(arrays_digest_chunks(self.arrays))


class _Context(msgspec.Struct, frozen=True, kw_only=True):
    arrays: RiskArrays
    measures: Measures
    parameters: Parameters
    known: Listing
    prices: PlainPrices
    seen: SeenRows
    names: AskedOnce[RowInstrument, FactorId | None]
    """What an instrument's factor is called."""
    ranges: dict[str, float]
    lists: dict[str, list[int]]
    """Columns of the table and of the rows that it uses, where they are read one by one."""
    gross: list[list[int]]
    """Per silo: size of the exposure to each factor."""
    cut: Cut


def assess(portfolios: Sequence[Portfolio], market: MarketState, parameters: Parameters) -> AssessmentBatch:
    """Return margin, probability, score and explanation of every portfolio.

    The same inputs give the same bytes on every machine, in any order of accounts and whoever else is among them: an
    account's result follows from the market, the parameters and what it holds.

    Args:
        portfolios: What was read of each subject.
        market: The agreed market state.
        parameters: The parameter file.
    """
    known = listing(market, parameters)
    accounts = read_accounts(portfolios, known)
    arrays = build_arrays(needed_instruments(accounts), needed_rule_rows(accounts), market, parameters)
    return _assess_read(accounts, arrays, market, parameters)


def assess_again(
    portfolios: Sequence[Portfolio], arrays: RiskArrays, market: MarketState, parameters: Parameters
) -> tuple[Assessment, ...]:
    """Return the assessments of portfolios that hold nothing of which `arrays` have no row.

    Args:
        portfolios: Such as those that the arrays were built for, with other quantities.
        arrays: Built from the same market and parameters.
        market: The agreed market state.
        parameters: The parameter file.
    """
    accounts = read_accounts(portfolios, listing(market, parameters))
    return _assess_read(accounts, arrays, market, parameters).assessments


def _assess_read(
    accounts: Sequence[ReadAccount], arrays: RiskArrays, market: MarketState, parameters: Parameters
) -> AssessmentBatch:
    table, known = position_table(accounts, arrays), listing(market, parameters)
    measures = measure(table, arrays, parameters)
    context = _Context(
        arrays=arrays,
        measures=measures,
        parameters=parameters,
        known=known,
        prices=plain_prices(known),
        seen=seen_rows(known),
        names=AskedOnce(lambda instrument: only_factor(instrument, known)),
        ranges={terms.factor: terms.scenario_range for terms in arrays.factors},
        lists={
            "silos": view64(table.account_silos).tolist(),
            "positions": view64(table.silo_positions).tolist(),
            "terms": view64(table.silo_terms).tolist(),
            "coarseness": view32(table.account_coarseness).tolist(),
            "lots": view64(table.lots).tolist(),
            "now": view32(arrays.market.mantissas)[view32(table.rows), 0].tolist(),
            "term_lots": view64(table.term_lots).tolist(),
            "term_now": view32(arrays.rule.mantissas)[view32(table.term_rows), 0].tolist(),
            "decided": measures.margins.decided.tolist(),
            "stressed": measures.margins.stressed.tolist(),
        },
        gross=measures.margins.silo_gross.tolist(),
        cut=cut_silos(table, arrays),
    )
    assessments = tuple(_assessment(index, account, context) for index, account in enumerate(accounts))
    return AssessmentBatch(assessments=assessments, arrays=arrays, positions=table, measures=context.measures)


def measure(table: PositionTable, arrays: RiskArrays, parameters: Parameters) -> Measures:
    """Return the columns of a position table: the whole numerical work of an assessment."""
    weights = silo_weights(table, silo_debts(table, arrays), parameters.probability)
    touches = account_touches(table, arrays, weights, parameters)
    margins = account_margins(table, arrays, touches.touched, parameters)
    return Measures(margins=margins, touches=touches, weights=weights)


def margins_under(batch: AssessmentBatch, arrays: RiskArrays, parameters: Parameters) -> MarginResult:
    """Return the margins of a batch in other arrays or under other parameters; what touches is not asked again.

    Args:
        batch: What was assessed.
        arrays: Arrays of the same rows and columns.
        parameters: The parameter file.
    """
    return account_margins(batch.positions, arrays, batch.measures.touches.touched, parameters)


def _assessment(index: int, account: ReadAccount, context: _Context) -> Assessment:
    margins, touches, parameters = context.measures.margins, context.measures.touches, context.parameters
    coarse = Coarseness(context.lists["coarseness"][index])
    first, last = context.lists["silos"][index], context.lists["silos"][index + 1]
    gross = [sum(sizes) for sizes in zip(*context.gross[first:last], strict=True)] or [0] * len(context.arrays.factors)
    add_ons = _add_ons(gross, coarse, context)
    added = sum(item.total for item in add_ons)
    base, net = int(margins.unified[index]), int(margins.net[index])
    initial = Usd(usd_ceiling(base, coarse) + added)
    weights = context.measures.weights[first:last].tolist()
    liquidatable = any(
        item.liquidatable and weight == FULL_WEIGHT for item, weight in zip(account.silos, weights, strict=True)
    )
    chance = joint_probability(
        weights,
        touches.joint_touches[first:last].tolist(),
        touches.joint_multiplier[first:last].tolist(),
        context.arrays.blocks,
        parameters.probability,
    )
    floor = max((_unknown_floor(silo, item, context) for silo, item in enumerate(account.silos, first)), default=0)
    result = verdict(chance.probability, liquidatable=liquidatable, floor_ppm=floor, model=parameters.probability)
    cut = {Flag.SATURATED} if any(context.cut.some[first:last]) else ()
    exposed = [terms for terms, size in zip(context.arrays.factors, gross, strict=True) if size]
    healths = [item.silo.health for item in account.silos if item.silo.health is not None]
    decided, stressed = _parts(account, first, context)
    silos = tuple(_silo_assessment(first + place, item, coarse, context) for place, item in enumerate(account.silos))
    equity, net_margin = Usd(sum(silo.equity for silo in silos)), Usd(usd_ceiling(net, coarse) + added)
    member = MEMBERS[int(margins.member[index])]
    return Assessment(
        subject=account.portfolio.subject,
        score=result.score,
        grade=result.grade,
        liquidation_probability=Probability(result.probability_ppm),
        probability_interval=_interval(chance, result.probability_ppm, liquidatable=liquidatable, followed=not floor),
        insolvency_probability=_share(int(touches.insolvencies[index]), context.arrays.blocks),
        expected_loss=usd_from_dollars(float(touches.loss[index]) / context.arrays.blocks + _unseen(account, context)),
        equity=equity,
        initial_margin=initial,
        base_margin=Usd(initial - added),
        add_ons=Usd(added),
        uncovered=uncovered(
            [item.silo for item in account.silos if item.rule is not None],
            missing=Missing(initial - equity, initial - added - equity, net_margin - equity),
            member=member,
        )
        if result.probability_ppm <= parameters.probability.published_floor_ppm
        else None,
        maintenance_margin=_maintenance(initial, parameters),
        siloed_margin=Usd(usd_ceiling(int(margins.siloed[index]), coarse) + added),
        net_margin=net_margin,
        static_margin=usd_from_dollars(_static(gross, coarse, context)),
        worst_grid_loss=usd_ceiling(int(margins.worst_grid_loss[index]), coarse),
        worst_scenario=_scenario_name(int(margins.worst_grid[index]), context.arrays),
        min_health=min(healths, default=None),
        silos=silos,
        explanation=explain(
            initial_margin=initial,
            member=member,
            decided=decided,
            stressed=stressed,
            not_credited=base - net,
            coarse=coarse,
            add_ons=add_ons,
        ),
        flags=tuple(sorted(account.flags.union(cut, *(terms.flags for terms in exposed)))),
        unread=account.unread,
        blocks=account.portfolio.blocks,
    )


def _interval(chance: Chance, ppm: int, *, liquidatable: bool, followed: bool) -> ProbabilityInterval:
    if liquidatable:
        return ProbabilityInterval(estimate=CERTAIN, low=CERTAIN, high=CERTAIN)
    low, high = math.floor(chance.low * PER_MILLION), math.ceil(chance.high * PER_MILLION)
    return ProbabilityInterval(
        estimate=Probability(min(math.ceil(chance.probability * PER_MILLION), ppm)),
        low=Probability(low),
        high=Probability(min(high, PER_MILLION)) if followed else CERTAIN,
    )


def _unseen(account: ReadAccount, context: _Context) -> float:
    """Return what discounts that no venue sees may cost, in dollars: on assets pledged for a debt."""
    rules = [item.rule.terms for item in account.silos if item.rule is not None]
    blind = [
        term
        for terms in rules
        for term in terms
        if term.weighted > 0 and term.row.kind != "market"
        if any(other.weighted < 0 for other in terms)
    ]
    if not blind:
        return 0.0
    costs, total = {terms.factor: terms.break_cost for terms in context.arrays.factors}, 0.0
    for term in blind:
        asset = only_asset(term.row.instrument)
        peg = context.known.legs(asset).peg if asset is not None else None
        if peg is not None:
            total += (plain_value(term.row.instrument, term.gross, context.prices) or 0) / USD_UNIT * costs[peg]
    return total


def _scenario_name(place: int, arrays: RiskArrays) -> str:
    if place < len(arrays.grid):
        return arrays.grid[place]
    factor, side = divmod(place - len(arrays.grid), 2)
    return f"{arrays.factors[factor].factor} alone {'+' if side else '-'}R"


def _silo_assessment(silo: int, item: ReadSilo, coarse: Coarseness, context: _Context) -> SiloAssessment:
    margins, touches, parameters = context.measures.margins, context.measures.touches, context.parameters
    health = item.silo.health
    chance = touch_probability(
        int(touches.silo_touches[silo]),
        float(touches.silo_multiplier[silo]),
        context.arrays.blocks,
        parameters.probability,
    )
    floor = _unknown_floor(silo, item, context)
    result = verdict(chance, liquidatable=item.liquidatable, floor_ppm=floor, model=parameters.probability)
    add_ons = _add_ons(context.gross[silo], coarse, context)
    base = usd_ceiling(int(margins.silo_base[silo]), coarse)
    return SiloAssessment(
        id=item.silo.id,
        venue=item.silo.venue,
        chain_id=item.silo.chain_id,
        market=item.silo.market,
        health=health,
        equity=_equity(silo, item, coarse, context),
        distance=_distance(health),
        initial_margin=Usd(base + sum(line.total for line in add_ons)),
        liquidation_probability=Probability(result.probability_ppm),
        liquidation_prices=_liquidation_prices(silo, item, context),
    )


def _distance(health: Wad | None) -> Wad | None:
    """Return 1 - 1/health; none without debts, or where nothing at all is held against them."""
    return Wad((health - WAD) * WAD // health) if health else None


def _unknown_floor(silo: int, item: ReadSilo, context: _Context) -> int:
    """Return how likely a liquidation is at least where something owed is not followed, or a loss is cut short."""
    unknown = item.unfollowed or context.cut.against[silo]
    return context.parameters.probability.unfollowed_floor_ppm if unknown else 0


def _equity(silo: int, item: ReadSilo, coarse: Coarseness, context: _Context) -> Usd:
    begin, end = context.lists["positions"][silo], context.lists["positions"][silo + 1]
    lots, now = context.lists["lots"][begin:end], context.lists["now"][begin:end]
    values = [size * worth for size, worth in zip(lots, now, strict=True)]
    if not item.unsettled:
        return silo_equity(item.holdings, values, coarse, context.prices)
    counted = list(compress(zip(item.holdings, values, strict=True), item.worth))
    return silo_equity([held for held, _ in counted], [value for _, value in counted], coarse, context.prices)


def _liquidation_prices(silo: int, item: ReadSilo, context: _Context) -> tuple[LiquidationPrice, ...]:
    if item.rule is None:
        return ()
    begin, end = context.lists["terms"][silo], context.lists["terms"][silo + 1]
    lots, now = context.lists["term_lots"][begin:end], context.lists["term_now"][begin:end]
    values = [size * worth for size, worth in zip(lots, now, strict=True)]
    return liquidation_prices(item.rule, values, context.seen, context.known, context.ranges)


def _parts(account: ReadAccount, first: int, context: _Context) -> tuple[list[Part], list[Part]]:
    decided: list[Part] = []
    stressed: list[Part] = []
    for place, item in enumerate(account.silos):
        begin = context.lists["positions"][first + place]
        for index, (instrument, _) in enumerate(item.holdings):
            factor = context.names[instrument]
            decided.append((item.silo.id, factor, context.lists["decided"][begin + index]))
            stressed.append((item.silo.id, factor, context.lists["stressed"][begin + index]))
    return decided, stressed


def _add_ons(gross: list[int], coarse: Coarseness, context: _Context) -> list[AddOn]:
    return [
        factor_add_on(dollars(size, coarse), terms, context.parameters)
        for terms, size in zip(context.arrays.factors, gross, strict=True)
        if size
    ]


def _static(gross: list[int], coarse: Coarseness, context: _Context) -> float:
    total = 0.0
    for terms, size in zip(context.arrays.factors, gross, strict=True):
        total += dollars(size, coarse) * terms.static_share
    return total


def _maintenance(initial: Usd, parameters: Parameters) -> Usd:
    share = whole_parts(parameters.margin.maintenance_share, PER_MILLION)
    return Usd(-(-initial * share // PER_MILLION))


def _share(weighted: int, blocks: int) -> Probability:
    return Probability(-(-weighted * PER_MILLION // (blocks * FULL_WEIGHT)))
