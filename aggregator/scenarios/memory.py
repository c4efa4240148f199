"""What the model itself remembers between rounds: per factor the volatility recursion and the regime with hysteresis.

The agreed hourly table is kept, and committed to, by the agreement; this memory follows it hour by hour and travels
as a section of bytes in the state of a report. Everything else (forecasts with their cap, blocks, correlations) is
computed from the table in every round and needs no memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.exact.buffers import view64
from aggregator.exact.kernels import logarithms, power
from aggregator.parameter_tables import Regime
from aggregator.parameters import Parameters
from aggregator.scenarios.volatility import annual, hourly
from riskschema.codec import decode_json, encode_json
from riskschema.errors import InvalidData
from riskschema.instruments import FactorId, Timestamp
from riskschema.market import UNNAMED_GROUP, Group, HourlyHistory

HOUR = 3600
RegimeName = Literal["calm", "normal", "turbulent", "stressed"]
REGIMES: tuple[RegimeName, ...] = ("calm", "normal", "turbulent", "stressed")


class FactorMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One factor after the last hour taken in."""

    factor: FactorId
    variance: float
    """EWMA of squared hourly log returns; IEEE-exact, so its decimal form is the same everywhere."""
    regime: int
    """Place in REGIMES; 0 for assets without thresholds."""
    hours_below: int
    """Hours in a row below the level at which the regime is left."""


class MarketMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model's memory after a round."""

    until: Timestamp
    """End of the last hour taken in."""
    factors: tuple[FactorMemory, ...]
    """In the order of the history."""

    @property
    def regime(self) -> RegimeName:
        """The worst regime of the assets that make the market."""
        return REGIMES[max((item.regime for item in self.factors), default=0)]


def step_memory(
    parent: MarketMemory | None, history: HourlyHistory, groups: Mapping[str, Group], parameters: Parameters
) -> MarketMemory:
    """Take in the hours of the agreed table that the parent has not seen.

    The result depends only on the parent and on the new hours, so a node that computes it from the genesis history and
    one that continues from a certified state agree bit for bit.

    Args:
        parent: Memory of the parent report; None before the first round.
        history: The agreed table; it must reach back to the close of the parent's last hour.
        groups: Asset group per factor; ``other`` where it is not named.
        parameters: The parameter file.

    Raises:
        InvalidData: the table does not continue where the parent ends, or has other factors.
    """
    if parent is None:
        parent = _initial(history, groups, parameters)
    if tuple(item.factor for item in parent.factors) != history.factors:
        raise InvalidData("the hourly table has other factors than the parent's memory", code="foreign")
    known = (parent.until - history.first_hour) // HOUR
    if not 1 <= known <= history.hours and history.hours:
        raise InvalidData(f"the hourly table does not reach the parent's hour {parent.until}", code="stale")
    factors = tuple(
        _follow(item, view64(history.close)[index][known - 1 :], groups.get(item.factor, UNNAMED_GROUP), parameters)
        for index, item in enumerate(parent.factors)
    )
    return MarketMemory(until=history.first_hour + HOUR * history.hours, factors=factors)


def _initial(history: HourlyHistory, groups: Mapping[str, Group], parameters: Parameters) -> MarketMemory:
    """Start at the first hour's close with the group's default volatility."""
    factors = []
    for factor in history.factors:
        group = groups.get(factor, UNNAMED_GROUP)
        default = hourly(parameters.volatility.default_annual.of(group))
        regime = _level(default, group, parameters.regime)
        factors.append(FactorMemory(factor=factor, variance=default * default, regime=regime, hours_below=0))
    return MarketMemory(until=history.first_hour + HOUR * min(history.hours, 1), factors=tuple(factors))


def _follow(item: FactorMemory, closes: NDArray[np.int64], group: str, parameters: Parameters) -> FactorMemory:
    """Take in closes, the first of which is the last one known."""
    logs = logarithms(closes)
    decay = power(0.5, 1.0 / parameters.volatility.half_life_hours)
    for move in (logs[1:] - logs[:-1]).tolist():
        variance = decay * item.variance + (1.0 - decay) * move * move
        regime, below = _next_regime(item, math.sqrt(variance), group, parameters.regime)
        item = msgspec.structs.replace(item, variance=variance, regime=regime, hours_below=below)
    return item


def _thresholds(group: str, model: Regime) -> tuple[float, ...]:
    thresholds: tuple[float, ...] = getattr(model.thresholds, group, ())
    return thresholds


def _level(volatility: float, group: str, model: Regime) -> int:
    return sum(annual(volatility) >= threshold for threshold in _thresholds(group, model))


def _next_regime(item: FactorMemory, volatility: float, group: str, model: Regime) -> tuple[int, int]:
    """Rise at once; fall only after `leave_hours` in a row below `leave_below` of the regime's own threshold."""
    level = _level(volatility, group, model)
    if level >= item.regime:
        return level, 0
    thresholds = _thresholds(group, model)
    if item.regime > len(thresholds):  # the settings name another group since, which has no such regime
        return level, 0
    below = annual(volatility) < model.leave_below * thresholds[item.regime - 1]
    hours = item.hours_below + 1 if below else 0
    return (level, 0) if hours >= model.leave_hours else (item.regime, hours)


def encode_memory(memory: MarketMemory) -> bytes:
    """Return the canonical bytes: about 100 per factor, whatever the length of the table."""
    return encode_json(memory)


def decode_memory(document: bytes, *, what: str) -> MarketMemory:
    """Read a memory.

    Raises:
        InvalidData: malformed, not canonical, or with values no recursion has.
    """
    memory = decode_json(document, MarketMemory, what=what)
    if encode_memory(memory) != document:
        raise InvalidData(f"{what}: not in canonical form", code="malformed")
    for item in memory.factors:
        if not (0 <= item.regime < len(REGIMES) and item.variance >= 0.0 and item.hours_below >= 0):
            raise InvalidData(f"{what}: impossible memory of factor {item.factor!r}", code="malformed")
    return memory
