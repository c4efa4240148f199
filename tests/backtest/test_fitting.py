"""Fitting finds what made the data, and finds the package's own parameters again."""

import msgspec
import numpy as np
import pytest

from aggregator.parameters import load_parameters
from aggregator.scenarios.volatility import recursions
from backtest.fitting import fit, fit_garch, fit_mixture, fit_realised, quasi_likelihood
from backtest.prices import Prices
from riskschema.errors import InvalidData

PARAMETERS = load_parameters()


def simulated(seed: int, hours: int) -> np.ndarray:
    """Return a GJR-GARCH series with Student t errors, toward a constant level."""
    generator = np.random.default_rng(seed)
    errors = generator.standard_t(6, hours) / np.sqrt(1.5)
    returns, hour = np.empty(hours), 1e-4
    for index in range(hours):
        returns[index] = np.sqrt(hour) * errors[index]
        weight = 0.06 + 0.06 * (returns[index] < 0)
        hour = 0.06 * 1e-4 + weight * returns[index] ** 2 + 0.85 * hour
    return returns


def test_garch_finds_the_coefficients_that_made_the_returns() -> None:
    base = recursions(PARAMETERS.volatility, "btc")._replace(long_run=0.5 ** (1 / 20_000))
    found = fit_garch([simulated(seed, 20_000) for seed in (1, 2)], base)
    assert found.alpha == pytest.approx(0.06, abs=0.02)
    assert found.gamma == pytest.approx(0.06, abs=0.02)
    assert found.beta == pytest.approx(0.85, abs=0.03)


def test_realised_variances_predict_what_garch_makes_better_than_the_level_alone() -> None:
    base = recursions(PARAMETERS.volatility, "btc")
    found = fit_realised([simulated(3, 20_000)], base)
    assert found.day > 0.1
    assert sum(msgspec.structs.astuple(found)) == pytest.approx(1.0, abs=0.15)


def test_the_weights_go_half_of_the_way_to_the_forecast_that_is_right() -> None:
    generator = np.random.default_rng(5)
    truth = np.exp(generator.standard_normal(4_000))
    realised = truth * generator.chisquare(24, 4_000) / 24
    others = np.exp(generator.standard_normal((4_000, 5)))
    others[:, 3] = truth
    found = fit_mixture(others, realised)
    assert found.garch == pytest.approx(0.6, abs=0.02)
    assert sum(msgspec.structs.astuple(found)) == pytest.approx(1.0, abs=1e-12)


def test_quasi_likelihood_is_zero_at_the_truth_and_larger_below_than_above() -> None:
    one = np.ones(3)
    assert quasi_likelihood(one, one) == 0.0
    assert quasi_likelihood(0.5 * one, one) > quasi_likelihood(2.0 * one, one) > 0.0


def test_too_few_hours_are_refused() -> None:
    close = np.full((1, 100), 10**12, dtype=np.int64)
    prices = Prices(first_hour=0, factors=("BTC",), close=close, high=close, low=close)
    with pytest.raises(InvalidData, match="no factor has"):
        fit(prices, PARAMETERS)
