"""Venue rules: found by their files, and equal to the venues' own arithmetic."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rule_terms import Cash
from aggregator.venues import read_rule, readers
from riskschema.instruments import Perpetual
from riskschema.portfolio import MarginFraction, NoLiquidation, PortfolioMargin, Position, WeightedCollateral
from riskschema.units import WAD, Amount, Wad

Payoff = Literal["linear", "inverse"]


def test_every_rule_file_is_found() -> None:
    assert {rule for rule, _ in readers()} == {WeightedCollateral, MarginFraction, NoLiquidation}


def test_a_portfolio_margin_model_nobody_wrote_has_no_reader(lab) -> None:
    silo = msgspec.structs.replace(lab.wallet(), rule=PortfolioMargin(numeraire="USD", model="unheard_of"))
    assert read_rule(silo) is None


def test_readers_refuse_rules_of_another_kind(lab) -> None:
    for (kind, _), reader in readers().items():
        if kind is not NoLiquidation:
            assert reader(lab.wallet()) is None


@given(collateral=st.integers(1, 10**6), debt=st.integers(1, 10**6), weight=st.integers(1, 99))
def test_weighted_collateral_is_negative_exactly_when_health_is_below_one(lab, collateral, debt, weight) -> None:
    silo = lab.lending({"ETH": collateral / 1000, "USDC": -debt}, weight=weight / 100)
    rule = read_rule(silo)
    values: list[int] = [
        term.weighted * (term.row.price or 0) // 10 ** (18 if term.row.instrument.token.symbol == "ETH" else 6)
        for term in rule.terms
    ]
    assert (sum(values) < 0) == (silo.health < WAD)


def test_collateral_that_is_not_pledged_is_no_term(lab) -> None:
    rule = read_rule(lab.lending({"ETH": 1, "BTC": 1, "USDC": -100}, weight=0))
    assert [term.gross for term in rule.terms] == [-100 * 10**6]
    assert rule.close_factor_ppm == 500_000


def test_a_numeraire_of_which_nothing_is_known_is_seen_at_the_market_price(lab) -> None:
    silo = lab.lending({"ETH": 1, "USDC": -1_000}, numeraire="USDC")
    fixed = msgspec.structs.replace(silo, rule=msgspec.structs.replace(silo.rule, numeraire_oracle="fixed"))
    assert silo.rule.numeraire_oracle is None
    assert [{term.row.numeraire_oracle for term in read_rule(each).terms} for each in (silo, fixed)] == [
        {"market"},
        {"fixed"},
    ]


def perpetual(payoff: Payoff) -> Perpetual:
    return Perpetual(venue="p:1:main", market="m", base="ETH", quote="USD", payoff=payoff, annual_funding_rate=Wad(0))


def contracts(lab, quantity: int, payoff: Payoff, entry: str):
    rule = MarginFraction(
        numeraire="USD" if payoff == "linear" else "ETH",
        fractions=(lab.wad("0.05"), lab.wad(0)),
        entry_value=lab.wad(entry),
    )
    positions = (
        Position(instrument=perpetual(payoff), quantity=Amount(quantity)),
        Position(instrument=lab.token("USDC"), quantity=Amount(500 * 10**6)),
    )
    return msgspec.structs.replace(lab.wallet(), rule=rule, positions=positions)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("mark", [1500, 1700, 1900, 2000, 2100, 2300, 2600])
def test_a_linear_contract_is_negative_exactly_when_equity_is_below_the_fraction(lab, sign: int, mark: int) -> None:
    rule = read_rule(contracts(lab, sign * 10**18, "linear", str(sign * 2000)))
    prices: dict[Any, int] = {"perpetual": mark, "token": 10**12, "cash": 1}
    terms: list[int] = [term.weighted * prices[term.row.instrument.__struct_config__.tag] for term in rule.terms]
    total = sum(terms)
    equity = 500 + sign * (mark - 2000)
    assert (total < 0) == (equity < 0.05 * mark)
    assert rule.settlement == ((Cash(factor="USD"), -sign * 2000 * WAD),)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("mark", [1500, 1950, 2050, 2600])
def test_an_inverse_contract_settles_in_the_coin(lab, sign: int, mark: int) -> None:
    # one coin's worth of dollars at 2,000, so the entry value is one coin
    rule = read_rule(contracts(lab, sign * 2000 * WAD, "inverse", str(sign)))
    coin: dict[Any, float] = {"perpetual": -1 / mark, "token": 10**12 / mark, "cash": 1.0}
    terms: list[float] = [
        term.weighted / WAD**2 * coin[term.row.instrument.__struct_config__.tag] for term in rule.terms
    ]
    total = sum(terms)
    equity = 500 / mark + sign * (1 - 2000 / mark)
    assert total == pytest.approx(equity - 0.05 * 2000 / mark)


def test_a_silo_that_mixes_payoffs_cannot_be_followed(lab) -> None:
    silo = contracts(lab, WAD, "linear", "2000")
    mixed = (silo.positions[0], Position(instrument=perpetual("inverse"), quantity=Amount(WAD)))
    assert read_rule(msgspec.structs.replace(silo, positions=mixed)) is None


def test_a_silo_without_open_positions_owes_no_entry(lab) -> None:
    silo = contracts(lab, 0, "linear", "0")
    rule = read_rule(silo)
    assert rule.settlement == ()
    assert len(rule.terms) == 1
