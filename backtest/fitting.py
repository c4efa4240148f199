"""Fit the volatility forecast: coefficients of its recursions, and the weights of their mixture out of sample.

Coefficients are fitted on the first part of every series and weights on the rest, which those have not seen; then the
coefficients are fitted again on everything. All by minimisation without derivatives from a fixed start: no draw, no
seed, and three digits do not depend on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.parameter_tables import Garch, Mixture, Realised
from aggregator.parameters import Parameters
from aggregator.scenarios.volatility import COMPONENTS, Recursions, components, recursions
from backtest.population import group_of
from backtest.prices import UNIT, Prices
from riskschema.errors import InvalidData
from riskschema.market import VOLATILE_GROUPS, Group

Floats = NDArray[np.float64]

FIRST_PART = 0.6
"""Share of each series on which the coefficients are fitted whose mixture the weights are fitted to."""
STEP_HOURS = 6
DAY, SETTLED = 24, 720
"""Forecasts count from the hour on in which every window is full."""
LEAST_HOURS = 4_000
TOWARD_EQUAL = 0.5
"""How far fitted weights go toward equal ones, which are hard to beat (Stock, Watson, 2004)."""
DIGITS = {"garch": 4, "realised": 3, "mixture": 3}
SMALLEST_VARIANCE = 1e-12
PRECISION = 1e-6
RESTARTS = 3


class FittedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs into the parameter file for one asset group."""

    group: Group
    factors: tuple[str, ...]
    hours: int
    garch: Garch
    realised: Realised
    mixture: Mixture
    quasi_likelihood: dict[str, float]
    """Of each component, and of the mixture, on the hours that the weights were fitted to."""


def fit(prices: Prices, parameters: Parameters, *, until: int | None = None) -> tuple[FittedGroup, ...]:
    """Fit every volatile group that has a factor with enough hours.

    Args:
        prices: All hours.
        parameters: Their half-lives are kept.
        until: Unix time at which to stop.

    Raises:
        InvalidData: no factor has enough hours, or SciPy is not installed.
    """
    end = prices.hours if until is None else min(prices.hours, prices.hour(until))
    series: dict[Group, dict[str, Floats]] = {}
    for place, factor in enumerate(prices.factors):
        closes = prices.close[place, :end]
        known = closes[closes > 0]
        if known.size > LEAST_HOURS:
            series.setdefault(group_of(factor), {})[factor] = np.diff(np.log(known / UNIT))
    found = tuple(_fit_group(group, series[group], parameters) for group in VOLATILE_GROUPS if group in series)
    if not found:
        raise InvalidData(f"no factor has {LEAST_HOURS:,} hours before the last day", code="invalid_document")
    return found


def _fit_group(group: Group, series: dict[str, Floats], parameters: Parameters) -> FittedGroup:
    base = recursions(parameters.volatility, group)
    whole = list(series.values())
    parts = [returns[: int(returns.size * FIRST_PART)] for returns in whole]
    early = _with(base, fit_garch(parts, base), fit_realised(parts, base))
    expected, realised = _pooled([_variances(returns, early, int(returns.size * FIRST_PART)) for returns in whole])
    weights = fit_mixture(expected, realised)
    losses = {name: quasi_likelihood(expected[:, place], realised) for place, name in enumerate(COMPONENTS)}
    mixed = quasi_likelihood(expected @ np.array(msgspec.structs.astuple(weights)), realised)
    return FittedGroup(
        group=group,
        factors=tuple(series),
        hours=sum(returns.size for returns in whole),
        garch=fit_garch(whole, base),
        realised=fit_realised(whole, base),
        mixture=weights,
        quasi_likelihood={**losses, "mixture": mixed},
    )


def as_toml(found: Sequence[FittedGroup]) -> str:
    """Return the tables of the parameter file that were fitted, without the groups that were not."""
    lines = []
    for table in ("mixture", "garch", "realised"):
        lines.append(f"[volatility.{table}]")
        for item in found:
            fields = msgspec.structs.asdict(getattr(item, table))
            lines.append(f"{item.group} = {{ {', '.join(f'{name} = {value}' for name, value in fields.items())} }}")
    return "\n".join(lines) + "\n"


def quasi_likelihood(expected: Floats, realised: Floats) -> float:
    """Return the mean of x/v - log(x/v) - 1: least, in expectation, at the true variance (Patton, 2011)."""
    ratio = np.maximum(realised, SMALLEST_VARIANCE) / np.maximum(expected, SMALLEST_VARIANCE)
    return float(np.mean(ratio - np.log(ratio) - 1.0))


def _minimum(objective: Callable[[Floats], float], start: Sequence[float] | Floats) -> Floats:
    """Return where `objective` is least, by Nelder and Mead's simplex (1965), begun anew where it stopped.

    Raises:
        InvalidData: SciPy is not installed.
    """
    try:
        from scipy.optimize import minimize  # noqa: PLC0415 - an optional dependency: only who fits needs it
    except ImportError as error:
        raise InvalidData("fitting needs SciPy: install plimsoll[fit]", code="invalid_settings") from error
    found = np.array(start, dtype=np.float64)
    for _ in range(RESTARTS):
        options = {"xatol": PRECISION, "fatol": PRECISION * 1e-3, "maxiter": 4_000, "adaptive": True}
        found = np.asarray(minimize(objective, found, method="Nelder-Mead", options=options).x)
    return found


def _column(returns: Floats, model: Recursions, place: int) -> Floats:
    result = np.empty((returns.size + 1, len(COMPONENTS)))
    components(returns, model, result)
    return result[:, place]


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if abs(value) < 500.0 else float(value > 0)


def fit_garch(series: Sequence[Floats], base: Recursions) -> Garch:
    """Return the coefficients of the greatest Student t likelihood of all returns together, degrees of freedom too."""
    settled = [returns for returns in series if returns.size > SETTLED]

    def negative(raw: Floats) -> float:
        persistence, share, skewed, freedom = *(_logistic(value) for value in raw[:3]), 2.05 + math.exp(min(raw[3], 9))
        model = base._replace(
            reach=1.0,  # the next hour's own variance
            alpha=persistence * share * (1.0 - skewed),
            gamma=2.0 * persistence * share * skewed,
            beta=persistence * (1.0 - share),
        )
        scale = math.lgamma((freedom + 1.0) / 2.0) - math.lgamma(freedom / 2.0) - 0.5 * math.log(freedom - 2.0)
        total, count = 0.0, 0
        for returns in settled:
            variance = np.maximum(_column(returns, model, 3)[SETTLED:-1], SMALLEST_VARIANCE)
            ratio = returns[SETTLED:] ** 2 / (variance * (freedom - 2.0))
            total += float(np.sum(scale - 0.5 * np.log(variance) - 0.5 * (freedom + 1.0) * np.log1p(ratio)))
            count += variance.size
        return -total / count

    raw = _minimum(negative, (5.0, -2.5, -2.5, 0.5))
    persistence, share, skewed = (_logistic(value) for value in raw[:3])
    digits = DIGITS["garch"]
    return Garch(
        alpha=round(persistence * share * (1.0 - skewed), digits),
        gamma=round(2.0 * persistence * share * skewed, digits),
        beta=round(persistence * (1.0 - share), digits),
    )


def fit_realised(series: Sequence[Floats], base: Recursions) -> Realised:
    """Return the coefficients, none negative, with the least quasi-likelihood loss of the next day's variance."""
    none = base._replace(level=0.0, day=0.0, week=0.0, month=0.0)
    alone = [
        none._replace(level=1.0),
        none._replace(day=1.0),
        none._replace(week=1.0),
        none._replace(month=1.0),
    ]
    parts = [
        sampled(np.stack([_column(returns, model, 4) for model in alone], axis=1), returns, SETTLED)
        for returns in series
        if returns.size > SETTLED + 2 * DAY
    ]
    expected, realised = _pooled(parts)
    raw = _minimum(
        lambda logs: quasi_likelihood(expected @ np.exp(np.minimum(logs, 5.0)), realised), np.log([0.1, 0.5, 0.2, 0.2])
    )
    return Realised(
        **{
            name: round(float(np.exp(value)), DIGITS["realised"])
            for name, value in zip(Realised.__struct_fields__, raw, strict=True)
        }
    )


def fit_mixture(expected: Floats, realised: Floats) -> Mixture:
    """Return the weights, sum 1, with the least quasi-likelihood loss, half of the way to equal ones.

    Columns of `expected` are the components.
    """

    def weights(raw: Floats) -> Floats:
        shares = np.exp(np.clip(raw - raw.max(), -50.0, 0.0))
        return np.asarray(shares / shares.sum())

    found = weights(
        _minimum(lambda raw: quasi_likelihood(expected @ weights(raw), realised), [0.0] * expected.shape[1])
    )
    shrunk = (1.0 - TOWARD_EQUAL) * found + TOWARD_EQUAL / found.size
    rounded = {name: round(float(share), DIGITS["mixture"]) for name, share in zip(COMPONENTS, shrunk, strict=True)}
    largest = max(rounded, key=lambda name: rounded[name])
    others = sum(share for name, share in rounded.items() if name != largest)
    return Mixture(**{**rounded, largest: round(1.0 - others, DIGITS["mixture"])})


def _with(base: Recursions, garch: Garch, realised: Realised) -> Recursions:
    persistence = garch.alpha + garch.gamma / 2.0 + garch.beta
    reach = sum(persistence**hour for hour in range(DAY)) / DAY
    changed = base._replace(reach=reach, alpha=garch.alpha, gamma=garch.gamma, beta=garch.beta)
    return changed._replace(level=realised.level, day=realised.day, week=realised.week, month=realised.month)


def _variances(returns: Floats, model: Recursions, begin: int) -> tuple[Floats, Floats]:
    result = np.empty((returns.size + 1, len(COMPONENTS)))
    components(returns, model, result)
    return sampled(result, returns, max(begin, SETTLED))


def sampled(expected: Floats, returns: Floats, begin: int) -> tuple[Floats, Floats]:
    """Return forecasts at every sixth hour, and the mean square of the 24 hours after each."""
    sums = np.concatenate([np.zeros(1), np.cumsum(returns**2)])
    hours = np.arange(begin, returns.size - DAY, STEP_HOURS)
    return expected[hours], (sums[hours + DAY] - sums[hours]) / DAY


def _pooled(parts: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
