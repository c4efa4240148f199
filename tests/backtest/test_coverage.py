"""Tests of violations agree with published figures, and reject a true model as often as they should."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from backtest.coverage import CHI_SQUARE_95, coverage, shortfall_statistic, simulated_shortfall

PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "garch_var_violations.json").read_text())["series"]


@pytest.mark.parametrize("series", PUBLISHED, ids=lambda each: f"{each['model']}-{each['asset']}-{each['side']}")
def test_kupiec_and_independence_are_those_published_for_garch_forecasts(series) -> None:
    violated = np.zeros(series["days"], dtype=bool)
    violated[series["violated_days"]] = True
    found = coverage(violated[:, None], 0.01)
    assert int(found.violations[0]) == series["violations"]
    assert float(found.kupiec[0]) == pytest.approx(series["kupiec"], abs=1e-8)
    assert float(found.independence[0]) == pytest.approx(series["independence"], abs=1e-8)


def test_the_critical_value_is_that_of_the_chi_square_distribution() -> None:
    assert pytest.approx(stats.chi2.ppf(0.95, 1)) == CHI_SQUARE_95


def test_series_without_a_violation_or_with_nothing_else_have_finite_statistics() -> None:
    found = coverage(np.stack([np.zeros(50, dtype=bool), np.ones(50, dtype=bool)], axis=1), 0.01)
    assert np.isfinite(found.kupiec).all()
    assert found.independence.tolist() == [0.0, 0.0]
    assert float(found.kupiec[0]) == pytest.approx(-2 * 50 * np.log(0.99))


def test_violations_that_follow_each_other_are_not_independent() -> None:
    violated = np.zeros(900, dtype=bool)
    violated[100:109] = True
    apart = np.zeros(900, dtype=bool)
    apart[50::100] = True
    found = coverage(np.stack([violated, apart], axis=1), 0.01)
    assert found.violations.tolist() == [9, 9]
    assert found.independence[0] > CHI_SQUARE_95 > found.independence[1]


def test_the_critical_value_of_the_shortfall_test_is_the_published_one() -> None:
    """Acerbi and Szekely (2014), table 3: -.70 at 5 % for 2.5 % and 250 days of Student t with 100 degrees."""
    rate, days = 0.025, 250
    quantiles = stats.t.ppf(1.0 - rate * (np.arange(400) + 0.5) / 400, 100)
    tails = np.broadcast_to(quantiles, (days, quantiles.size))
    draws = simulated_shortfall(tails, np.full(days, quantiles.mean()), rate, 20_000, 7)
    assert np.quantile(draws, 0.05) == pytest.approx(-0.70, abs=0.03)
    assert draws.mean() == pytest.approx(0.0, abs=0.01)


def test_the_shortfall_statistic_is_zero_where_the_tail_is_as_forecast_and_falls_with_larger_losses() -> None:
    losses, violated = np.zeros(100), np.zeros(100, dtype=bool)
    losses[[3, 70]], violated[[3, 70]] = [12.0, 8.0], True
    shortfall = np.full(100, 10.0)
    assert float(shortfall_statistic(losses, violated, shortfall, 0.02)) == pytest.approx(0.0)
    assert float(shortfall_statistic(2.0 * losses, violated, shortfall, 0.02)) == pytest.approx(-1.0)
