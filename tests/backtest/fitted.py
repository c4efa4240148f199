"""Fit the forecast to simulated hours and print it as JSON: a process of its own for every kind of machine."""

from __future__ import annotations

import sys

import numpy as np

from aggregator.parameters import load_parameters
from backtest.fitting import fit
from backtest.prices import Prices
from riskschema.codec import encode_json

HOURS = 6_000


def prices() -> Prices:
    """Return two factors whose hourly variance follows a GJR-GARCH recursion with Student t errors."""
    generator = np.random.default_rng(8)
    errors = generator.standard_t(5, (2, HOURS)) / np.sqrt(5 / 3)
    level = np.array([4e-5, 8e-5])
    variance, returns = level.copy(), np.empty((2, HOURS))
    for hour in range(HOURS):
        returns[:, hour] = np.sqrt(variance) * errors[:, hour]
        weight = 0.05 + 0.04 * (returns[:, hour] < 0)
        variance = 0.05 * level + weight * returns[:, hour] ** 2 + 0.88 * variance
    close = np.rint(1e14 * np.exp(np.cumsum(returns, axis=1))).astype(np.int64)
    return Prices(first_hour=0, factors=("BTC", "ETH"), close=close, high=close, low=close)


if __name__ == "__main__":
    sys.stdout.buffer.write(encode_json(fit(prices(), load_parameters())))
