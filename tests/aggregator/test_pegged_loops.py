"""Loops of pegged assets, staked, wrapped or a dollar, against what they are pegged to, on every kind of oracle."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from aggregator.assess import assess
from riskschema.assessment import GRADES, Assessment
from riskschema.codec import encode_json
from riskschema.instruments import Asset, Claim, Debt, Token, WrappedToken
from riskschema.market import FactorQuote, MarketState
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

HEALTHS = np.concatenate([np.linspace(1.005, 1.02, 40), np.linspace(1.021, 1.3, 100)])
KINDS: tuple[OracleKind, ...] = ("market", "exchange_rate", "capped", "fixed")


class Pair(NamedTuple):
    """A loop: what is held and owed, with the market's prices."""

    name: str
    held: Asset
    price: float
    owed: Token
    owed_price: float


def token(lab, factor: str, decimals: int = 18) -> Token:
    number = 500 + sum(factor.encode())
    return Token(chain_id=1, address=lab.address(number), symbol=factor, decimals=decimals, factor=factor)


@pytest.fixture(scope="module")
def market(lab) -> MarketState:
    found = lab.market()
    quotes = [
        FactorQuote(factor="WBTC", price=lab.wad(40_000), group="btc"),
        FactorQuote(factor="USDT", price=lab.wad(1), group="stablecoin"),
        FactorQuote(factor="RETH", price=lab.wad(2_200), group="eth"),
    ]
    return msgspec.structs.replace(found, quotes=(*found.quotes, *quotes))


@pytest.fixture(scope="module")
def pairs(lab) -> tuple[Pair, ...]:
    staked = WrappedToken(token=token(lab, "WSTETH"), underlying=lab.token("ETH"), index=lab.wad("1.2"))
    return (
        Pair("staked", staked, 2_400, lab.token("ETH"), 2_000),
        Pair("wrapped", token(lab, "WBTC", 8), 40_000, lab.token("BTC"), 40_000),
        Pair("dollars", token(lab, "USDT", 6), 1, lab.token("USDC"), 1),
    )


def loop(
    lab, pair: Pair, health: float, oracle: VenueOracle, *, held: Asset | None = None, number: int = 1
) -> Portfolio:
    """Return a million dollars of collateral at a threshold of 95 %, and as much debt as the health says."""
    asset = held or pair.held
    amount = round(1e6 / pair.price * 10**pair.owed.decimals) * 10**asset.decimals // 10**pair.owed.decimals
    debt = round(1e6 * 0.95 / health / pair.owed_price * 10**6) * 10 ** (pair.owed.decimals - 6)
    weighted = amount * lab.wad(pair.price) * 95 // 100 // 10**asset.decimals
    owed = debt * lab.wad(pair.owed_price) // 10**pair.owed.decimals
    venue = "aave_v3:1:main"
    terms = (
        CollateralTerm(
            weight=lab.wad("0.95"), price=lab.wad(pair.price), liquidation_bonus=lab.wad("0.01"), oracle=oracle
        ),
        CollateralTerm(weight=Wad.one(), price=lab.wad(pair.owed_price)),
    )
    silo = Silo(
        id="loop",
        venue=venue,
        chain_id=1,
        account=lab.address(number),
        health=Wad(weighted * WAD // owed),
        rule=WeightedCollateral(numeraire="USD", terms=terms, close_factor=lab.wad("0.5")),
        positions=(
            Position(instrument=Claim(token=asset, venue=venue), quantity=Amount(amount)),
            Position(instrument=Debt(token=pair.owed, venue=venue), quantity=Amount(-debt)),
        ),
    )
    return Portfolio(subject=lab.address(number), silos=(silo,))


Found = dict[tuple[str, OracleKind], list[Assessment]]


@pytest.fixture(scope="module")
def found(lab, parameters, market, pairs) -> Found:
    """Assessments of 420 loops on each kind of oracle, by pair and kind, in the order of HEALTHS."""
    keys = [(pair, kind) for kind in KINDS for pair in pairs]
    loops = [
        loop(lab, pair, float(health), VenueOracle(kind=kind), number=1 + place * len(HEALTHS) + index)
        for place, (pair, kind) in enumerate(keys)
        for index, health in enumerate(HEALTHS)
    ]
    assessments = assess(loops, market, parameters).assessments
    count = len(HEALTHS)
    return {
        (pair.name, kind): list(assessments[place * count : (place + 1) * count])
        for place, (pair, kind) in enumerate(keys)
    }


PAIRS = ("staked", "wrapped", "dollars")


@pytest.mark.parametrize("name", PAIRS)
def test_below_a_health_of_1_02_a_market_oracle_gives_no_loop_a_score_of_0(found: Found, name: str) -> None:
    """All of 14 real wstETH/ETH loops below health 1.05 scored 0, grade A."""
    near = [item.score for item, health in zip(found[name, "market"], HEALTHS, strict=True) if health < 1.02]
    assert len(near) >= 39
    assert min(near) > 0


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kind", KINDS)
def test_more_health_never_scores_worse(found: Found, name: str, kind: OracleKind) -> None:
    scores = [item.score for item in found[name, kind]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("name", PAIRS)
def test_an_oracle_that_is_blind_to_the_peg_never_scores_worse_but_asks_for_as_much(found: Found, name: str) -> None:
    for kind in ("exchange_rate", "capped"):
        for seeing, blind in zip(found[name, "market"], found[name, kind], strict=True):
            assert blind.score <= seeing.score
            assert blind.initial_margin == seeing.initial_margin
    comfortable = HEALTHS > 1.01
    blind_scores = np.array([item.score for item in found[name, "exchange_rate"]])
    if name != "dollars":  # whose other side breaks too, and is seen
        assert blind_scores[comfortable].max() == 0


@pytest.mark.parametrize("name", PAIRS)
def test_the_margin_of_a_loop_is_what_its_kinds_break_costs(found: Found, parameters, name: str) -> None:
    kind = {"staked": "staking", "wrapped": "wrapped_bitcoin", "dollars": "dollar"}[name]
    worst = -min(parameters.pegs.of(kind).breaks)
    for item in found[name, "exchange_rate"]:
        assert item.base_margin / 1e8 >= 1e6 * worst * (1 - 1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_the_expected_loss_shows_what_a_discount_costs_that_the_venue_does_not_see(found: Found, name: str) -> None:
    crisis = {"staked": 0.065, "wrapped": 0.015, "dollars": 0.0956}[name]
    for kind in ("exchange_rate", "capped"):
        costs = {item.expected_loss / 1e8 for item in found[name, kind][-50:]}
        assert max(costs) > 1e6 * (crisis - 0.005) / 1_100, "the crisis once in 1,100 days"
        assert max(costs) < 1e6 * crisis / 1_100 * 4
    assert found[name, "market"][-1].expected_loss == 0 or name == "dollars"


def test_a_fixed_answer_leaves_the_whole_price_to_the_debt(found: Found) -> None:
    """A stable answer for ether's collateral against a debt that moves is no safe loop."""
    assert min(item.score for item in found["staked", "fixed"]) > 200


def grade_place(item: Assessment) -> int:
    return GRADES.index(item.grade)


@pytest.mark.parametrize("health", [1.006, 1.015, 1.04, 1.1])
@pytest.mark.parametrize("kind", ["market", "exchange_rate"])
def test_claim_wrapper_and_own_quote_of_one_asset_agree_within_a_grade(
    lab, parameters, market, pairs, health: float, kind: Any
) -> None:
    staked = pairs[0]
    quoted = FactorQuote(factor="WSTETH", price=lab.wad(2_400), group="eth")
    with_quote = msgspec.structs.replace(market, quotes=(*market.quotes, quoted))
    through = WrappedToken(token=token(lab, "WSTETH"), underlying=token(lab, "STETH"), index=lab.wad("1.2"))
    oracle = VenueOracle(kind=kind)
    seen = [
        assess([loop(lab, staked, health, oracle, held=held)], state, parameters).assessments[0]
        for held, state in (
            (staked.held, market),
            (through, market),
            (staked.held, with_quote),
            (token(lab, "WSTETH"), with_quote),
        )
    ]
    places = [grade_place(item) for item in seen]
    assert max(places) - min(places) <= 1
    assert max(item.score for item in seen) - min(item.score for item in seen) <= 60
    assert len({item.equity for item in seen}) == 1


def test_a_stranger_in_the_batch_changes_no_loop(lab, parameters, market, pairs, found: Found) -> None:
    alone = loop(lab, pairs[0], float(HEALTHS[7]), VenueOracle(), number=8)
    stranger = lab.portfolio(lab.lending({"CRV": 10_000, "DAI": -2_000}), number=77_777)
    together = assess([stranger, alone], market, parameters).assessments[1]
    assert encode_json(together) == encode_json(found["staked", "market"][7])


def test_two_dollars_that_nobody_knows_break_apart(lab, parameters, market) -> None:
    quotes = [FactorQuote(factor=name, price=lab.wad(1), group="stablecoin") for name in ("AUSD", "BUSD2")]
    state = msgspec.structs.replace(market, quotes=(*market.quotes, *quotes))
    pair = Pair("new", token(lab, "AUSD", 6), 1, token(lab, "BUSD2", 6), 1)
    (item,) = assess([loop(lab, pair, 1.03, VenueOracle())], state, parameters).assessments
    assert item.score > 0
    assert item.base_margin / 1e8 >= 0.13 * 1e6 * (1 - 1e-6)


@pytest.mark.parametrize("level", [0.97, 0.995, 1.004])
def test_a_discount_that_closes_again_hurts_who_owes_what_is_pegged(lab, parameters, market, level: float) -> None:
    """Ether held, staked ether owed: at a discount of 3 % such a loop scored 0, as if it could not close."""
    quotes = (*market.quotes, FactorQuote(factor="STETH", price=lab.wad(2_000 * level), group="eth"))
    state = msgspec.structs.replace(market, quotes=quotes)
    pair = Pair("owed", lab.token("ETH"), 2_000, token(lab, "STETH"), 2_000 * level)
    loops = [loop(lab, pair, health, VenueOracle(), number=place) for place, health in enumerate((1.01, 1.025), 1)]
    near, farther = assess(loops, state, parameters).assessments
    assert near.score >= farther.score
    assert near.score > 0
    assert (farther.score > 300) == (level == 0.97), "parity is within reach of an open discount: on two days of 1,100"
    closing = 1.0 / level - 1.0 if level < 1.0 else 0.0
    owed = 1e6 * 0.95 / 1.01
    assert near.base_margin / 1e8 >= owed * closing * (1 - 1e-6), "the requirement has what closing costs"
