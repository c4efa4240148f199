"""Chance is reproduced: intervals cover, and a perfect model passes as often as resampling says."""

import numpy as np
import pytest

from backtest.coverage import CHI_SQUARE_95, coverage
from backtest.resampling import day_blocks, mean_interval, perfect_shares

DAYS, SERIES, RATE = 900, 60, 0.01


def test_blocks_are_runs_of_days_and_every_day_is_as_likely() -> None:
    picked = day_blocks(100, 4_000, 1)
    assert picked.shape == (4_000, 100)
    assert np.all((picked[:, 1:10] - picked[:, :9]) % 100 == 1)
    assert np.bincount(picked.ravel(), minlength=100) == pytest.approx(4_000, rel=0.1)


def test_the_interval_is_wider_where_days_come_in_runs() -> None:
    generator = np.random.default_rng(3)
    alone = generator.random(1_000)
    runs = np.repeat(generator.random(100), 10)
    widths = []
    for values in (alone, runs):
        mean, low, high = mean_interval(values, np.ones(values.size))
        assert low < mean < high
        widths.append(high - low)
    assert widths[1] > 2.0 * widths[0]


def test_a_perfect_model_passes_as_often_as_the_resampling_of_one_realisation_says() -> None:
    generator = np.random.default_rng(5)
    shares = []
    for _ in range(60):
        common = generator.standard_normal((DAYS, 1))
        moves = np.sqrt(0.7) * common + np.sqrt(0.3) * generator.standard_normal((DAYS, SERIES))
        shares.append(float((coverage(moves > 2.3263478740408408, RATE).kupiec <= CHI_SQUARE_95).mean()))
    standardised = moves / 2.3263478740408408
    tails = np.broadcast_to(np.linspace(1.3, 0.9, 11), (DAYS, SERIES, 11))
    found = perfect_shares(standardised, tails, np.full(SERIES, -1.0), RATE, draws=200)
    assert found.shape == (200, 3)
    assert found[:, 0].mean() == pytest.approx(np.mean(shares), abs=0.03)
    assert np.quantile(found[:, 0], 0.05) == pytest.approx(np.quantile(shares, 0.05), abs=0.12)
    assert 0.9 < found[:, 1].mean() <= 1.0
