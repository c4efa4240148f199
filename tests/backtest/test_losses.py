"""Quantiles, tails and quantile losses follow their stated conventions."""

import numpy as np
import pytest
from scipy import optimize, stats

from backtest.losses import (
    area_under_curve,
    brier,
    calibration_error,
    expected_shortfall,
    log_loss,
    quantile_loss,
    tail,
    value_at_risk,
)


@pytest.mark.parametrize("count", [99, 365, 1_100])
def test_the_next_draw_exceeds_the_quantile_as_often_as_the_level_says(count: int) -> None:
    generator = np.random.default_rng(count)
    draws = generator.random((20_000, count + 1))
    exceeded = draws[:, -1] > value_at_risk(draws[:, :-1], 0.99)
    assert exceeded.mean() == pytest.approx(0.01, abs=4 * np.sqrt(0.01 * 0.99 / 20_000))


def test_the_quantile_lies_between_two_draws_where_the_place_is_not_whole() -> None:
    losses = np.arange(1.0, 150.0)  # 149 draws: the place is 1.5
    assert float(value_at_risk(losses, 0.99)) == pytest.approx(148.5)
    assert float(value_at_risk(np.array([3.0, 1.0]), 0.99)) == 3.0


def test_the_shortfall_counts_the_last_loss_in_part() -> None:
    losses = np.arange(1.0, 151.0)  # 1.5 losses in the tail
    assert float(expected_shortfall(losses, 0.99)) == pytest.approx((150.0 + 0.5 * 149.0) / 1.5)


def test_the_tail_walks_evenly_through_the_worst_losses() -> None:
    losses = np.arange(1.0, 401.0)
    assert tail(losses, 0.99, 8).tolist() == [400.0, 400.0, 399.0, 399.0, 398.0, 398.0, 397.0, 397.0]


def test_the_quantile_loss_is_least_at_the_quantile() -> None:
    values = np.random.default_rng(4).standard_t(4, 30_000)
    best = optimize.minimize_scalar(
        lambda guess: float(quantile_loss(values, np.full(values.size, guess), 0.99).mean()), bounds=(0, 10)
    )
    assert best.x == pytest.approx(np.quantile(values, 0.99), abs=0.01)


def test_the_area_under_the_curve_is_the_mann_whitney_statistic_ties_counted_half() -> None:
    generator = np.random.default_rng(4)
    happened = (generator.random(500) < 0.2).astype(float)
    said = np.round(generator.random(500) * 0.5 + 0.2 * happened, 1)  # many ties
    statistic = stats.mannwhitneyu(said[happened > 0], said[happened == 0]).statistic
    assert area_under_curve(said, happened) == pytest.approx(statistic / (happened.sum() * (1 - happened).sum()))
    assert area_under_curve(said, np.zeros(500)) is None
    assert area_under_curve(np.full(500, 0.3), happened) == pytest.approx(0.5)


def test_log_loss_and_squared_error_are_least_in_expectation_at_the_true_chance() -> None:
    generator = np.random.default_rng(5)
    happened = (generator.random(200_000) < 0.3).astype(float)
    for score in (log_loss, brier):
        at = {said: float(score(np.full(happened.size, said), happened).mean()) for said in (0.2, 0.3, 0.4)}
        assert at[0.3] < min(at[0.2], at[0.4])
    assert brier(np.array([0.25, 0.25]), np.array([1.0, 0.0])).tolist() == [0.5625, 0.0625]


def test_the_calibration_error_weighs_each_bins_gap_by_its_predictions() -> None:
    said = np.array([0.1, 0.1, 0.1, 0.6])
    happened = np.array([0.0, 1.0, 0.0, 1.0])
    assert calibration_error(said, happened, (0.5,)) == pytest.approx((3 * (1 / 3 - 0.1) + 0.4) / 4)
