"""Young tokens: what the engine says of assets that begin later than the table, and what they did.

Run: python -m bench.validation DATA_DIRECTORY --only young [--thin N]
Before a token's first hour in the table it is beta x ether + noise of its own; its volatility is its group's until its
own hours outweigh that. For every such token accounts that are long and short at seven distances; days from its first
day in the table on. Beside the engine the formula of a touch with the token's own short average.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.history.matrices import read_matrices
from aggregator.parameters import Parameters
from backtest.engine import forecast
from backtest.losses import area_under_curve, brier, calibration_error, log_loss
from backtest.outcomes import account_touched, ratios
from backtest.plain_models import PlainModels, touch_formula
from backtest.population import DOLLAR, Account, Pledge, Population, exposures, group_of, portfolio
from backtest.prices import HOUR, Prices, join
from backtest.report import Bar, Cell, Table
from backtest.resampling import mean_interval
from backtest.score import EDGES
from riskschema.market import FactorQuote, MarketState
from riskschema.units import Wad

Floats = NDArray[np.float64]
DISTANCES = (0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.4)
AGES = ((0, 30), (30, 90), (90, 180), (180, 365), (365, 10_000))
"""Days since the first hour in the table."""
FEWEST_HOURS = 168
"""From here on a token's own average has seen no hour of the future: it starts at the mean of as many."""
WAD_OF_UNIT = 10**6


class Young(msgspec.Struct, frozen=True, kw_only=True):
    """One row per account and day, in the order of the days."""

    days: NDArray[np.int64]
    age: NDArray[np.int64]
    probability: Floats
    formula: Floats
    touched: Floats
    loss: Floats
    base: Floats


def population(tokens: list[str]) -> Population:
    sides = [({name: 1.0}, {DOLLAR: 1.0}, "long") for name in tokens] + [
        ({DOLLAR: 1.0}, {name: 1.0}, "short") for name in tokens
    ]
    accounts = tuple(
        Account(
            name=f"{side}-{next(iter({**held, **owed}.keys() - {DOLLAR}))}-{distance}",
            kind="long" if side == "long" else "short",
            silos=(Pledge(collateral=held, debt=owed, distance=distance),),
        )
        for held, owed, side in sides
        for distance in DISTANCES
    )
    return Population(collateral_usd=20_000.0, threshold=0.8, accounts=accounts)


def market(prices: Prices, places: list[int], young: list[int], begin: int, hour: int) -> MarketState:
    quotes = tuple(
        FactorQuote(
            factor=prices.factors[place],
            price=Wad(int(prices.close[place, hour - 1]) * WAD_OF_UNIT),
            group=group_of(prices.factors[place]),
        )
        for place in sorted(places + young)
    )
    history = prices.history(sorted(places + young), begin, hour)
    return MarketState(as_of=prices.first_hour + HOUR * hour, quotes=quotes, history=history)


def walk(prices: Prices, parameters: Parameters, days: range) -> Young:
    """Assess the accounts of every token that has prices but no history, day by day."""
    plain, since = PlainModels(prices, parameters), (prices.close > 0).argmax(axis=1)
    rows: list[tuple[float, ...]] = []
    for day in days:
        hour = prices.hour(day)
        begin = max(int(since.min()), hour - parameters.history_window_hours)
        covered = prices.covered(begin, hour + 24)
        young = sorted(set(prices.covered(hour - 1, hour + 24)) - set(covered))
        if not young:
            continue
        state, held = market(prices, covered, young, begin, hour), population([prices.factors[p] for p in young])
        quoted = {quote.factor: quote.price for quote in state.quotes}
        portfolios = [portfolio(place, account, held, quoted) for place, account in enumerate(held.accounts)]
        found = forecast(portfolios, state, parameters)
        moved = ratios(prices, hour)
        for place, account in enumerate(held.accounts):
            silo = account.silos[0]
            exposure = exposures(silo, held, prices.factors)
            token = int(np.flatnonzero(exposure)[0])
            age, formula = hour - int(since[token]), float("nan")
            if age >= FEWEST_HOURS:
                level = float(plain.volatility[token, hour - 1])
                formula = touch_formula(silo.distance, level, rising=account.kind == "short")
            seen = account_touched(account, held, moved, prices.factors).joint
            loss = -exposure[token] * (moved.close[token, -1] - 1.0)
            rows.append(
                (day, age // 24, float(found.probability[place]), formula, seen, loss, float(found.base[place]))
            )
    columns = np.array(rows, dtype=np.float64).T
    return Young(
        days=columns[0].astype(np.int64),
        age=columns[1].astype(np.int64),
        **dict(zip(("probability", "formula", "touched", "loss", "base"), columns[2:], strict=True)),
    )


def by_day(young: Young, values: Floats, chosen: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return a mean with its interval by blocks of days."""
    _, place = np.unique(young.days, return_inverse=True)
    counts = np.bincount(place[chosen], minlength=place.max() + 1).astype(np.float64)
    sums = np.bincount(place[chosen], weights=values[chosen], minlength=counts.size).astype(np.float64)
    return mean_interval(sums, counts)


def summary(young: Young, chosen: NDArray[np.bool_]) -> tuple[Cell, ...]:
    said, seen = young.probability[chosen], young.touched[chosen]
    formula = young.formula[chosen]
    both = np.isfinite(formula)
    apart = log_loss(said[both], seen[both]) - log_loss(formula[both], seen[both])
    return (
        int(chosen.sum()),
        float(said.mean()),
        float(seen.mean()),
        float(seen.mean() / said.mean()),
        calibration_error(said, seen, EDGES[1:-1]),
        float(brier(said, seen).mean()),
        float(log_loss(said, seen).mean()),
        float(log_loss(formula[both], seen[both]).mean()) if both.any() else None,
        float(apart.mean()) if both.any() else None,
        area_under_curve(said, seen),
        float((young.loss[chosen] > young.base[chosen]).mean()),
    )


COLUMNS = (
    "account days",
    "predicted",
    "observed",
    "ratio",
    "ECE",
    "Brier",
    "log loss",
    "formula's log loss",
    "difference, same days",
    "AUC",
    "loss above base",
)


def tables(young: Young) -> tuple[tuple[Bar, ...], tuple[Table, ...]]:
    """Return what must hold, and the figures by age and by predicted probability."""
    every = np.ones(young.age.size, dtype=bool)
    whole = summary(young, every)
    bins = np.searchsorted(np.array(EDGES[1:-1]), young.probability, side="left")
    rows: list[tuple[Cell, ...]] = []
    bars = []
    for number, (low, high) in enumerate(itertools.pairwise(EDGES)):
        chosen = bins == number
        if not chosen.any():
            continue
        said, (seen, least, most) = float(young.probability[chosen].mean()), by_day(young, young.touched, chosen)
        days = int(np.unique(young.days[chosen & (young.touched > 0.5)]).size)
        rows.append((f"{low:g} to {high:g}", int(chosen.sum()), days, said, seen, least, most, seen / said))
        bars.append(
            Bar(
                name=f"observed over predicted, from {low:g} to {high:g}",
                measured=seen / said,
                bar="between .67 and 1.5",
                holds=0.67 <= seen / said <= 1.5 if days >= 60 else None,
            )
        )
    error, breached = float(whole[4] or 0.0), float(whole[10] or 0.0)
    bars.append(Bar(name="expected calibration error", measured=error, bar="≤ .01", holds=error <= 0.01))
    bars.append(Bar(name="losses above base", measured=breached, bar="≤ .005", holds=breached <= 0.005))
    ages = [
        (
            f"{low} to {high - 1} days" if high < 10_000 else f"{low} days or more",
            (young.age >= low) & (young.age < high),
        )
        for low, high in AGES
    ]
    return tuple(bars), (
        Table(
            title="Accounts of tokens without history, by days since their first hour in the table",
            columns=("age", *COLUMNS),
            rows=(("all", *whole), *((name, *summary(young, chosen)) for name, chosen in ages if chosen.any())),
        ),
        Table(
            title="The same by predicted probability; interval of the observed share by blocks of days",
            columns=("predicted", "account days", "days with a hit", "mean", "observed", "2.5 %", "97.5 %", "ratio"),
            rows=tuple(rows),
        ),
    )


def measured(
    folder: Path, days: range, parameters: Parameters
) -> tuple[tuple[int, ...], tuple[Bar, ...], tuple[Table, ...]]:
    """Return the days, what must hold and the tables."""
    young = walk(join(read_matrices(folder)), parameters, days)
    return tuple(np.unique(young.days).tolist()), *tables(young)
