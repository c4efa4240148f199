"""What the engine must beat: history without a forecast, an exponential average alone, and the formula of a touch.

Written in plain numpy and for linear positions only, so that they share nothing with the engine.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.parameters import Parameters
from backtest.prices import UNIT, Prices

Floats = NDArray[np.float64]
HALF_LIFE_HOURS = 36
"""Of the exponential average: J. P. Morgan's RiskMetrics (1996) at an hour's step, as the first engine had it."""


class PlainForecasts(msgspec.Struct, frozen=True, kw_only=True):
    """Losses of linear exposures at the ends of past blocks, shape (positions, blocks)."""

    historical: Floats
    """As they were."""
    filtered: Floats
    """Standardised by the exponential average at their start and rescaled by today's."""


class PlainModels:
    """Keeps what all days share: logarithms of closes, and the volatility known at each hour."""

    def __init__(self, prices: Prices, parameters: Parameters) -> None:
        """Follow every factor once, from its first price on."""
        with np.errstate(divide="ignore"):
            self.logs = np.log(prices.close / UNIT)
        self.volatility = capped_average(self.logs, parameters)
        self._parameters = parameters

    def blocks(self, begin: int, end: int) -> NDArray[np.int64]:
        """Return the first hours of the blocks that the engine replays of the hours `begin` to before `end`."""
        paths = self._parameters.paths
        held = (end - begin - 1 - self._parameters.volatility.warm_up_hours - 24) // paths.stride_hours + 1
        ends = end - 1 - paths.stride_hours * np.arange(min(held, paths.maximum_blocks))[::-1]
        return np.asarray(ends - 24)

    def forecasts(self, exposures: Floats, places: list[int], begin: int, end: int) -> PlainForecasts:
        """Return the losses of `exposures` (positions, factors) as of the close before hour `end`."""
        starts = self.blocks(begin, end)
        logs, volatility = self.logs[places], self.volatility[places]
        moves = logs[:, starts + 24] - logs[:, starts]
        scaled = moves / volatility[:, starts] * volatility[:, end - 1][:, None]
        return PlainForecasts(
            historical=-(exposures @ np.expm1(moves)),
            filtered=-(exposures @ np.expm1(scaled)),
        )


def capped_average(logs: Floats, parameters: Parameters) -> Floats:
    """Return the volatility per √hour known at each close: exponentially averaged squares, their daily rise capped."""
    model = parameters.volatility
    decay = 0.5 ** (1.0 / HALF_LIFE_HOURS)
    found = np.full_like(logs, np.nan)
    for line, series in enumerate(logs):
        known = np.flatnonzero(np.isfinite(series))
        moves = np.diff(series[known])
        variance = float(np.mean(moves[: model.warm_up_hours] ** 2))
        levels = np.empty(known.size)
        for hour in range(known.size):
            if hour:
                variance = decay * variance + (1.0 - decay) * float(moves[hour - 1]) ** 2
            levels[hour] = math.sqrt(variance)
            if hour >= 24:
                levels[hour] = min(levels[hour], model.daily_rise_cap * levels[hour - 24])
        found[line, known] = levels
    return found


def touch_formula(distance: float, volatility: float, *, rising: bool) -> float:
    """Return the probability that a driftless Brownian logarithm goes as far within 24 hours (reflection principle).

    Args:
        distance: Relative fall, or rise.
        volatility: Per √hour.
        rising: Whether it is a rise.
    """
    barrier = math.log1p(distance) if rising else -math.log1p(-distance)
    return math.erfc(barrier / (volatility * math.sqrt(24.0)) / math.sqrt(2.0))
