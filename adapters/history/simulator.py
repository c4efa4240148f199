"""A simulated market: hourly history that ends at given prices, and prices that walk on from there.

The history it makes is marked simulated. It never enters a claim about real markets; it feeds the local demonstration
and tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import msgspec
import numpy as np
import numpy.typing as npt

from adapters.history.returns import Floats, ReturnModel, Returns
from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.instruments import FactorId
from riskschema.market import HISTORY_PRICE_DECIMALS, Group, HourlyHistory
from riskschema.units import Wad

HOURS_PER_YEAR = 8_760
SECONDS_PER_YEAR = HOURS_PER_YEAR * 3_600
MAX_HOURS = 50 * HOURS_PER_YEAR
PINS_PER_HOUR = 12
"""Prices inside an hour, between its first and last: high and low come from the extremes among them."""
CONTINUITY_SHIFT = 0.5826
"""-zeta(1/2)/sqrt(2 pi): how far, in deviations of one pin, the path between the pins goes beyond them on average."""
REVERSION_PER_YEAR = 0.7
PEG_REVERSION_PER_YEAR = 1_500.0
"""A stablecoin comes back to its peg within hours; other prices are pulled toward today's only over years."""
ANNUAL_VOLATILITY: dict[Group, float] = {"btc": 0.55, "eth": 0.75, "large": 0.95, "other": 1.10, "stablecoin": 0.03}
MARKET_CORRELATION: dict[Group, float] = {"btc": 0.9, "eth": 0.9, "large": 0.85, "other": 0.8, "stablecoin": 0.1}
_HISTORY_UNIT = 10 ** (18 - HISTORY_PRICE_DECIMALS)


class SimulatedFactor(msgspec.Struct, frozen=True, kw_only=True):
    """A factor to simulate; the group decides volatility and correlation."""

    factor: FactorId
    price: Wad
    """US dollars now: where a history ends and a walk begins."""
    group: Group = "other"


def simulate_history(factors: Sequence[SimulatedFactor], *, hours: int, seed: int, first_hour: int) -> HourlyHistory:
    """Make an hourly history whose last close is each factor's price, the same bytes on every machine.

    Args:
        factors: What to simulate, in the order of the history's lines.
        hours: Length; 26,280 are three years.
        seed: Not negative.
        first_hour: Unix time of the first hour's open, a multiple of 3,600.

    Raises:
        InvalidData: no hours or factors, a factor twice, or a price outside what a history holds.
    """
    if not 1 <= hours <= MAX_HOURS:
        raise InvalidData(f"a simulated history has 1 to {MAX_HOURS} hours, not {hours}", code="invalid_document")
    _require_factors(factors)
    stream = Returns(_models(factors, HOURS_PER_YEAR), seed)
    opens, closes, volatilities = _hourly_paths(factors, stream, hours)
    high, low = _extremes(stream, opens, closes, volatilities)
    columns = [_to_history(values, factors, closes[-1]) for values in (closes, high, low)]
    for factor, price, top, bottom in zip(factors, *(column[:, -1:] for column in columns), strict=True):
        price[0] = factor.price // _HISTORY_UNIT
        top[0], bottom[0] = max(top[0], price[0]), min(bottom[0], price[0])
    close, high_column, low_column = (_column(column) for column in columns)
    return HourlyHistory(
        first_hour=first_hour,
        factors=tuple(factor.factor for factor in factors),
        close=close,
        high=high_column,
        low=low_column,
        simulated=True,
    )


class PriceWalk:
    """Prices that walk on from given ones, step by step.

    Args:
        factors: What to simulate, with the prices to begin at.
        seed: Not negative.
        step_seconds: Market time that one step stands for; larger steps move prices further.

    Raises:
        InvalidData: a step or price that is not positive, or a factor twice.
    """

    def __init__(self, factors: Sequence[SimulatedFactor], *, seed: int, step_seconds: float) -> None:
        if not step_seconds > 0:
            raise InvalidData(f"step_seconds must be positive, got {step_seconds}", code="invalid_document")
        steps_per_year = SECONDS_PER_YEAR / step_seconds
        _require_factors(factors)
        self._factors = tuple(factors)
        self._stream = Returns(_models(factors, steps_per_year), seed)
        self._pulls = _pulls(factors, steps_per_year)
        self._relative = [1.0] * len(self._factors)

    def prices(self) -> dict[str, Wad]:
        """Return the current price of every factor, positive."""
        return {
            factor.factor: Wad(max(1, factor.price * round(level * 10**12) // 10**12))
            for factor, level in zip(self._factors, self._relative, strict=True)
        }

    def step(self) -> dict[str, Wad]:
        """Move on by one step; return the new prices."""
        returns, _ = self._stream.next()
        self._relative = _moved(self._relative, returns, self._pulls)
        return self.prices()


def _require_factors(factors: Sequence[SimulatedFactor]) -> None:
    if not factors or len({factor.factor for factor in factors}) != len(factors):
        raise InvalidData("the simulator needs at least one factor, and each only once", code="invalid_document")
    for factor in factors:
        if factor.price < _HISTORY_UNIT:
            raise InvalidData(
                f"simulated price of {factor.factor} must be at least 10^-{HISTORY_PRICE_DECIMALS} USD, "
                f"got {factor.price.wire()}",
                code="invalid_document",
            )


def _models(factors: Sequence[SimulatedFactor], steps_per_year: float) -> list[ReturnModel]:
    return [
        ReturnModel(
            step_volatility=ANNUAL_VOLATILITY[factor.group] / sqrt(steps_per_year),
            correlation=MARKET_CORRELATION[factor.group],
        )
        for factor in factors
    ]


def _pulls(factors: Sequence[SimulatedFactor], steps_per_year: float) -> list[float]:
    per_year = (PEG_REVERSION_PER_YEAR if factor.group == "stablecoin" else REVERSION_PER_YEAR for factor in factors)
    return [min(0.5, rate / steps_per_year) for rate in per_year]


def _moved(levels: Sequence[float], returns: Sequence[float], pulls: Sequence[float]) -> list[float]:
    """Apply one step's returns; without the pull to 1, prices would leave every range within a few years."""
    return [
        level * (1.0 + move) + pull * (1.0 - level) for level, move, pull in zip(levels, returns, pulls, strict=True)
    ]


def _hourly_paths(factors: Sequence[SimulatedFactor], stream: Returns, hours: int) -> tuple[Floats, Floats, Floats]:
    """Return opens, closes and volatilities (of the price, per hour), each of shape (hours, factors); first open 1."""
    pulls = _pulls(factors, HOURS_PER_YEAR)
    levels = [1.0] * len(factors)
    opens, closes, volatilities = [], [], []
    for _ in range(hours):
        returns, spread = stream.next()
        opens.append(levels)
        volatilities.append([level * volatility for level, volatility in zip(levels, spread, strict=True)])
        levels = _moved(levels, returns, pulls)
        closes.append(levels)
    return np.array(opens), np.array(closes), np.array(volatilities)


def _extremes(stream: Returns, opens: Floats, closes: Floats, volatilities: Floats) -> tuple[Floats, Floats]:
    """Return high and low of each hour: the extremes of a Brownian bridge from its open to its close.

    The bridge is drawn at a few pins; what it reaches between them is added on average (Broadie, Glasserman and Kou,
    "A continuity correction for discrete barrier options", 1997).
    """
    beyond = volatilities * (CONTINUITY_SHIFT / sqrt(PINS_PER_HOUR))
    steps = stream.normals(PINS_PER_HOUR, *opens.shape) * (volatilities / sqrt(PINS_PER_HOUR))
    walk = np.zeros_like(opens)
    ends = np.zeros_like(opens)
    for step in steps:
        ends = ends + step
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    for number, step in enumerate(steps, start=1):
        walk = walk + step
        share = number / PINS_PER_HOUR
        pin = opens + (closes - opens) * share + (walk - ends * share)
        high, low = np.maximum(high, pin + beyond), np.minimum(low, pin - beyond)
    # a pin far below a low price must not cross zero
    return high, np.maximum(low, np.minimum(opens, closes) * 0.5)


def _to_history(levels: Floats, factors: Sequence[SimulatedFactor], last: Floats) -> npt.NDArray[np.int64]:
    """Return levels as prices of shape (factors, hours) in 10^-12 USD, scaled so that the last close is the price."""
    scale = np.array([factor.price // _HISTORY_UNIT for factor in factors], dtype=np.float64) / last
    prices = np.rint(levels * scale)
    if not (np.all(prices >= 1) and np.all(prices < 2.0**63)):
        raise InvalidData(
            "a simulated price leaves the range of a history (10^-12 to 9.2 million USD)", code="invalid_document"
        )
    return np.ascontiguousarray(prices.astype(np.int64).T)


def _column(values: npt.NDArray[np.int64]) -> Column:
    return Column(dtype="int64", shape=values.shape, data=values.astype("<i8").tobytes())
