"""The models to beat are what they are called."""

import numpy as np
import pytest

from aggregator.parameters import load_parameters
from backtest.plain_models import PlainModels, touch_formula
from backtest.prices import Prices

PARAMETERS = load_parameters()


def prices(hours: int = 3_000) -> Prices:
    generator = np.random.default_rng(8)
    walk = np.exp(np.cumsum(0.01 * generator.standard_normal((1, hours)), axis=1))
    close = np.rint(walk * 1e14).astype(np.int64)
    return Prices(first_hour=0, factors=("ETH",), close=close, high=close, low=close)


def test_history_is_replayed_as_it_was_and_filtered_history_at_the_volatility_of_today() -> None:
    table = prices()
    models = PlainModels(table, PARAMETERS)
    found = models.forecasts(np.array([[1_000.0]]), [0], 0, 3_000)
    starts = models.blocks(0, 3_000)
    assert starts[-1] == 3_000 - 1 - 24
    moved = table.close[0, starts + 24] / table.close[0, starts]
    assert found.historical[0] == pytest.approx(-1_000.0 * (moved - 1.0))
    ratio = models.volatility[0, 2_999] / models.volatility[0, starts]
    assert found.filtered[0] == pytest.approx(-1_000.0 * (moved**ratio - 1.0))


def test_the_average_halves_in_its_half_life_and_never_jumps_beyond_the_cap() -> None:
    table = prices()
    models = PlainModels(table, PARAMETERS)
    close = table.close.copy()
    close[0, 2_000:] *= 3
    jumped = PlainModels(Prices(first_hour=0, factors=("ETH",), close=close, high=close, low=close), PARAMETERS)
    rise = jumped.volatility[0, 24:] / jumped.volatility[0, :-24]
    assert rise.max() == pytest.approx(PARAMETERS.volatility.daily_rise_cap)
    gap = jumped.volatility[0] ** 2 - models.volatility[0] ** 2
    assert gap[2_200] / gap[2_164] == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(("distance", "rising"), [(0.05, False), (0.08, True)])
def test_the_touch_formula_is_the_share_of_fine_walks_that_touch(distance: float, rising: bool) -> None:
    generator = np.random.default_rng(9)
    walks = np.cumsum(0.01 / np.sqrt(60) * generator.standard_normal((8_000, 24 * 60), dtype=np.float32), axis=1)
    touched = walks.max(axis=1) >= np.log1p(distance) if rising else walks.min(axis=1) <= np.log1p(-distance)
    assert touched.mean() == pytest.approx(touch_formula(distance, 0.01, rising=rising), abs=0.02)
