"""What holds of every book's requirement, options and pool shares included."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.assess import assess
from riskschema.instruments import Option, UniswapV2Share
from riskschema.portfolio import Position
from riskschema.units import WAD, Amount

AS_OF = 1_700_000_000
HOUR = 3_600
LIVES = (HOUR, 20 * HOUR, 24 * HOUR, 7 * 24 * HOUR, 30 * 24 * HOUR, 400 * 24 * HOUR)
UNDERLYINGS = ("BTC", "ETH", "LINK", "CRV")


def option(lab: Any, random: np.random.Generator) -> Option:
    """At the money within a factor of about two, of an hour to a year."""
    underlying = str(random.choice(UNDERLYINGS))
    strike = lab.assets[underlying][2] * np.exp(random.normal() * 0.4)
    return Option(
        venue="v:1:main",
        market="m",
        underlying=underlying,
        quote="USD",
        right="call" if random.random() < 0.5 else "put",
        strike=lab.wad(f"{strike:.6f}"),
        expiry=AS_OF + int(random.choice(LIVES)),
    )


def book(lab: Any, random: np.random.Generator) -> list[Position]:
    """A few coins, pool shares, and options bought and sold, of about 10,000 dollars each."""
    positions = []
    for name in map(str, random.choice(list(lab.assets), size=2, replace=False)):
        dollars = 10_000 * random.uniform(0.1, 1)
        units = int(dollars / lab.assets[name][2] * 10 ** lab.assets[name][1])
        positions.append(Position(instrument=lab.token(name), quantity=Amount(units)))
    share = UniswapV2Share(
        chain_id=1,
        pool=lab.address(77),
        token0=lab.token("ETH"),
        token1=lab.token("USDC"),
        liquidity_per_share=lab.wad(1),
    )
    positions.append(Position(instrument=share, quantity=Amount(int(random.integers(1, 10**14)))))
    for _ in range(random.integers(0, 3)):
        chosen = option(lab, random)
        sold = int(10_000 / lab.assets[chosen.underlying][2] * random.uniform(-1, 1) * WAD)
        positions.append(Position(instrument=chosen, quantity=Amount(sold)))
    return positions


def times(positions: list[Position], factor: int) -> list[Position]:
    return [msgspec.structs.replace(item, quantity=Amount(int(item.quantity) * factor)) for item in positions]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=4)
def test_joining_two_books_never_costs_and_seven_times_a_book_costs_seven_times(lab, parameters, seed: int) -> None:
    random = np.random.default_rng(seed)
    pairs = [(book(lab, random), book(lab, random)) for _ in range(15)]
    books = [each for one, other in pairs for each in (one, other, one + other, times(one, 7))]
    accounts = [lab.portfolio(lab.wallet(extra=held), number=number) for number, held in enumerate(books)]
    bases = iter([int(item.base_margin) for item in assess(accounts, lab.market(), parameters).assessments])
    for one, other, joined, often in zip(bases, bases, bases, bases, strict=True):
        assert joined <= (one + other) * (1 + 1e-7) + 10
        assert often == pytest.approx(7 * one, rel=1e-6, abs=100)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=3)
def test_with_all_volatilities_up_what_short_options_need_beyond_their_equity_does_not_fall(
    lab, parameters, seed: int
) -> None:
    """Above all floors, which keep what they hold from rising with the others (docs/risk-model.md, section 10)."""
    random = np.random.default_rng(seed)
    annual = {name: random.uniform(0.5, 1.5) for name in UNDERLYINGS}
    accounts = []
    for number in range(20):
        sold = [
            Position(instrument=chosen, quantity=Amount(-10_000 * WAD // lab.assets[chosen.underlying][2]))
            for chosen in (option(lab, random) for _ in range(random.integers(1, 4)))
        ]
        accounts.append(lab.portfolio(lab.wallet(extra=sold), number=number))
    before = [-np.inf] * len(accounts)
    for scale in (1.0, 1.03, 1.2, 1.7, 3.0):
        found = assess(accounts, at(lab, annual, scale), parameters).assessments
        missing = [(item.initial_margin - item.equity) / 1e8 for item in found]
        assert all(now >= was - 1e-9 * abs(was) for now, was in zip(missing, before, strict=True)), scale
        before = missing


def test_a_deep_put_on_a_proxy_needs_no_less_when_its_leader_rises_too(lab, parameters) -> None:
    """It lost .07 % while the proxy was led by its leader's usual volatility, whatever that one was quoted at."""
    put = Option(
        venue="v:1:main",
        market="m",
        underlying="LINK",
        quote="USD",
        right="put",
        strike=lab.wad("22.700574"),
        expiry=AS_OF + 7 * 24 * HOUR,
    )
    sold = Position(instrument=put, quantity=Amount(-10_000 * WAD // lab.assets["LINK"][2]))
    annual = {"BTC": 0.993014, "ETH": 0.992988, "LINK": 0.951706, "CRV": 0.430587}
    (before,), (after,) = (
        assess([lab.portfolio(lab.wallet(extra=[sold]))], at(lab, annual, scale), parameters).assessments
        for scale in (1.0, 1.03)
    )
    assert after.initial_margin - after.equity > before.initial_margin - before.equity


def at(lab: Any, annual: dict[str, float], scale: float) -> Any:
    market = lab.market()
    quotes = [
        msgspec.structs.replace(quote, annual_volatility=lab.wad(f"{annual[quote.factor] * scale:.15f}"))
        if quote.factor in annual
        else quote
        for quote in market.quotes
    ]
    return msgspec.structs.replace(market, quotes=tuple(quotes))


def test_a_silo_that_its_venue_calls_less_healthy_never_scores_better(lab, parameters) -> None:
    healths = (3.0, 1.2, 1.0, 0.999, 0.5, 0.0)
    for debt in (-30, -13_000):
        accounts = [
            lab.portfolio(lab.lending({"ETH": 10, "USDC": debt}, health=health), number=number)
            for number, health in enumerate(healths)
        ]
        scores = [item.score for item in assess(accounts, lab.market(), parameters).assessments]
        assert scores == sorted(scores)
        assert scores[3] > scores[2]


def test_a_book_without_options_follows_the_forecast(lab, parameters) -> None:
    """Half the volatility is at most two thirds of the requirement: stress and floors are the smaller part of it."""
    ledgers = ({"ETH": 10.0}, {"CRV": 10_000.0}, {"BTC": 1.0, "LINK": 100.0})
    accounts = [lab.portfolio(lab.wallet(ledger), number=number) for number, ledger in enumerate(ledgers)]
    usual = {"BTC": 0.6, "ETH": 0.8, "LINK": 1.0, "CRV": 1.2}
    whole, half = (assess(accounts, at(lab, usual, scale), parameters).assessments for scale in (1.0, 0.5))
    for loud, quiet in zip(whole, half, strict=True):
        assert quiet.base_margin < 0.7 * loud.base_margin


def test_a_hedged_book_in_a_quiet_market_needs_less_than_fixed_percentages(lab, parameters) -> None:
    silos = [
        lab.lending({"ETH": 10, "USDC": -8_000}, cross_margin_group="g", ident="a"),
        lab.lending({"DAI": 20_000, "ETH": -8}, cross_margin_group="g", ident="b"),
    ]
    market = at(lab, {"ETH": 0.4}, 1.0)
    found = assess([lab.portfolio(*silos)], market, parameters).assessments[0]
    assert found.initial_margin < found.static_margin
