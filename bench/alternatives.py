"""Measure what was tried and not taken: a fitted hazard in place of the power law, and several scales per path.

Run: python bench/alternatives.py DATA_DIRECTORY WALK_FILE
WALK_FILE is what `bench/validation.py --keep` wrote. A hazard is a monotone recalibration of the probability, with and
without the regime, fitted on one half of the days and compared on the other. Scales multiply every block by each of
three factors of mean square 1, as if the forecast were one of three.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from adapters.history.matrices import read_matrices
from aggregator.parameters import load_parameters
from aggregator.scenarios.volatility import forecast_series
from backtest.losses import quantile_loss, value_at_risk
from backtest.plain_models import PlainModels
from backtest.population import group_of
from backtest.prices import HOUR, join
from backtest.resampling import mean_interval
from backtest.score import log_loss
from backtest.walk import SINGLE, Walk

Floats = NDArray[np.float64]
LEVEL = 0.99
SCALES = ((1.0,), (0.85, 1.0, 1.18), (0.7, 1.0, 1.43))
POWER_LAW = 0.0091
"""Below ten touches of 1,100 the power law decides."""


def hazard(walk: Walk, *, below: float, regimes: bool) -> None:
    places = walk.of_kinds(*SINGLE)
    chance = np.clip(walk.probability[:, places], 1e-4, 1 - 1e-6)
    happened, odds = walk.joint[:, places], np.log(chance / (1 - chance))
    level = np.broadcast_to((walk.volatility[:, None] > walk.past_quartiles).sum(axis=1)[:, None], chance.shape)
    half = len(walk.days) // 2
    parts = (slice(0, half), slice(half, len(walk.days)))

    def recalibrated(raw: Floats, part: slice) -> Floats:
        shift = raw[2] * (level[part] >= 1) + raw[3] * (level[part] >= 2) if regimes else 0.0
        return np.asarray(1 / (1 + np.exp(-(raw[0] + np.exp(raw[1]) * odds[part] + shift))))

    for fitted, tested in (parts, parts[::-1]):
        chosen = chance[fitted] < below
        found = minimize(
            lambda raw, fitted=fitted, chosen=chosen: float(
                log_loss(recalibrated(raw, fitted), happened[fitted])[chosen].mean()
            ),
            np.zeros(4),
            method="Nelder-Mead",
            options={"maxiter": 1_000, "fatol": 1e-9},
        ).x
        chosen = chance[tested] < below
        gain = log_loss(recalibrated(found, tested), happened[tested]) - log_loss(chance[tested], happened[tested])
        sums, counts = np.where(chosen, gain, 0.0).sum(axis=1), chosen.sum(axis=1).astype(np.float64)
        mean, low, high = mean_interval(sums, counts)
        name = f"hazard{' with regime' if regimes else ''}, probabilities below {below:g}"
        print(f"{name}: log loss {mean:+.5f} ({low:+.5f} to {high:+.5f}) on the half it was not fitted to")


def scales(folder: Path, days: Sequence[int]) -> None:
    prices, parameters = join(read_matrices(folder)), load_parameters()
    plain = PlainModels(prices, parameters)
    hours = [(day - prices.first_hour) // HOUR for day in days]
    begin = int((prices.close > 0).argmax(axis=1).min())
    places = prices.covered(begin, hours[-1] + 24)
    logs, volatility = plain.logs[places][:, begin:], []
    for place, line in zip(places, logs, strict=True):
        known = line[np.isfinite(line)]
        series = forecast_series(np.diff(known), group=group_of(prices.factors[place]), model=parameters.volatility)
        volatility.append(np.pad(np.append(series[0], series[1]), (0, line.size - known.size)))
    sigma = np.array(volatility)
    losses: dict[tuple[float, ...], list[Floats]] = {factors: [] for factors in SCALES}
    for hour in hours:
        starts = plain.blocks(begin, hour) - begin
        now = hour - begin - 1
        moves = (logs[:, starts + 24] - logs[:, starts]) / sigma[:, starts] * sigma[:, now][:, None]
        came = np.expm1(logs[:, now + 24] - logs[:, now])
        for factors in SCALES:
            unit = np.array(factors) / np.sqrt(np.mean(np.square(factors)))
            ends = np.expm1(np.concatenate([moves * factor for factor in unit], axis=1))
            quantile = np.concatenate([value_at_risk(-ends, LEVEL), value_at_risk(ends, LEVEL)])
            losses[factors].append(quantile_loss(np.concatenate([-came, came]), quantile, LEVEL))
    plainly = np.array(losses[SCALES[0]])
    for factors in SCALES[1:]:
        ratio = np.array(losses[factors]).mean() / plainly.mean()
        gain = (np.array(losses[factors]) - plainly).mean(axis=1) / plainly.mean()
        _, low, high = mean_interval(gain, np.ones(gain.size))
        print(f"scales {factors}: quantile loss {ratio - 1:+.3%} ({low:+.3%} to {high:+.3%})")


def main(folder: Path, file: Path) -> None:
    walk = pickle.loads(file.read_bytes())
    for below in (1.0, POWER_LAW):
        for regimes in (False, True):
            hazard(walk, below=below, regimes=regimes)
    scales(folder, walk.days)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("walk", type=Path)
    chosen = parser.parse_args()
    main(chosen.folder, chosen.walk)
