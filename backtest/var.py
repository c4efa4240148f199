"""`backtest var`: does the engine's distribution of one day's losses hold what it says?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.parameters import Parameters
from backtest.coverage import CHI_SQUARE_95, coverage, shortfall_statistic, simulated_shortfall
from backtest.engine import LEVEL
from backtest.losses import quantile_loss
from backtest.report import Bar, Report, Table, date
from backtest.resampling import perfect_shares
from backtest.walk import Walk

Floats = NDArray[np.float64]
RATE = 1.0 - LEVEL
SIMULATIONS = 2_000
SIGNIFICANCE = 0.05
TESTS = ("Kupiec", "independence", "Z2")


class _Passed(NamedTuple):
    violations: Floats
    tests: NDArray[np.bool_]
    """Shape (3, series)."""
    critical: Floats


def whole_series(walk: Walk) -> NDArray[np.int64]:
    """Return the places of the accounts that have a forecast and an outcome on every day."""
    return np.flatnonzero(np.isfinite(walk.loss).all(axis=0) & np.isfinite(walk.value_at_risk).all(axis=0))


def var_report(walk: Walk, parameters: Parameters) -> Report:
    """Test the 99 % quantile and the expected shortfall of every portfolio, two-sided, against a perfect model's."""
    places = whole_series(walk)
    loss, quantile = walk.loss[:, places], walk.value_at_risk[:, places]
    passed = _tests(loss, quantile, walk.shortfall[:, places], walk.tails[:, places].astype(np.float64))
    perfect = perfect_shares(
        loss / np.maximum(quantile, 1e-9), walk.tails[:, places].astype(np.float64), passed.critical, RATE
    )
    least = np.quantile(perfect, SIGNIFICANCE, axis=0)
    losses = {
        name: quantile_loss(loss, forecast[:, places], LEVEL).mean(axis=0)
        for name, forecast in (
            ("engine", walk.value_at_risk),
            ("historical", walk.historical),
            ("filtered", walk.filtered),
        )
    }
    against = float(losses["engine"].mean() / losses["historical"].mean())
    bars = [
        Bar(
            name=f"share of portfolios passing {name}",
            measured=float(passed.tests[row].mean()),
            bar=f"at least {least[row]:.3f}, what a perfect model reaches in 95 % of resamples",
            holds=bool(passed.tests[row].mean() >= least[row]),
        )
        for row, name in enumerate(TESTS)
    ]
    bars.append(
        Bar(
            name="quantile loss over plain historical simulation's",
            measured=against,
            bar="below 1",
            holds=against < 1.0,
        )
    )
    return Report(
        kind="var",
        parameters_hash=str(parameters.hash),
        first_day=date(walk.days[0]),
        last_day=date(walk.days[-1]),
        days=len(walk.days),
        bars=tuple(bars),
        tables=(_by_kind(walk, places, passed, losses), _by_model(walk, places)),
    )


def _tests(loss: Floats, quantile: Floats, shortfall: Floats, tails: Floats) -> _Passed:
    violated = loss > quantile
    found = coverage(violated, RATE)
    statistic = shortfall_statistic(loss, violated, shortfall, RATE)
    ones = np.ones(loss.shape[0])
    critical = np.array(
        [
            np.quantile(simulated_shortfall(tails[:, series], ones, RATE, SIMULATIONS, series), SIGNIFICANCE)
            for series in range(loss.shape[1])
        ]
    )
    tests = np.stack(
        [found.kupiec <= CHI_SQUARE_95, found.independence <= CHI_SQUARE_95, statistic >= critical], axis=0
    )
    return _Passed(found.violations / found.days, tests, critical)


def _by_kind(walk: Walk, places: NDArray[np.int64], passed: _Passed, losses: dict[str, Floats]) -> Table:
    kinds = np.array([walk.accounts[place].kind for place in places])
    rows = []
    for kind in ("all", *dict.fromkeys(kinds.tolist())):
        chosen = np.ones(kinds.size, dtype=bool) if kind == "all" else kinds == kind
        engine = float(losses["engine"][chosen].mean())
        rows.append(
            (
                kind,
                int(chosen.sum()),
                float(passed.violations[chosen].mean()),
                *(float(passed.tests[row][chosen].mean()) for row in range(len(TESTS))),
                engine / float(losses["historical"][chosen].mean()),
                engine / float(losses["filtered"][chosen].mean()),
            )
        )
    return Table(
        title="By kind: violations of the 99 % quantile, shares passing, quantile loss over that of others",
        columns=("portfolios", "number", "violations", *TESTS, "loss/historical", "loss/EWMA-FHS"),
        rows=tuple(rows),
    )


def _by_model(walk: Walk, places: NDArray[np.int64]) -> Table:
    rows = []
    for name, forecast in (
        ("engine", walk.value_at_risk),
        ("plain historical", walk.historical),
        ("EWMA-FHS", walk.filtered),
    ):
        quantile = forecast[:, places]
        found = coverage(walk.loss[:, places] > quantile, RATE)
        rows.append(
            (
                name,
                float(found.violations.mean() / found.days),
                float((found.kupiec <= CHI_SQUARE_95).mean()),
                float((found.independence <= CHI_SQUARE_95).mean()),
                float(quantile.mean()),
                float(quantile_loss(walk.loss[:, places], quantile, LEVEL).mean()),
            )
        )
    return Table(
        title="By model, all portfolios; dollars of a silo with 20,000 of collateral",
        columns=("model", "violations", "Kupiec", "independence", "mean quantile", "mean quantile loss"),
        rows=tuple(rows),
    )
