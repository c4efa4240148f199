"""The simulator: the same bytes everywhere, statistics like a market's, and no way to mistake it for one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.history.returns import ReturnModel, Returns
from adapters.history.simulator import PriceWalk, SimulatedFactor, simulate_history
from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.market import HourlyHistory
from riskschema.units import WAD, Wad

YEARS = 3 * 8_760
FACTORS = (
    SimulatedFactor(factor="ETH", price=Wad(2_000 * WAD), group="eth"),
    SimulatedFactor(factor="BTC", price=Wad(60_000 * WAD + 123_456), group="btc"),
    SimulatedFactor(factor="USDC", price=Wad(WAD), group="stablecoin"),
)
DIGEST = "52e0c459723e396ef995ba586a00618ecaff38d137a8ccd408224d74464f8ff2"


def values(column: Column) -> np.ndarray:
    return np.frombuffer(column.data, "<i8").reshape(column.shape)


def digest(history: HourlyHistory) -> str:
    return hashlib.sha256(history.close.data + history.high.data + history.low.data).hexdigest()


@pytest.fixture(scope="module")
def history() -> HourlyHistory:
    return simulate_history(FACTORS, hours=YEARS, seed=7, first_hour=1_600_000_000 // 3600 * 3600)


@pytest.fixture(scope="module")
def returns(history: HourlyHistory) -> np.ndarray:
    return np.diff(np.log(values(history.close).astype(float)))


def test_the_history_ends_exactly_at_the_given_prices(history: HourlyHistory) -> None:
    assert values(history.close)[:, -1].tolist() == [int(factor.price) // 10**6 for factor in FACTORS]


def test_the_history_says_that_it_is_simulated(history: HourlyHistory) -> None:
    assert history.simulated
    assert history.factors == ("ETH", "BTC", "USDC")
    assert history.hours == YEARS


def test_the_bytes_are_those_of_every_other_machine(history: HourlyHistory) -> None:
    assert digest(history) == DIGEST


@pytest.mark.parametrize(
    "environment",
    [
        {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"},
        {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"},
    ],
)
def test_the_bytes_do_not_depend_on_the_instructions_of_the_processor(
    history: HourlyHistory, environment: dict[str, str]
) -> None:
    script = (
        "import hashlib; from adapters.history.simulator import *; from riskschema.units import Wad;"
        "f=[SimulatedFactor(factor='ETH',price=Wad(2000*10**18),group='eth'),"
        "SimulatedFactor(factor='BTC',price=Wad(60000*10**18+123456),group='btc'),"
        "SimulatedFactor(factor='USDC',price=Wad(10**18),group='stablecoin')];"
        f"h=simulate_history(f,hours={YEARS},seed=7,first_hour=0);"
        "print(hashlib.sha256(h.close.data+h.high.data+h.low.data).hexdigest())"
    )
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    # numpy warns about features that this processor does not have anyway
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, **path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == digest(history)


def test_another_seed_makes_another_history(history: HourlyHistory) -> None:
    assert digest(simulate_history(FACTORS, hours=YEARS, seed=8, first_hour=0)) != digest(history)


def test_the_high_is_never_below_open_or_close_and_the_low_never_above(history: HourlyHistory) -> None:
    close, high, low = (values(column) for column in (history.close, history.high, history.low))
    opens = close[:, :-1]
    assert (high >= close).all()
    assert (low <= close).all()
    assert (high[:, 1:] >= opens).all()
    assert (low[:, 1:] <= opens).all()
    assert (low > 0).all()


def test_the_extremes_inside_the_hours_agree_with_the_closes(history: HourlyHistory, returns: np.ndarray) -> None:
    """Parkinson's range estimator and the closes see the same volatility, within a tenth."""
    spread = np.log(values(history.high) / values(history.low))
    parkinson = np.sqrt((spread**2).mean(axis=1) / (4 * np.log(2)))
    assert parkinson / returns.std(axis=1) == pytest.approx([1, 1, 1], abs=0.1)


def test_large_returns_are_more_frequent_than_a_normal_law_has_them(returns: np.ndarray) -> None:
    centred = returns - returns.mean(axis=1, keepdims=True)
    kurtosis = (centred**4).mean(axis=1) / (centred**2).mean(axis=1) ** 2
    assert (kurtosis > 4).all()
    assert (kurtosis < 25).all()


def test_volatility_clusters_and_returns_do_not(returns: np.ndarray) -> None:
    for line in returns[:2]:
        sizes = np.abs(line)
        assert np.corrcoef(sizes[:-1], sizes[1:])[0, 1] > 0.15
        assert np.corrcoef(sizes[:-24], sizes[24:])[0, 1] > 0.05
        assert abs(np.corrcoef(line[:-1], line[1:])[0, 1]) < 0.03


def test_volatilities_and_correlations_are_near_their_targets(returns: np.ndarray) -> None:
    annual = returns.std(axis=1) * np.sqrt(8_760)
    assert annual[:2] == pytest.approx([0.75, 0.55], rel=0.1)
    correlation = np.corrcoef(returns)
    assert correlation[0, 1] == pytest.approx(0.9 * 0.9, abs=0.15)
    assert abs(correlation[0, 2]) < 0.2


def test_jumps_come_for_the_market_and_for_single_factors() -> None:
    stream = Returns([ReturnModel(step_volatility=0.01, correlation=0.9)] * 2, seed=3)
    drawn = np.array([stream.next()[0] for _ in range(40_000)])
    large = np.abs(drawn) > 0.035
    assert large.sum() > 100
    assert large.all(axis=1).sum() > 20
    assert (large.sum(axis=1) == 1).sum() > 20


def test_a_stablecoin_stays_near_its_peg(history: HourlyHistory) -> None:
    closes = values(history.close)[2] / 1e12
    assert 0.97 < closes.min() < 0.9995
    assert 1.0005 < closes.max() < 1.03


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**128 - 1),
    hours=st.integers(1, 60),
    prices=st.lists(st.integers(10**6, 9 * 10**5 * WAD), min_size=1, max_size=4),
)
def test_any_seed_and_price_gives_a_well_formed_history(seed: int, hours: int, prices: list[int]) -> None:
    factors = [SimulatedFactor(factor=f"F{number}", price=Wad(price)) for number, price in enumerate(prices)]
    made = simulate_history(factors, hours=hours, seed=seed, first_hour=7_200)
    close, high, low = (values(column) for column in (made.close, made.high, made.low))
    assert close.shape == (len(prices), hours)
    assert ((low > 0) & (low <= close) & (close <= high)).all()
    assert close[:, -1].tolist() == [price // 10**6 for price in prices]


@pytest.mark.parametrize(
    ("factors", "hours", "message"),
    [
        (FACTORS, 0, "1 to"),
        ((), 24, "at least one factor"),
        ((FACTORS[0], FACTORS[0]), 24, "only once"),
        ((SimulatedFactor(factor="ETH", price=Wad(0)),), 24, "price of ETH"),
        ((SimulatedFactor(factor="ETH", price=Wad(10**8 * WAD)),), 24, "leaves the range"),
    ],
)
def test_what_no_history_can_hold_is_refused(factors: tuple[SimulatedFactor, ...], hours: int, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        simulate_history(factors, hours=hours, seed=1, first_hour=0)


def test_a_walk_begins_at_the_given_prices() -> None:
    walk = PriceWalk(FACTORS, seed=5, step_seconds=3_600)
    assert walk.prices() == {factor.factor: factor.price for factor in FACTORS}


def test_equal_seeds_walk_alike() -> None:
    one, two, other = (PriceWalk(FACTORS, seed=seed, step_seconds=60) for seed in (5, 5, 6))
    for _ in range(50):
        assert one.step() == two.step()
        other.step()
    assert one.prices() != other.prices()


def test_longer_steps_move_prices_further() -> None:
    def spread(step_seconds: float) -> float:
        walk = PriceWalk(FACTORS[:1], seed=5, step_seconds=step_seconds)
        prices = np.array([int(walk.step()["ETH"]) for _ in range(4_000)], dtype=float)
        return float(np.diff(np.log(prices)).std())

    assert spread(3_600) / spread(36) == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("step_seconds", [0, -1, float("nan")])
def test_a_step_without_length_is_refused(step_seconds: float) -> None:
    with pytest.raises(InvalidData, match="step_seconds"):
        PriceWalk(FACTORS, seed=1, step_seconds=step_seconds)
