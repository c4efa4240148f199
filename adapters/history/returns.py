"""Random hourly returns that look like a market's: clustered volatility, jumps, correlation.

Every number is the same on every machine, because the bytes of a simulated history are hashed into the config digest.
The random bits come from PCG64, whose raw stream numpy guarantees (the streams of its distributions it does not, and
they call exp and log, which differ between CPUs). A normal variable is the sum of twelve uniform 16-bit integers
(Irwin-Hall: exact, kurtosis 2.9, ends at six standard deviations). After that there are only + - * / and sqrt, one
element at a time, which IEEE 754 fixes to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ARCH = 0.10
GARCH = 0.87
"""Weights of the last squared return and of the last variance: half-life of a shock 23 steps, finite kurtosis."""
VARIANCE_LIMIT = 60.0
MARKET_JUMPS_PER_STEP = 1 / 700
OWN_JUMPS_PER_STEP = 1 / 350
JUMP_SIZE = 5.0
"""Mean absolute size of a jump in standard deviations of a calm step."""
LARGEST_RETURN = 0.4
BLOCK = 2_048
_UNIFORMS = 12
_RAW_BITS = 64


class ReturnModel(msgspec.Struct, frozen=True, kw_only=True):
    """How one factor moves.

    `step_volatility` is the standard deviation of one step's return, jumps included; `correlation` is with a market
    factor common to all: two factors correlate by about the product of theirs.
    """

    step_volatility: float
    correlation: float


class Returns:
    """A stream of correlated returns with GARCH(1,1) volatility and jumps.

    Args:
        models: One per factor.
        seed: Not negative; equal seeds give equal streams on every machine.

    Volatility follows Bollerslev (1986), h' = (1 - a - b) + a·e² + b·h in units of the long-run variance; jumps come as
    in Merton (1976), with sizes between half and one and a half times `JUMP_SIZE`, market-wide or of one factor.
    """

    def __init__(self, models: Sequence[ReturnModel], seed: int) -> None:
        self._models = tuple(models)
        self._scales = [model.step_volatility / sqrt(_long_run_variance(model)) for model in models]
        self._bits = np.random.PCG64(seed)
        self._variance = [1.0] * len(models)
        self._shocks: list[list[float]] = []
        self._jumps: list[list[float]] = []

    def next(self) -> tuple[list[float], list[float]]:
        """Return the relative returns of the next step, and the volatilities (per step) they were drawn with."""
        if not self._shocks:
            self._shocks = self._draw_shocks().tolist()[::-1]
            self._jumps = self._draw_jumps().tolist()[::-1]
        returns, volatilities = [], []
        drawn = zip(self._scales, self._shocks.pop(), self._jumps.pop(), strict=True)
        for at, (scale, shock, jump) in enumerate(drawn):
            variance = self._variance[at]
            move = sqrt(variance) * shock + jump
            self._variance[at] = min(VARIANCE_LIMIT, 1.0 - ARCH - GARCH + ARCH * move * move + GARCH * variance)
            bounded = max(-LARGEST_RETURN, min(LARGEST_RETURN, scale * move))
            returns.append(bounded)
            volatilities.append(scale * sqrt(variance))
        return returns, volatilities

    def normals(self, *shape: int) -> Floats:
        """Return independent standard normal variables from the same stream of bits."""
        return _normals(self._bits, shape)

    def _draw_shocks(self) -> Floats:
        common = _normals(self._bits, (BLOCK, 1))
        own = _normals(self._bits, (BLOCK, len(self._models)))
        weights = np.array([model.correlation for model in self._models])
        rests = np.array([sqrt(1.0 - model.correlation * model.correlation) for model in self._models])
        drawn: Floats = common * weights + own * rests
        return drawn

    def _draw_jumps(self) -> Floats:
        everyone = self._jump_sizes(1, MARKET_JUMPS_PER_STEP)
        alone = self._jump_sizes(len(self._models), OWN_JUMPS_PER_STEP)
        weights = np.array([model.correlation for model in self._models])
        jumps: Floats = everyone * weights + alone
        return jumps

    def _jump_sizes(self, factors: int, per_step: float) -> Floats:
        happens = _uniforms(self._bits, (BLOCK, factors)) < per_step
        size = JUMP_SIZE * (0.5 + _uniforms(self._bits, (BLOCK, factors)))
        # falls outnumber rises three to two, as they do in crypto-assets
        sign = np.where(_uniforms(self._bits, (BLOCK, factors)) < 0.6, -1.0, 1.0)
        drawn: Floats = happens * size * sign
        return drawn


def _long_run_variance(model: ReturnModel) -> float:
    """Return the variance of a step in units of the calm variance: jumps add to it, and stir the volatility up."""
    squared_size = JUMP_SIZE * JUMP_SIZE * (1.0 + 1.0 / 12.0)
    per_step = MARKET_JUMPS_PER_STEP * model.correlation * model.correlation + OWN_JUMPS_PER_STEP
    jumps = squared_size * per_step
    return 1.0 + jumps + ARCH * jumps / (1.0 - ARCH - GARCH)


def _normals(bits: np.random.PCG64, shape: tuple[int, ...]) -> Floats:
    count = int(np.prod(shape))
    raw = bits.random_raw(count * _UNIFORMS * 16 // _RAW_BITS).astype("<u8").view("<u2").reshape(count, _UNIFORMS)
    total = np.zeros(count, dtype=np.int64)
    for column in range(_UNIFORMS):
        total += raw[:, column]
    # the variance of one is (2^32 - 1)/12: twelve of them have a standard deviation of 2^16, to nine digits
    return ((total - _UNIFORMS * 65_535 // 2) / 65_536.0).reshape(shape)


def _uniforms(bits: np.random.PCG64, shape: tuple[int, ...]) -> Floats:
    raw = bits.random_raw(int(np.prod(shape))) >> np.uint64(11)
    return (raw.astype(np.float64) / 2.0**53).reshape(shape)
