"""Quantiles, tails and quantile losses follow their stated conventions."""

import numpy as np
import pytest
from scipy import optimize

from backtest.losses import expected_shortfall, quantile_loss, tail, value_at_risk


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
