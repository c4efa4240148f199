"""Random accounts: several silos, pegged and plain assets, oracles of every kind, answers off the market."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import get_args

import msgspec
import pytest

from aggregator.assess import assess
from aggregator.improvement import improvements
from riskschema.assessment import GRADES, Assessment
from riskschema.instruments import Asset, Claim, Debt, Token, WrappedToken
from riskschema.market import FactorQuote, Group, MarketState
from riskschema.portfolio import (
    CollateralTerm,
    OracleKind,
    Portfolio,
    Position,
    Silo,
    VenueOracle,
    WeightedCollateral,
)
from riskschema.units import WAD, Amount, Wad

ACCOUNTS = 48
FOUR_TIMES = 4
DOLLARS_OF_ROUNDING = 10**-6
ASSETS: dict[str, tuple[Group, float]] = {
    "ETH": ("eth", 2_000),
    "BTC": ("btc", 40_000),
    "USDC": ("stablecoin", 1),
    "DAI": ("stablecoin", 1),
    "STETH": ("eth", 1_996),
    "WBTC": ("btc", 39_960),
    "WSTETH": ("eth", 2_395.2),
    "LINK": ("large", 15),
}
NAMES = list(ASSETS)


def wad(value: float) -> Wad:
    return Wad.parse(f"{value:.15f}")


class Maker:
    """Draws silos whose health is what their terms say."""

    def __init__(self, lab, seed: int) -> None:
        self.lab = lab
        self.random = random.Random(seed)

    def asset(self, name: str) -> Asset:
        token = Token(
            chain_id=1, address=self.lab.address(1 + NAMES.index(name)), symbol=name, decimals=18, factor=name
        )
        if name != "WSTETH":
            return token
        staked = msgspec.structs.replace(token, symbol="STETH", factor="STETH")
        return WrappedToken(token=token, underlying=staked, index=wad(1.2))

    def oracle(self) -> VenueOracle | None:
        draw = self.random.choice
        if draw((True, False, False)):
            return None
        return VenueOracle(
            kind=draw(get_args(OracleKind)),
            age=draw((0, 10, 3_000, 90_000)),
            deviation=draw((None, wad(0.001), wad(0.02), wad(0))),
            heartbeat=draw((None, 1, 3_600, 86_400)),
        )

    def silo(self, ident: str) -> Silo:
        draw = self.random
        names = draw.sample(NAMES, 5)
        owed, held = names[: draw.randint(1, 2)], names[2 : 2 + draw.randint(1, 3)]
        numeraire = draw.choice(["USD", "USD", owed[0]]) if owed[0] != "WSTETH" else "USD"
        unit = 1.0 if numeraire == "USD" else ASSETS[numeraire][1]
        weight, health = wad(draw.choice((0.5, 0.8, 0.95))), draw.choice((1.003, 1.01, 1.05, 1.2, 2.0, 5.0))
        venue, backing = f"v:1:{ident}", 0
        positions, terms = [], []
        for name in held:
            price = wad(ASSETS[name][1] * draw.choice((1.0, 1.0, 0.99, 1.01)) / unit)
            quantity = int(10 ** draw.uniform(4, 6) / ASSETS[name][1] * 10**9) * 10**9
            positions.append(Position(instrument=Claim(token=self.asset(name), venue=venue), quantity=Amount(quantity)))
            terms.append(CollateralTerm(weight=weight, price=price, liquidation_bonus=wad(0.05), oracle=self.oracle()))
            backing += quantity * price // WAD * weight // WAD
        for name in owed:
            price = Wad(WAD) if name == numeraire else wad(ASSETS[name][1] / unit)
            quantity = int(backing / health / len(owed)) * WAD // price
            positions.append(Position(instrument=Debt(token=self.asset(name), venue=venue), quantity=Amount(-quantity)))
            terms.append(CollateralTerm(weight=Wad(WAD), price=price, oracle=self.oracle()))
        kinds: tuple[OracleKind | None, ...] = (None, "market", "fixed") if numeraire in ("USDC", "DAI") else (None,)
        seen = draw.choice(kinds)
        rule = WeightedCollateral(numeraire=numeraire, numeraire_oracle=seen, terms=tuple(terms))
        silo = Silo(
            id=ident,
            venue=venue,
            chain_id=1,
            account=self.lab.address(99),
            health=None,
            rule=rule,
            positions=tuple(positions),
        )
        return with_health(silo)


def with_health(silo: Silo) -> Silo:
    assert isinstance(silo.rule, WeightedCollateral)
    backing = owed = 0
    for position, term in zip(silo.positions, silo.rule.terms, strict=True):
        value = position.quantity * term.price // WAD
        backing += max(value, 0) * term.weight // WAD
        owed -= min(value, 0)
    return msgspec.structs.replace(silo, health=Wad(backing * WAD // owed))


def scaled(silo: Silo, percent: int, places: Sequence[int] | None = None) -> Silo:
    """Return a silo with so much of its positions, or of those at some places."""
    chosen = range(len(silo.positions)) if places is None else places
    positions = tuple(
        msgspec.structs.replace(position, quantity=Amount(int(position.quantity) * percent // 100))
        if place in chosen
        else position
        for place, position in enumerate(silo.positions)
    )
    return with_health(msgspec.structs.replace(silo, positions=positions))


@pytest.fixture(scope="module")
def market() -> MarketState:
    quotes = tuple(
        FactorQuote(factor=name, price=wad(price), group=group)
        for name, (group, price) in ASSETS.items()
        if name != "WSTETH"  # a wrapper has no price of its own
    )
    return MarketState(as_of=1_700_000_000, quotes=quotes)


@pytest.fixture(scope="module")
def accounts(lab) -> list[tuple[Silo, ...]]:
    maker = Maker(lab, 2026)
    return [tuple(maker.silo(f"{account}-{place}") for place in range(1 + account % 3)) for account in range(ACCOUNTS)]


@pytest.fixture(scope="module")
def assessed(lab, accounts, market, few_blocks):
    """Assess variants of every account; every account is one of its own, and none may see the others."""

    def of(change) -> list[Assessment]:
        portfolios = [Portfolio(subject=lab.address(1 + at), silos=change(silos)) for at, silos in enumerate(accounts)]
        return list(assess(portfolios, market, few_blocks).assessments)

    return of


@pytest.fixture(scope="module")
def few_blocks(parameters):
    paths = msgspec.structs.replace(parameters.paths, maximum_blocks=100, minimum_history_hours=1000)
    return msgspec.structs.replace(parameters, paths=paths)


@pytest.fixture(scope="module")
def now(assessed) -> list[Assessment]:
    return assessed(lambda silos: silos)


def test_the_accounts_are_of_every_grade_that_a_living_account_can_have(now) -> None:
    assert {item.grade for item in now} >= {"A", "B", "CCC", "C"}


@pytest.mark.parametrize("place", [0, -1])
def test_more_of_one_debt_or_less_of_one_collateral_never_scores_better(accounts, assessed, now, place: int) -> None:
    def owed(silo: Silo) -> list[int]:
        return [at for at, each in enumerate(silo.positions) if each.quantity < 0]

    more = assessed(lambda silos: (scaled(silos[0], 102, [owed(silos[0])[place]]), *silos[1:]))
    less = assessed(lambda silos: (scaled(silos[0], 97, [0]), *silos[1:]))
    for before, *after in zip(now, more, less, strict=True):
        assert all(each.score >= before.score for each in after)


def test_margins_are_in_order_add_up_and_intervals_hold_their_estimates(now) -> None:
    for item in now:
        assert item.siloed_margin >= item.initial_margin >= item.net_margin >= 0
        assert sum(line.amount for line in item.explanation) == item.initial_margin == item.base_margin + item.add_ons
        assert item.probability_interval.low <= item.probability_interval.estimate <= item.probability_interval.high
        assert item.insolvency_probability <= item.liquidation_probability


def test_four_times_an_account_needs_four_times_the_base_and_scores_the_same(assessed, now) -> None:
    larger = assessed(lambda silos: tuple(scaled(silo, 100 * FOUR_TIMES) for silo in silos))
    for small, large in zip(now, larger, strict=True):
        assert large.base_margin == pytest.approx(FOUR_TIMES * small.base_margin, rel=DOLLARS_OF_ROUNDING)
        assert abs(large.score - small.score) <= 1


def test_silos_together_need_no_more_than_apart_and_are_liquidated_no_later(assessed, now) -> None:
    """With all collateral shared, or with none; what is credited of hedges between can be lost (risk model, 4)."""
    first, rest = assessed(lambda silos: silos[:1]), assessed(lambda silos: silos[1:])
    for whole, *parts in zip(now, first, rest, strict=True):
        assert whole.net_margin - whole.add_ons <= sum(part.net_margin - part.add_ons for part in parts) + 10
        apart = sum(part.siloed_margin - part.add_ons for part in parts)
        assert whole.siloed_margin - whole.add_ons == pytest.approx(apart, abs=10, rel=DOLLARS_OF_ROUNDING)
        assert whole.score >= max(part.score for part in parts)


def test_every_change_that_is_offered_earns_a_better_grade(lab, accounts, now, market, few_blocks) -> None:
    near = [at for at, item in enumerate(now) if item.grade not in ("A", "D")][:8]
    assert len(near) == 8
    for at in near:
        portfolio = Portfolio(subject=lab.address(1 + at), silos=accounts[at])
        found, changes = improvements(portfolio, market, few_blocks)
        assert found == now[at], "alone it is what it is among strangers"
        assert all(GRADES.index(change.grade) < GRADES.index(found.grade) for change in changes)
