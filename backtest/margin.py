"""`backtest margin`: does the requirement cover losses, for how much, and how steadily?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.parameters import Parameters
from backtest.engine import LEVEL
from backtest.losses import quantile_loss
from backtest.population import DIRECTIONAL
from backtest.report import Bar, Cell, Report, Table, date
from backtest.resampling import mean_interval
from backtest.walk import Walk

Floats = NDArray[np.float64]
RATE = 1.0 - LEVEL
MOVES = (1, 5, 30)
"""Days over which the largest rise is reported."""
CONSTANT = "constant, netted"
ACROSS_SILOS = "hedged"
"""Kind of the accounts whose silos hedge each other, which share no collateral."""


class _Models(NamedTuple):
    """Requirements per day and account of the population, dollars, whole series only."""

    loss: Floats
    named: dict[str, Floats]
    kinds: NDArray[np.str_]
    siloed: Floats
    """Sum of the silos' base requirements."""
    net: Floats
    """Base requirement if all silos shared their collateral."""


def margin_report(walk: Walk, parameters: Parameters) -> Report:
    """Count breaches, compare with static and constant requirements at equal breaches, and measure movement."""
    bars: list[Bar] = []
    models = _models(walk)
    tables = (
        _breaches(walk, bars),
        *_scaled(models, bars),
        _procyclicality(models, bars),
        _followed(walk, bars),
    )
    return Report(
        kind="margin",
        parameters_hash=str(parameters.hash),
        first_day=date(walk.days[0]),
        last_day=date(walk.days[-1]),
        days=len(walk.days),
        bars=tuple(bars),
        tables=tables,
    )


def _models(walk: Walk) -> _Models:
    kinds = np.array([account.kind for account in walk.accounts])
    places = np.flatnonzero((kinds != "token") & np.isfinite(walk.loss).all(axis=0))
    constant = np.broadcast_to(walk.historical[0, places], (len(walk.days), places.size))
    return _Models(
        walk.loss[:, places],
        {
            "unified base": walk.unified[:, places],
            "VaR99 alone": walk.value_at_risk[:, places],
            "ES99 alone": walk.shortfall[:, places],
            "static": walk.static[:, places],
            CONSTANT: constant,
            "EWMA-FHS": walk.filtered[:, places],
        },
        kinds[places],
        np.stack([walk.silo_base[:, walk.silo_account == place].sum(axis=1) for place in places], axis=1),
        walk.net[:, places],
    )


def _breaches(walk: Walk, bars: list[Bar]) -> Table:
    borrowers = np.array([account.kind != "token" for account in walk.accounts])
    silos = borrowers[walk.silo_account]
    rows = []
    for name, loss, requirement, least, most in (
        ("VaR99 per silo", walk.silo_loss[:, silos], walk.silo_value_at_risk[:, silos], 0.006, 0.016),
        ("ES99 per silo", walk.silo_loss[:, silos], walk.silo_shortfall[:, silos], 0.0015, 0.008),
        ("base per silo", walk.silo_loss[:, silos], walk.silo_base[:, silos], 0.0, 0.005),
        ("unified per account", walk.loss[:, borrowers], walk.unified[:, borrowers], 0.0, 0.005),
    ):
        known = np.isfinite(loss)
        breached = np.where(known, loss > requirement, 0.0)
        share, low, high = mean_interval(breached.sum(axis=1), known.sum(axis=1).astype(np.float64))
        rows.append((name, int(known.sum()), share, low, high, float(np.nanmean(requirement))))
        bar = f"between {least:.2%} and {most:.2%}" if least else f"at most {most:.2%}"
        bars.append(Bar(name=f"breaches of {name}", measured=share, bar=bar, holds=least <= share <= most))
    return Table(
        title="Share of days on which the loss is larger",
        columns=("requirement", "days", "breached", "2.5 %", "97.5 %", "mean, dollars"),
        rows=tuple(rows),
    )


def scale_to_rate(loss: Floats, requirement: Floats, rate: float) -> float:
    """Return the one factor on a requirement with which the pooled share `rate` of losses exceeds it."""
    ratios = np.sort((loss / np.maximum(requirement, 1e-9)).ravel())
    return float(ratios[min(int(np.ceil((1.0 - rate) * ratios.size)), ratios.size) - 1])


def _scaled(models: _Models, bars: list[Bar]) -> tuple[Table, Table]:
    scaled = {
        name: requirement * scale_to_rate(models.loss, requirement, RATE) for name, requirement in models.named.items()
    }
    losses = {name: quantile_loss(models.loss, values, LEVEL) for name, values in scaled.items()}
    directional = np.isin(models.kinds, sorted(DIRECTIONAL))
    rows: list[tuple[Cell, ...]] = []
    for name, requirement in models.named.items():
        values = scaled[name]
        halves = [
            float(values[:, half].mean() / scaled["static"][:, half].mean()) if half.any() else None
            for half in (directional, ~directional)
        ]
        rows.append(
            (
                name,
                float((values / np.maximum(requirement, 1e-9))[0, 0]),
                float(losses[name].mean()),
                float(losses[name].mean() / losses["static"].mean()),
                float(losses[name].mean() / losses[CONSTANT].mean()),
                *halves,
            )
        )
    for other in ("static", CONSTANT):
        found = float(losses["unified base"].mean() / losses[other].mean())
        bars.append(
            Bar(name=f"quantile loss over the {other} requirement's", measured=found, bar="≤ .9", holds=found <= 0.9)
        )
    return Table(
        title="Each model scaled once so that the pooled population breaches it on 1 % of days",
        columns=(
            "model",
            "scale",
            "quantile loss",
            "over static's",
            "over constant's",
            "directional over static",
            "hedged over static",
        ),
        rows=tuple(rows),
    ), _scaled_kinds(models, losses, bars)


def _scaled_kinds(models: _Models, losses: dict[str, Floats], bars: list[Bar]) -> Table:
    """Say at which kind of account each figure of the last table comes about, and what netting has to do with it."""
    for name, values in (("sum of silo bases", models.siloed), ("net base", models.net)):
        scaled = values * scale_to_rate(models.loss, values, RATE)
        losses = {**losses, name: quantile_loss(models.loss, scaled, LEVEL)}
    across = models.kinds == ACROSS_SILOS
    shown = {
        "all": np.ones(across.size, dtype=bool),
        "no hedge across silos": ~across,
        **{str(kind): models.kinds == kind for kind in dict.fromkeys(models.kinds.tolist())},
    }
    names = ("unified base", "sum of silo bases", "net base", "VaR99 alone", "ES99 alone", "EWMA-FHS")
    constant = losses[CONSTANT]
    rows: list[tuple[Cell, ...]] = []
    for kind, chosen in shown.items():
        if chosen.any():
            ratios = (float(losses[name][:, chosen].mean() / constant[:, chosen].mean()) for name in names)
            share = float(constant[:, chosen].sum() / constant.sum())
            rows.append((kind, int(chosen.sum()), share, *ratios))
    for what, name, chosen in (
        ("accounts without a hedge across silos", "unified base", ~across),
        ("the base netted as completely", "net base", across | ~across),
    ):
        if chosen.any():
            found = float(losses[name][:, chosen].mean() / constant[:, chosen].mean())
            named = f"quantile loss over the {CONSTANT} requirement's, {what}"
            bars.append(Bar(name=named, measured=found, bar="≤ .9", holds=found <= 0.9))
    return Table(
        title="The same, quantile loss over that of the constant, netted requirement, by kind of account",
        columns=("accounts", "number", "share of constant's loss", *names),
        rows=tuple(rows),
    )


def _procyclicality(models: _Models, bars: list[Bar]) -> Table:
    found = {}
    for name in ("unified base", "EWMA-FHS", "VaR99 alone"):
        values = np.maximum(models.named[name], 1e-9)
        rises = [
            float(np.median((values[days:] / values[:-days]).max(axis=0))) if values.shape[0] > days else float("nan")
            for days in MOVES
        ]
        found[name] = (float(np.median(values.max(axis=0) / values.min(axis=0))), *rises)
    for place, what in enumerate(("peak to trough", *(f"largest rise in {days} steps" for days in MOVES))):
        own, other = found["unified base"][place], found["EWMA-FHS"][place]
        bars.append(Bar(name=what, measured=own, bar=f"at most EWMA-FHS's {other:.2f}", holds=own <= other))
    return Table(
        title="Movement: median over the accounts",
        columns=("model", "peak to trough", *(f"largest rise in {days} steps" for days in MOVES)),
        rows=tuple((name, *values) for name, values in found.items()),
    )


def _followed(walk: Walk, bars: list[Bar]) -> Table:
    """What of the mean base would be gone without stress and floors, and how its changes go with the forecast's."""
    kinds = np.array([walk.accounts[place].kind for place in walk.silo_account])
    borrowers = (kinds != "token") & np.isfinite(walk.silo_base).any(axis=0)
    rows = []
    for kind in ("all", *dict.fromkeys(kinds[borrowers].tolist())):
        chosen = borrowers & ((kinds == kind) | (kind == "all"))
        base, following = walk.silo_base[:, chosen], walk.silo_following[:, chosen]
        fixed = float(1.0 - np.nanmean(following) / np.nanmean(base))
        rows.append(
            (kind, int(chosen.sum()), float(np.nanmean(base)), fixed, _slope(base, walk.silo_shortfall[:, chosen]))
        )
    bars.append(
        Bar(
            name="share of base that does not follow the forecast",
            measured=rows[0][3],
            bar="below .35",
            holds=rows[0][3] < 0.35,
        )
    )
    return Table(
        title=(
            "What of a silo's base does not follow the forecast (it would be gone without stress and floors), "
            "and by how many per cent it moves when the forecast shortfall moves by one"
        ),
        columns=("kind", "silos", "mean base", "does not follow", "moves by"),
        rows=tuple(rows),
    )


def _slope(base: Floats, shortfall: Floats) -> float | None:
    """Return the mean over silos of the regression slope of log base on log shortfall."""
    whole = np.isfinite(base).all(axis=0)
    if base.shape[0] < 3 or not whole.any():
        return None
    logs, other = np.log(base[:, whole]), np.log(shortfall[:, whole])
    apart = other - other.mean(axis=0)
    return float(((apart * logs).sum(axis=0) / np.maximum((apart**2).sum(axis=0), 1e-12)).mean())
