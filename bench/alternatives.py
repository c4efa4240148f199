"""Measure what was tried and not taken: a fitted hazard for the power law, several scales per path, more netting.

Run: python bench/alternatives.py DATA_DIRECTORY WALK_FILE
WALK_FILE is what `bench/validation.py --keep` wrote. A hazard is a monotone recalibration of the probability, with and
without the regime, fitted on one half of the days and compared on the other. Scales multiply every block by each of
three factors of mean square 1, as if the forecast were one of three. Netting: what the quantile loss would be if more
of what silos hedge in each other were credited, and if a silo that is liquidated stopped hedging in the label as well.
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
from backtest.losses import log_loss, quantile_loss, value_at_risk
from backtest.margin import ACROSS_SILOS, scale_to_rate
from backtest.outcomes import ratios, touched
from backtest.plain_models import PlainModels
from backtest.population import DOLLAR, Population, debt_value, exposures, group_of
from backtest.prices import HOUR, join
from backtest.resampling import mean_interval
from backtest.walk import SINGLE, Walk
from riskschema.codec import decode_json

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


def netting(folder: Path, walk: Walk) -> None:
    kinds = np.array([account.kind for account in walk.accounts])
    places = np.flatnonzero((kinds != "token") & np.isfinite(walk.loss).all(axis=0))
    across = kinds[places] == ACROSS_SILOS
    owners = [walk.silo_account == place for place in places]
    alone, shortfalls = (
        np.stack([values[:, owner].sum(axis=1) for owner in owners], axis=1)
        for values in (walk.silo_base, walk.silo_shortfall)
    )
    joint = walk.shortfall[:, places]
    named = {"unified base": walk.unified[:, places], "sum of silo bases": alone, "net base": walk.net[:, places]}
    named |= {
        f"shortfall, {credit:.0%} of netting credited": shortfalls - credit * (shortfalls - joint)
        for credit in (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    }
    constant = np.broadcast_to(walk.historical[0, places], joint.shape)
    standing = walk.loss[:, places]
    closed = closed_where_liquidated(folder, walk, places, across)
    for label, loss in (("hedges stand", standing), ("liquidated silos are closed", closed)):
        least = quantile_loss(loss, constant * scale_to_rate(loss, constant, 1 - LEVEL), LEVEL)
        for name, requirement in named.items():
            own = quantile_loss(loss, requirement * scale_to_rate(loss, requirement, 1 - LEVEL), LEVEL)
            parts = [own[:, part].mean() / least[:, part].mean() for part in (across | ~across, ~across, across)]
            print(f"{label}; {name}: over constant's {parts[0]:.3f}; others {parts[1]:.3f}; hedged {parts[2]:.3f}")


def closed_where_liquidated(folder: Path, walk: Walk, places: NDArray[np.int64], across: NDArray[np.bool_]) -> Floats:
    """Losses if silos that hedge each other are gone from where their venue liquidates them, without a bonus."""
    prices, loss = join(read_matrices(folder)), walk.loss[:, places].copy()
    file = folder / "populations" / "accounts.json"
    population = decode_json(file.read_bytes(), Population, what=str(file))
    for day, hour in enumerate(prices.hour(time) for time in walk.days):
        moved = ratios(prices, hour)
        for column in np.flatnonzero(across):
            total = 0.0
            for silo in walk.accounts[places[column]].silos:
                exposure = exposures(silo, population, prices.factors)
                long = set(silo.debt) == {DOLLAR}
                if touched(silo, population, moved, prices.factors).joint:
                    worth = population.collateral_usd if long else debt_value(silo, population)
                    total += worth * silo.distance
                else:
                    known = exposure != 0.0
                    total -= float(exposure[known] @ (moved.close[known, -1] - 1.0))
            loss[day, column] = total
    return loss


def main(folder: Path, file: Path) -> None:
    walk = pickle.loads(file.read_bytes())
    for below in (1.0, POWER_LAW):
        for regimes in (False, True):
            hazard(walk, below=below, regimes=regimes)
    scales(folder, walk.days)
    netting(folder, walk)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("walk", type=Path)
    chosen = parser.parse_args()
    main(chosen.folder, chosen.walk)
