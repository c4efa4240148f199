"""Explanations add up, and say who caused what."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.assess import assess
from aggregator.exact.units import Coarseness
from aggregator.margin.add_ons import AddOn, factor_add_on
from aggregator.margin.explanation import Missing, explain, liquidation_prices, seen_rows, uncovered
from aggregator.rule_terms import LinearRule, RuleRow, RuleTerm
from aggregator.valuation.money import dollars, usd_ceiling, usd_floor, usd_from_dollars
from riskschema.arrays import FactorTerms
from riskschema.assessment import LiquidationPrice
from riskschema.instruments import Option
from riskschema.portfolio import VenueOracle
from riskschema.units import WAD, Usd

TERMS = FactorTerms(
    factor="ETH",
    half_spread=0.001,
    impact_per_usd=1e-9,
    shortfall=0.1,
    scenario_range=0.2,
    hourly_volume=1e6,
    confidence=0.002,
    static_share=0.2,
    flags=(),
)


@given(st.integers(-(2**60), 2**60), st.integers(-20, 60).map(Coarseness))
def test_dollars_are_rounded_the_way_the_name_says(value: int, exponent: Coarseness) -> None:
    exact = (value * 10**8 * 2 ** (exponent + 20), 2**49)
    assert usd_floor(value, exponent) == exact[0] // exact[1]
    assert usd_ceiling(value, exponent) == -(-exact[0] // exact[1])
    assert dollars(value, exponent) == pytest.approx(value * 2.0 ** (exponent - 29))


def test_a_dollar_amount_is_rounded_up_exactly() -> None:
    assert usd_from_dollars(0.0) == 0
    assert usd_from_dollars(1.0) == 10**8
    assert usd_from_dollars(1e-12) == 1


def test_add_ons_follow_their_formulas(parameters) -> None:
    found = factor_add_on(10_000_000.0, TERMS, parameters)
    hours = 10e6 / (0.1 * 1e6)
    assert found.liquidity / 1e8 == pytest.approx(10e6 * (0.001 + 1e-9 * 10e6 + 0.1 * ((hours / 24) ** 0.5 - 1)))
    excess = 10e6 / (1e6 * 24 * 5) - 0.05
    assert found.concentration / 1e8 == pytest.approx(10e6 * excess**1.5)
    assert found.oracle / 1e8 == pytest.approx(20_000.0)


def test_a_small_position_pays_spread_and_confidence_only(parameters) -> None:
    found = factor_add_on(1000.0, TERMS, parameters)
    assert found.liquidity / 1e8 == pytest.approx(1.0 + 1e-3)
    assert found.concentration == 0


def test_parts_are_grouped_and_the_rest_is_rounding() -> None:
    lines = explain(
        initial_margin=Usd(1000),
        member="grid",
        decided=[("a", "ETH", 2**29), ("a", "ETH", -(2**28)), ("b", None, 0)],
        stressed=[],
        not_credited=0,
        coarse=Coarseness(-20),
        add_ons=[AddOn("ETH", Usd(1), Usd(0), Usd(0))],
    )
    assert [(line.kind, line.silo, line.factor, int(line.amount)) for line in lines] == [
        ("grid", "a", "ETH", 47),
        ("liquidity", None, "ETH", 1),
        ("rounding", None, None, 952),
    ]


def test_no_rounding_line_where_nothing_is_left() -> None:
    assert (
        explain(
            initial_margin=Usd(0),
            member="fitted",
            decided=[],
            stressed=[],
            not_credited=0,
            coarse=Coarseness(0),
            add_ons=[],
        )
        == ()
    )


def test_what_hedges_contributes_negatively(lab, parameters) -> None:
    portfolio = lab.portfolio(lab.wallet({"ETH": 20}), lab.lending({"BTC": 1, "ETH": -10}))
    (found,) = assess([portfolio], lab.market(), parameters).assessments
    amounts = {
        (line.silo, line.factor): line.amount
        for line in found.explanation
        if line.kind in ("expected_shortfall", "grid")
    }
    assert amounts["wallet", "ETH"] > 0 > amounts["aave_v3:1:main", "ETH"]


@pytest.mark.parametrize(
    ("ledger", "kind"),
    [
        ({"ETH": 10}, "expected_shortfall"),
        ({"USDC": 1000}, "grid"),
    ],
)
def test_the_deciding_member_names_the_lines(lab, parameters, ledger, kind) -> None:
    (found,) = assess([lab.portfolio(lab.wallet(ledger))], lab.market(), parameters).assessments
    assert found.explanation[0].kind == kind


def test_a_perfect_hedge_still_pays_the_delta_floor(lab, parameters) -> None:
    short = lab.lending({"ETH": -10}, protocol="x", health=2)
    long = lab.lending({"ETH": 10}, protocol="x", ident="long")
    (found,) = assess([lab.portfolio(short, long)], lab.market(), parameters).assessments
    assert {line.kind for line in found.explanation} >= {"delta_floor", "hedge_not_credited"}
    assert found.net_margin / 1e8 > 0.01 * 40_000 * 0.99


def test_factors_of_options_have_no_single_liquidation_price(lab) -> None:
    option = Option(
        venue="v:1:main",
        market="m",
        underlying="ETH",
        quote="USD",
        right="put",
        strike=lab.wad(1),
        expiry=1_800_000_000,
    )
    terms = [
        RuleTerm(row=RuleRow(instrument=item, numeraire="USD", price=None), weighted=WAD, gross=1)
        for item in (option, lab.token("ETH"), lab.token("BTC"), lab.token("DAI"))
    ]
    prices = lab.known(**dict.fromkeys(lab.assets, 1))
    rule = LinearRule(terms=tuple(terms), close_factor_ppm=0)
    found = liquidation_prices(rule, [10, 100, 50, 0], seen_rows(prices), prices, dict.fromkeys(lab.assets, 0.3))
    assert found == ()
    found = liquidation_prices(rule, [-10, 100, 50, 0], seen_rows(prices), prices, dict.fromkeys(lab.assets, 0.3))
    assert [item.factor for item in found] == []
    found = liquidation_prices(rule, [-120, 60, 100, 0], seen_rows(prices), prices, dict.fromkeys(lab.assets, 0.3))
    assert [(item.factor, int(item.price)) for item in found] == [("BTC", 6 * WAD // 10)]


def liquidated_at(lab, held: int, surplus: int, reach: float) -> LiquidationPrice:
    """Return the price of bitcoin at which a silo with that exposure and surplus is liquidated, now at 2,000."""
    terms = [
        RuleTerm(row=RuleRow(instrument=lab.token(name), numeraire="USD", price=None), weighted=WAD, gross=1)
        for name in ("ETH", "BTC")
    ]
    rule = LinearRule(terms=tuple(terms), close_factor_ppm=0)
    prices = lab.known(ETH=2_000, BTC=2_000)
    found = liquidation_prices(rule, [surplus - held, held], seen_rows(prices), prices, {"ETH": 9.0, "BTC": reach})
    return next(item for item in found if item.factor == "BTC")


@pytest.mark.parametrize(
    ("held", "surplus", "reach", "expected"),
    [
        (100, 25, 0.25, (1_500, "fall", -0.25, True)),
        (100, 26, 0.25, (1_480, "fall", -0.26, False)),
        (-100, 25, 0.25, (2_500, "rise", 0.25, True)),
        (-100, 26, 0.25, (2_520, "rise", 0.26, False)),
        (100, -25, 0.01, (2_500, "fall", 0.25, True)),
        (-100, -25, 0.01, (1_500, "rise", -0.25, True)),
    ],
)
def test_a_liquidation_price_says_which_way_and_how_far(lab, held, surplus, reach, expected) -> None:
    found = liquidated_at(lab, held, surplus, reach)
    assert (found.price / WAD, found.direction, found.distance / WAD, found.within_reach) == expected


@given(st.floats(1e-9, 1e200))
def test_getting_out_never_costs_more_than_the_position(parameters, gross: float) -> None:
    found = factor_add_on(gross, TERMS, parameters)
    assert 0 <= found.liquidity + found.concentration <= usd_from_dollars(gross * (1 + 1e-15)) + 1


def test_a_position_larger_than_its_market_needs_at_most_itself_on_top(lab, parameters) -> None:
    (found,) = assess([lab.portfolio(lab.wallet({"LINK": 1e15}))], lab.market(), parameters).assessments
    assert found.initial_margin < 2 * found.equity


def test_base_and_add_ons_are_the_initial_margin(lab, parameters) -> None:
    accounts = [lab.portfolio(lab.lending({"CRV": units, "USDC": -units / 3})) for units in (100, 10_000, 10_000_000)]
    for found in assess(accounts, lab.market(), parameters).assessments:
        sizes = sum(line.amount for line in found.explanation if line.kind in {"liquidity", "concentration", "oracle"})
        assert found.base_margin + found.add_ons == found.initial_margin
        assert 0 < found.add_ons == sizes


def test_a_silos_distance_is_what_its_collateral_may_lose(lab, parameters) -> None:
    """Ten ether at 2,000 count .8; they cover 13,000 down to 1,625."""
    silos = [lab.lending(ledger, ident=str(n)) for n, ledger in enumerate(({"ETH": 10, "USDC": -13_000}, {"USDC": -1}))]
    found = assess([lab.portfolio(*silos, lab.wallet({"ETH": 1}))], lab.market(), parameters).assessments[0].silos
    near, bare, wallet = (next(item for item in found if item.id == name) for name in ("0", "1", "wallet"))
    assert near.distance is not None
    assert near.distance / WAD == pytest.approx(1 - 1_625 / 2_000)
    assert bare.distance is None is wallet.distance


class TestMoreThanTheEquityIsRequiredOfAnAccountThatIsHardlyEverLiquidated:
    """And the reason is said."""

    PAIR: ClassVar = {"ETH": 100.0, "BTC": -4.3}

    def of(self, lab, parameters, *silos) -> str | None:
        found = assess([lab.portfolio(*silos)], lab.market(), parameters).assessments[0]
        assert found.liquidation_probability == parameters.probability.published_floor_ppm
        assert (found.uncovered is not None) == (found.initial_margin > found.equity)
        return found.uncovered

    def test_none_where_the_equity_is_enough(self, lab, parameters) -> None:
        assert self.of(lab, parameters, lab.lending({"ETH": 10, "USDC": -1_000})) is None

    def test_it_is_the_size(self, lab, parameters) -> None:
        assert self.of(lab, parameters, lab.lending({"CRV": 30_000_000, "DAI": -1_000_000})) == "size"

    def test_no_day_was_as_bad_as_the_scenario(self, lab, parameters) -> None:
        """Ether and bitcoin have not come apart by a fifth within a day."""
        assert self.of(lab, parameters, lab.lending(self.PAIR, weight=1)) == "scenario"

    def test_a_venue_that_does_not_follow_the_market_is_named_first(self, lab, parameters) -> None:
        silo = lab.lending(self.PAIR, weight=1)
        terms = tuple(
            msgspec.structs.replace(term, oracle=VenueOracle(kind="exchange_rate")) for term in silo.rule.terms
        )
        blind = msgspec.structs.replace(silo, rule=msgspec.structs.replace(silo.rule, terms=terms))
        assert self.of(lab, parameters, blind) == "blind_oracle"

    def test_a_venue_that_takes_a_dollar_token_for_a_dollar_is_named_too(self, lab) -> None:
        silo = lab.lending(self.PAIR, numeraire="USDC")
        missing = Missing(initial=3, base=2, net=1)
        found = []
        for kind in (None, "market", "fixed"):
            rule = msgspec.structs.replace(silo.rule, numeraire_oracle=kind)
            silos = [msgspec.structs.replace(silo, rule=rule)]
            found.append(uncovered(silos, missing=missing, member="fitted"))
        assert found == ["rare_loss", "rare_loss", "blind_oracle"]

    def test_hedges_are_apart(self, lab, parameters) -> None:
        here, there = {"USDC": 1_000.0, "DAI": -920.0}, {"DAI": 1_000.0, "USDC": -920.0}
        silos = [lab.lending(here, weight=1), lab.lending(there, weight=1, chain_id=10)]
        assert self.of(lab, parameters, *silos) == "hedges_apart"

    def test_only_the_worst_days_cost_as_much(self, lab) -> None:
        silo = lab.lending(self.PAIR)
        missing = Missing(initial=3, base=2, net=1)
        assert uncovered([silo], missing=missing, member="fitted") == "rare_loss"
        assert uncovered([silo], missing=missing, member="grid") == "scenario"
        assert uncovered([silo], missing=missing._replace(net=0), member="grid") == "hedges_apart"
        assert uncovered([silo], missing=missing._replace(base=0), member="grid") == "size"
        assert uncovered([silo], missing=Missing(0, -1, -2), member="grid") is None
