"""A short synthetic history, and a small population on it."""

import msgspec
import numpy as np
import pytest

from aggregator.parameters import Parameters, load_parameters
from backtest.population import Account, Pledge, Population
from backtest.prices import Prices

HOURS = 24 * 150 + 169


@pytest.fixture(scope="session")
def parameters() -> Parameters:
    """The package's own, with 100 days of history instead of a year."""
    found = load_parameters()
    return msgspec.structs.replace(found, paths=msgspec.structs.replace(found.paths, minimum_history_hours=2_400))


@pytest.fixture(scope="session")
def prices() -> Prices:
    """Two factors that move by one per cent an hour."""
    generator = np.random.default_rng(12)
    steps = 0.01 * generator.standard_normal((2, HOURS, 6)) / np.sqrt(6)
    walk = np.cumsum(steps.reshape(2, -1), axis=1).reshape(2, HOURS, 6)
    close, high, low = walk[:, :, -1], walk.max(axis=2), walk.min(axis=2)
    close, high, low = (np.rint(1e15 * np.exp(part)).astype(np.int64) for part in (close, high, low))
    return Prices(first_hour=1_600_000_000 // 86_400 * 86_400, factors=("BTC", "ETH"), close=close, high=high, low=low)


@pytest.fixture(scope="session")
def population() -> Population:
    """One account of some kinds."""
    long = Pledge(collateral={"ETH": 1.0}, debt={"USD": 1.0}, distance=0.05)
    short = Pledge(collateral={"USD": 1.0}, debt={"ETH": 1.0}, distance=0.08)
    pair = Pledge(collateral={"BTC": 1.0}, debt={"ETH": 1.0}, distance=0.1)
    return Population(
        collateral_usd=20_000.0,
        threshold=0.8,
        accounts=(
            Account(name="long", kind="long", silos=(long,)),
            Account(name="short", kind="short", silos=(short,)),
            Account(name="pair", kind="pair", silos=(pair,)),
            Account(name="hedged", kind="hedged", silos=(long, short)),
        ),
    )
