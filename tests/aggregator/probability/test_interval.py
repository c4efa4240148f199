"""The interval of a probability: Wilson's, carried down with the estimate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from aggregator.assess import assess
from aggregator.probability.interval import touch_chance, wilson
from aggregator.probability.score import touch_probability
from aggregator.probability.weights import joint_probability


@pytest.mark.parametrize(("found", "blocks"), [(0, 100), (1, 100), (10, 1100), (110, 1100), (1099, 1100), (1100, 1100)])
def test_it_is_scipys_score_interval(found: int, blocks: int) -> None:
    expected = binomtest(found, blocks).proportion_ci(0.95, method="wilson")
    assert wilson(found, blocks, 1.959963984540054) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.integers(0, 1100), st.floats(0.0, 6.0))
def test_an_estimate_lies_between_its_bounds(parameters, touches: int, multiplier: float) -> None:
    found = touch_chance(touches, multiplier, 1100, parameters.probability)
    assert found.probability == touch_probability(touches, multiplier, 1100, parameters.probability)
    assert 0 <= found.low <= found.probability <= found.high <= 1


def test_below_ten_touches_the_bounds_are_as_far_apart_as_of_ten(parameters) -> None:
    ten, far = (touch_chance(count, size, 1100, parameters.probability) for count, size in ((10, 1.0), (0, 3.0)))
    assert far.probability == pytest.approx(ten.probability / 27)
    assert far.high / far.low == pytest.approx(ten.high / ten.low)


def test_the_bounds_of_silos_of_several_weights_are_mixed_as_the_estimate_is(parameters) -> None:
    model = parameters.probability
    wide, narrow = (touch_chance(count, 0.5, 1100, model) for count in (220, 110))
    mixed = joint_probability([2_500, 10_000], [220, 110], [0.4, 0.5], 1100, model)
    assert mixed == pytest.approx([0.25 * one + 0.75 * other for one, other in zip(wide, narrow, strict=True)])


def test_an_assessment_says_how_sure_it_is_before_the_published_floor(lab, parameters) -> None:
    near, safe, wallet, gone = assess(
        [
            lab.portfolio(lab.lending({"ETH": 10, "USDC": -15_000})),
            lab.portfolio(lab.lending({"ETH": 10, "USDC": -9_000})),
            lab.portfolio(lab.wallet({"ETH": 10})),
            lab.portfolio(lab.lending({"ETH": 10, "USDC": -17_000})),
        ],
        lab.market(),
        parameters,
    ).assessments
    touches = round(near.liquidation_probability / 1e6 * 1100)
    low, high = (round(bound * 1e6) for bound in wilson(touches, 1100, 1.96))
    assert near.probability_interval.estimate == near.liquidation_probability
    assert near.probability_interval.low == pytest.approx(low, abs=1)
    assert near.probability_interval.high == pytest.approx(high, abs=1)
    assert safe.probability_interval.estimate < safe.probability_interval.high < safe.liquidation_probability == 3_000
    assert wallet.probability_interval.high == 0
    assert {gone.probability_interval.low, gone.probability_interval.high} == {1_000_000}


def test_of_what_cannot_be_followed_nothing_is_excluded(lab, parameters) -> None:
    silo = lab.lending({"ETH": 10, "CRV": -1})
    market = lab.market()
    market = type(market)(as_of=market.as_of, quotes=tuple(q for q in market.quotes if q.factor != "CRV"))
    found = assess([lab.portfolio(silo)], market, parameters).assessments[0]
    assert found.probability_interval.high == 1_000_000
    assert found.probability_interval.low < found.liquidation_probability
