"""The volatility forecast: a mixture of textbook recursions, bounded, the same in plain Python, and quick enough."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from aggregator.scenarios import volatility
from aggregator.scenarios.volatility import (
    COMPONENTS,
    Cap,
    components,
    forecast_series,
    hourly,
    recursions,
    with_implied,
)
from riskschema.market import GROUPS, VOLATILE_GROUPS


def component_series(returns, parameters, group):
    found = np.empty((returns.size + 1, len(COMPONENTS)))
    components(returns, recursions(parameters.volatility, group), found)
    return found


@pytest.fixture
def returns():
    return np.random.default_rng(3).standard_normal(1_200) * 0.01


@pytest.mark.parametrize(
    ("name", "half_life"),
    [("fast", "fast_half_life_hours"), ("middle", "half_life_hours"), ("slow", "slow_half_life_hours")],
)
def test_averages_equal_the_textbook_recursion(returns, parameters, name: str, half_life: str) -> None:
    weight = 0.5 ** (1 / getattr(parameters.volatility, half_life))
    variance = float(np.mean(returns[:168] ** 2))
    for value in returns:
        variance = weight * variance + (1 - weight) * value**2
    found = component_series(returns, parameters, "eth")
    assert found[-1, COMPONENTS.index(name)] == pytest.approx(variance, rel=1e-12)


def test_the_garch_forecast_is_the_mean_of_24_iterated_ones(returns, parameters) -> None:
    model, weight = parameters.volatility.garch.of("eth"), 0.5 ** (1 / parameters.volatility.long_run_half_life_hours)
    level = hour = float(np.mean(returns[:168] ** 2))
    persistence = model.alpha + model.gamma / 2 + model.beta
    for value in returns:
        level = weight * level + (1 - weight) * value**2
        hour = (1 - persistence) * level + (model.alpha + model.gamma * (value < 0)) * value**2 + model.beta * hour
    iterated = [hour]
    for _ in range(23):
        iterated.append((1 - persistence) * level + persistence * iterated[-1])
    assert component_series(returns, parameters, "eth")[-1, 3] == pytest.approx(np.mean(iterated), rel=1e-9)


def test_realised_variances_are_means_over_a_day_a_week_and_a_month(returns, parameters) -> None:
    model, weight = (
        parameters.volatility.realised.of("btc"),
        0.5 ** (1 / parameters.volatility.long_run_half_life_hours),
    )
    level = float(np.mean(returns[:168] ** 2))
    for value in returns:
        level = weight * level + (1 - weight) * value**2
    windows = [float(np.mean(returns[-hours:] ** 2)) for hours in (24, 168, 720)]
    expected = model.level * level + np.dot([model.day, model.week, model.month], windows)
    assert component_series(returns, parameters, "btc")[-1, 4] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("group", GROUPS)
def test_the_forecast_is_the_root_of_the_weighted_mean(returns, parameters, group: str) -> None:
    known, today, long_run = forecast_series(returns, group=group, model=parameters.volatility)
    weights = msgspec.structs.astuple(parameters.volatility.mixture.of(group))
    expected = np.sqrt(component_series(returns, parameters, group) @ np.array(weights))
    assert [*known, today] == pytest.approx(expected, rel=1e-12)
    assert long_run == pytest.approx(math.sqrt(np.mean(returns**2)), rel=1e-12)


@pytest.mark.parametrize("group", VOLATILE_GROUPS)
def test_after_a_doubling_of_volatility_half_of_the_gap_is_closed_within_a_day(parameters, group: str) -> None:
    """Median of 1,000 simulations; an exponential average of 36 hours closes 45 %."""
    generator = np.random.default_rng(11)
    days, closed, average = 60, [], []
    for _ in range(1_000):
        moves = generator.standard_normal(24 * (days + 1)) * 0.01
        moves[-24:] *= 2.0
        known, today, _ = forecast_series(moves, group=group, model=parameters.volatility)
        closed.append((today - known[-24]) / 0.01)
        found = np.sqrt(component_series(moves, parameters, group)[[-25, -1], 1])
        average.append((found[1] - found[0]) / 0.01)
    assert np.median(average) == pytest.approx(0.45, abs=0.01)
    assert np.median(closed) >= 0.5


def test_the_kernels_equal_their_plain_twins(parameters) -> None:
    returns = np.random.default_rng(4).normal(size=800) * 0.01
    found = np.empty((2, 801, len(COMPONENTS)))
    published = np.empty((2, 801))
    model = recursions(parameters.volatility, "large")
    cap, weights = Cap(rise=2.5, floor=0.001), np.array([0.3, 0.1, 0.2, 0.2, 0.2])
    volatility.components(returns, model, found[0])
    volatility.components.py_func(returns, model, found[1])
    volatility.mixed(found[0], weights, cap, published[0])
    volatility.mixed.py_func(found[0], weights, cap, published[1])
    assert found[0].tobytes() == found[1].tobytes()
    assert published[0].tobytes() == published[1].tobytes()
    assert volatility.root_mean_square(returns) == volatility.root_mean_square.py_func(returns)


def test_options_count_by_their_share_of_the_variance(parameters) -> None:
    model = parameters.volatility
    share, ratio = model.implied_share.btc, model.implied_ratio.btc
    assert 0.0 < share < 1.0
    expected = math.sqrt((1 - share) * 0.01**2 + share * ratio * 0.02**2)
    assert with_implied(0.01, 0.02, group="btc", model=model) == pytest.approx(expected, rel=1e-12)
    assert with_implied(0.01, 0.02, group="other", model=model) == pytest.approx(0.02)


def test_the_forecast_rises_at_most_by_its_cap_in_a_day_and_then_catches_up(parameters) -> None:
    returns = np.concatenate([np.tile([0.004, -0.004], 200), np.tile([0.05, -0.05], 60)])
    known, today, _ = forecast_series(returns, group="eth", model=parameters.volatility)
    assert known[423] / known[399] == pytest.approx(parameters.volatility.daily_rise_cap)
    assert today > 4 * known[399]


def test_a_silent_market_keeps_the_floor(parameters) -> None:
    known, today, long_run = forecast_series(np.zeros(200), group="btc", model=parameters.volatility)
    floor = hourly(parameters.volatility.floor_annual.btc)
    assert today == long_run == known[0] == known[-1] == floor
