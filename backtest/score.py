"""`backtest score`: are liquidations as frequent as the engine says?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aggregator.parameters import Parameters
from backtest.losses import area_under_curve, brier, calibration_error, log_loss
from backtest.report import Bar, Cell, Report, Table, date
from backtest.resampling import mean_interval
from backtest.walk import SINGLE, Walk

Floats = NDArray[np.float64]
EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Of the bins: half decades, as the score has them."""
LEAST_DAYS_WITH_A_HIT = 60
LEAST_DAYS_OF_A_REGIME = 100
CRISES = (
    ("2022-05-05", "2022-05-13"),
    ("2022-06-10", "2022-06-19"),
    ("2022-11-07", "2022-11-11"),
    ("2023-03-09", "2023-03-12"),
    ("2023-08-17", "2023-08-18"),
    ("2024-08-02", "2024-08-06"),
    ("2025-02-01", "2025-02-04"),
)
"""First and last days of what people call crises: picked because they were bad, so every forecast looks low on them."""
REGIMES = ("calm", "normal", "turbulent", "stressed")


def score_report(walk: Walk, parameters: Parameters) -> Report:
    """Compare probabilities with what happened."""
    single = walk.of_kinds(*SINGLE)
    bars: list[Bar] = []
    tables = [
        _reliability(walk, single, bars),
        _log_loss(walk, single, bars),
        _pairs(walk, bars),
        _regimes(walk, single, bars),
        _crises(walk, single),
        _kinds(walk),
    ]
    return Report(
        kind="score",
        parameters_hash=str(parameters.hash),
        first_day=date(walk.days[0]),
        last_day=date(walk.days[-1]),
        days=len(walk.days),
        bars=tuple(bars),
        tables=tuple(tables),
    )


def bin_of(probability: Floats) -> NDArray[np.int64]:
    """Return the number of each probability's bin; an edge belongs to the bin below it."""
    return np.asarray(np.searchsorted(np.array(EDGES[1:-1]), probability, side="left"))


def _sums(values: Floats, chosen: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return per day the sum and the number of the chosen values."""
    return np.where(chosen, values, 0.0).sum(axis=1), chosen.sum(axis=1).astype(np.float64)


def _mean(values: Floats, chosen: NDArray[np.bool_]) -> tuple[float, float, float]:
    return mean_interval(*_sums(values, chosen & np.isfinite(values)))


def _reliability(walk: Walk, places: NDArray[np.int64], bars: list[Bar]) -> Table:
    predicted, happened = walk.probability[:, places], walk.joint[:, places]
    known = np.isfinite(predicted)
    bins, rows = bin_of(predicted), []
    for number, (low, high) in enumerate(pairwise(EDGES)):
        chosen = known & (bins == number)
        if not chosen.any():
            continue
        said, seen = float(predicted[chosen].mean()), float(happened[chosen].mean())
        _, least, most = _mean(happened, chosen)
        days = int((np.where(chosen, happened, 0.0).sum(axis=1) > 0).sum())
        ratio, count = seen / said, int(chosen.sum())
        rows.append((f"{low:g} to {high:g}", count, days, said, seen, least, most, ratio))
        if days >= LEAST_DAYS_WITH_A_HIT:
            name = f"observed over predicted, single factor, from {low:g} to {high:g}"
            bars.append(Bar(name=name, measured=ratio, bar="between .67 and 1.5", holds=0.67 <= ratio <= 1.5))
    gap = calibration_error(predicted[known], happened[known], EDGES[1:-1])
    bars.append(Bar(name="expected calibration error, single factor", measured=gap, bar="≤ .01", holds=gap <= 0.01))
    return Table(
        title="Accounts with one factor, by predicted probability; interval of the observed share by blocks of days",
        columns=("predicted", "account days", "days with a hit", "mean", "observed", "2.5 %", "97.5 %", "ratio"),
        rows=tuple(rows),
    )


def _log_loss(walk: Walk, places: NDArray[np.int64], bars: list[Bar]) -> Table:
    happened = walk.joint[:, places]
    own = log_loss(walk.probability[:, places], happened)
    known = np.isfinite(own)

    def others(forecast: Floats) -> tuple[Cell, Cell]:
        said, seen = forecast[:, places][known], happened[known]
        return float(brier(said, seen).mean()), area_under_curve(said, seen)

    rows: list[tuple[Cell, ...]] = [("engine", float(own[known].mean()), None, None, None, *others(walk.probability))]
    for name, other in (("touch formula", walk.formula), ("climate", walk.climate)):
        losses = log_loss(other[:, places], happened)
        mean, low, high = _mean(own - losses, known)
        rows.append((name, float(losses[known].mean()), mean, low, high, *others(other)))
        bars.append(
            Bar(
                name=f"log loss less that of the {name}, single factor",
                measured=f"{mean:.4f} ({low:.4f} to {high:.4f})",
                bar="interval below 0",
                holds=high < 0.0,
            )
        )
    return Table(
        title=(
            "Accounts with one factor: log loss, the engine's less that of the other, with interval; mean squared "
            "error (Brier); chance that who was touched had the higher probability (AUC)"
        ),
        columns=("forecast", "log loss", "difference", "2.5 %", "97.5 %", "Brier", "AUC"),
        rows=tuple(rows),
    )


def _pairs(walk: Walk, bars: list[Bar]) -> Table:
    places = walk.of_kinds("pair")
    predicted = walk.probability[:, places]
    joint, apart = walk.joint[:, places], walk.apart[:, places]
    known, bins = np.isfinite(predicted), bin_of(np.nan_to_num(predicted))
    rows = []
    for number in range(-1, len(EDGES) - 1):
        chosen = known if number < 0 else known & (bins == number)
        if not chosen.any():
            continue
        name = "all" if number < 0 else f"{EDGES[number]:g} to {EDGES[number + 1]:g}"
        low, said, high = (float(values[chosen].mean()) for values in (joint, predicted, apart))
        rows.append((name, int(chosen.sum()), low, said, high))
        if number < 0:
            measured = f"{low:.4f} ≤ {said:.4f} ≤ {high:.4f}"
            bars.append(Bar(name="pairs", measured=measured, bar="between the two labels", holds=low <= said <= high))
    return Table(
        title="Pairs: observed with all prices at the low (or high) of one hour, and with each at its own worst",
        columns=("predicted", "account days", "observed, together", "mean predicted", "observed, apart"),
        rows=tuple(rows),
    )


def _regimes(walk: Walk, places: NDArray[np.int64], bars: list[Bar]) -> Table:
    regime = (walk.volatility[:, None] > walk.past_quartiles).sum(axis=1)
    error = walk.probability[:, places] - walk.joint[:, places]
    formula = walk.formula[:, places] - walk.joint[:, places]
    rows = []
    for number, name in enumerate(REGIMES):
        chosen = np.isfinite(error) & (regime == number)[:, None]
        days = int((regime == number).sum())
        if not days:
            continue
        bias, low, high = _mean(error, chosen)
        allowed = max(0.01, (high - low) / 1.96)
        other = _mean(formula, chosen)[0]
        rows.append((name, days, bias, low, high, other))
        bars.append(
            Bar(
                name=f"bias in the {name} quarter of the past year's volatility",
                measured=bias,
                bar=f"at most {allowed:.4f} in size",
                holds=abs(bias) <= allowed if days >= LEAST_DAYS_OF_A_REGIME else None,
            )
        )
    return Table(
        title="Predicted less observed by regime, known at the start of the day from quartiles of the year before",
        columns=("regime", "days", "bias", "2.5 %", "97.5 %", "bias of the touch formula"),
        rows=tuple(rows),
    )


def _crises(walk: Walk, places: NDArray[np.int64]) -> Table:
    dates = np.array(walk.days, dtype="datetime64[s]")
    picked = np.zeros(dates.size, dtype=bool)
    for first, last in CRISES:
        picked |= (dates >= np.datetime64(first)) & (dates <= np.datetime64(last))
    rows: list[tuple[Cell, ...]] = []
    for name, forecast in (("engine", walk.probability), ("touch formula", walk.formula)):
        if picked.any():
            error = (walk.joint - forecast)[picked][:, places]
            rows.append((name, int(picked.sum()), *_mean(error, np.isfinite(error))))
    return Table(
        title="Days of crises, picked afterwards and therefore biased for every forecast: observed less predicted",
        columns=("forecast", "days", "mean", "2.5 %", "97.5 %"),
        rows=tuple(rows),
    )


def _kinds(walk: Walk) -> Table:
    rows = []
    for kind in dict.fromkeys(account.kind for account in walk.accounts if account.kind != "token"):
        places = walk.of_kinds(kind)
        said, seen, apart = walk.probability[:, places], walk.joint[:, places], walk.apart[:, places]
        known = np.isfinite(said)
        loss = float(log_loss(said, seen)[known].mean())
        rows.append((kind, int(known.sum()), *(float(each[known].mean()) for each in (said, seen, apart)), loss))
    return Table(
        title="By kind of account",
        columns=("kind", "account days", "predicted", "observed, together", "observed, apart", "log loss"),
        rows=tuple(rows),
    )
