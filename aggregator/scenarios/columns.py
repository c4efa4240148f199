"""The scenario columns: how every factor moves in each of them."""

from __future__ import annotations

import math
from collections.abc import Collection

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.exact.kernels import exp_each
from aggregator.parameter_tables import Grid
from aggregator.parameters import Parameters
from aggregator.scenarios.blocks import FactorBlocks, implied_volatility
from aggregator.scenarios.correlation import block_broken, toward_target
from riskschema.instruments import PEG_KINDS
from riskschema.market import VOLATILE_GROUPS

Floats = NDArray[np.float64]

HOURS = 24
PATH_COLUMNS = HOURS * 3
"""Of one path: low, high and close of each hour."""
SETS = 4


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """A set of columns; every array has one element per column."""

    ratios: dict[str, Floats]
    """Per factor as in `Legs`: price over the price now; of a peg, the peg over the peg now."""
    volatilities: dict[str, float]
    """Per factor: annual volatility now."""
    hours: Floats
    """Hours from now."""
    volatility_shock: Floats
    """Relative shock of a 30-day volatility: +.5 is half as much again."""
    skew: Floats
    """Relative change of volatility per unit of strike/forward - 1."""
    far: Floats
    """Move to which options are priced where it is farther than the column's own; 0 where there is none."""
    closes: dict[str, Floats]
    """Per factor: shape (blocks, 24), price over the price now at the close of each hour."""
    along_paths: bool
    """True for path columns (three per hour), False for block ends."""

    @property
    def count(self) -> int:
        """Number of columns."""
        return self.hours.size

    def beyond(self, factor: str) -> Floats:
        """Return the ratios of `factor` at which options are priced: in the tails, as far as these lie."""
        line, far = self.ratios[factor], 1.0 + self.far
        tail = ((far < 1.0) & (line < 1.0)) | ((far > 1.0) & (line > 1.0))
        return np.where(tail, np.where(far < 1.0, np.minimum(line, far), np.maximum(line, far)), line)

    def settled(self, factor: str, hour: int) -> Floats:
        """Return the ratios of `factor` as they stay from the close of `hour` on (1 to 24): what an expiry settles at.

        Of the block ends only the fitted set knows its hours; the three stressed sets settle at the day's end.
        """
        line = self.ratios[factor].copy()
        closes = self.closes[factor]
        blocks = closes.shape[0]
        if self.along_paths:
            line[1:].reshape(blocks, HOURS, 3)[:, hour - 1 :, :] = closes[:, hour - 1][:, None, None]
        else:
            start = line.size - SETS * blocks
            line[start : start + blocks] = closes[:, hour - 1]
        return line


class MarketColumns(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of market rows and of rule rows, with the names of those that have one."""

    market: Columns
    paths: Columns
    grid: tuple[str, ...]
    stress: tuple[str, ...]
    blocks: int


class _Scenario(msgspec.Struct, frozen=True):
    name: str
    moves: tuple[float, ...]
    volatility: float = 0.0
    skew: float = 0.0
    far: float = 0.0


def build_columns(factors: list[FactorBlocks], needed: Collection[str], parameters: Parameters) -> MarketColumns:
    """Return the columns of the needed factors.

    Args:
        factors: Every factor of the market, sorted by name: correlations are among all of them, whoever holds what.
        needed: Names of those that rows ask for.
        parameters: The parameter file.
    """
    grid = _grid(factors, parameters)
    stress = [
        _Scenario(crisis.name, tuple(crisis.of(item.peg or item.group) for item in factors))
        for crisis in parameters.stress.crises
    ]
    # What a wrong answer costs is no move of the market: a silo loses it (`margin/wrong_answers.py`).
    stress += [
        _Scenario(f"oracle {move:+.2%}", tuple(0.0 for _ in factors)) for move in parameters.oracles.wrong_answers
    ]
    blocks = factors[0].standardised.shape[0] if factors else parameters.paths.maximum_blocks
    asked = [item for item in factors if item.name in needed]
    paths = _path_columns(asked, blocks, parameters.paths.largest_log_move)
    return MarketColumns(
        market=_market_columns(factors, grid + stress, blocks, paths, parameters),
        paths=paths,
        grid=tuple(item.name for item in grid),
        stress=tuple(item.name for item in stress),
        blocks=blocks,
    )


def scenario_range(item: FactorBlocks, grid: Grid) -> float:
    """Return the range R of a factor, no peg: z standard deviations of a day, at least a share of the long-run ones."""
    return grid.z * max(item.forecast, grid.long_run_share * item.long_run) * math.sqrt(HOURS)


def moves_alone(item: FactorBlocks, parameters: Parameters) -> tuple[float, float]:
    """Return how far a factor falls and rises alone: by its range, a peg by its kind's largest breaks or to parity."""
    if item.peg is not None:
        moves = (*parameters.pegs.of(item.peg).breaks, 1.0 / item.level - 1.0)
        return min(*moves, 0.0), max(*moves, 0.0)
    reach = scenario_range(item, parameters.grid)
    return -min(reach, parameters.grid.largest_fall), reach


def alone_columns(factors: list[FactorBlocks], parameters: Parameters) -> Columns:
    """Return columns in which one factor alone falls, or rises, as far as it may, and nothing else happens.

    Two per factor after the base, in their order: an account asks only for those of the factors it is exposed to.
    """
    count = 1 + 2 * len(factors)
    ratios = {}
    for index, item in enumerate(factors):
        line = np.ones(count)
        line[1 + 2 * index : 3 + 2 * index] = [1.0 + move for move in moves_alone(item, parameters)]
        ratios[item.name] = line
    zeros = np.zeros(count)
    return Columns(
        ratios=ratios,
        volatilities={item.name: implied_volatility(item) for item in factors},
        hours=zeros,
        volatility_shock=zeros,
        skew=zeros,
        far=zeros,
        closes=dict.fromkeys(ratios, np.ones((0, HOURS))),
        along_paths=False,
    )


def _grid(factors: list[FactorBlocks], parameters: Parameters) -> list[_Scenario]:
    """Return joint moves, far tails, groups against each other, broken pegs, skew. Pegs break, they do not drift."""
    grid = parameters.grid
    ranges = [scenario_range(item, grid) if item.peg is None else 0.0 for item in factors]
    none = tuple(0.0 for _ in factors)
    up, down, lowest = grid.volatility_up, -grid.volatility_down, -grid.largest_fall

    def moved(share: float) -> tuple[float, ...]:
        return tuple(max(share * reach, lowest) for reach in ranges)

    scenarios = [
        _Scenario(f"joint {share:+.2f} R, volatility {word}", moved(share), volatility=shock)
        for share in (move / grid.joint_parts for move in grid.joint_moves)
        for word, shock in (("same", 0.0), ("up", up), ("down", down))
    ]
    for move in grid.tail_moves:  # by their range, and options by a share of a farther move: see `Columns.far`
        sign = math.copysign(1.0, move)
        name = f"tail {sign:+.0f} R, options {move:+.0%}"
        scenarios.append(_Scenario(name, moved(sign), volatility=up, far=move))
    for group in VOLATILE_GROUPS:
        against = tuple(
            max(-reach, lowest) if item.group == group else reach / grid.against_others_divisor
            for reach, item in zip(ranges, factors, strict=True)
        )
        scenarios.append(_Scenario(f"{group} against the others", against))
    for kind in PEG_KINDS:
        for move in parameters.pegs.of(kind).breaks:
            broken = tuple(move if item.peg == kind else 0.0 for item in factors)
            scenarios.append(_Scenario(f"{kind} pegs {move:+.0%}", broken))
    scenarios += [_Scenario(f"skew {skew:+.2f}", none, skew=skew) for skew in (grid.skew, -grid.skew)]
    return scenarios


def _exponential(values: Floats, scale: float, largest: float) -> Floats:
    reach = largest / scale
    flat = np.clip(values, -reach, reach).reshape(-1)
    result = np.empty_like(flat)
    exp_each(flat, scale, result)
    return result.reshape(values.shape)


def _market_columns(
    factors: list[FactorBlocks],
    scenarios: list[_Scenario],
    blocks: int,
    paths: Columns,
    parameters: Parameters,
) -> Columns:
    named, count = len(scenarios), 1 + len(scenarios) + SETS * blocks
    ratios: dict[str, Floats] = {}
    if factors:
        ends = np.stack([item.standardised[:, -1, 2] for item in factors])
        free = [index for index, item in enumerate(factors) if item.peg is None]
        stressed = ends.copy()  # pegs keep their own moves: they do not join a sell-off
        stressed[free] = toward_target(ends[free], parameters.correlation)
        broken = block_broken(ends, [item.group for item in factors])
    for index, item in enumerate(factors):
        if item.name not in paths.ratios:  # nobody asks for it
            continue
        line = np.ones(count)
        line[1 : 1 + named] = [1.0 + scenario.moves[index] for scenario in scenarios]
        sets = line[1 + named :].reshape(SETS, blocks)
        for place, (moves, scale) in enumerate(
            (
                (ends[index], item.forecast),
                (stressed[index], item.forecast),
                (broken[index], item.forecast),
                (ends[index], item.long_run),
            )
        ):
            sets[place] = _exponential(moves, scale, parameters.paths.largest_log_move)
        ratios[item.name] = line
    hours = np.full(count, float(HOURS))
    hours[0] = 0.0
    return Columns(
        ratios=ratios,
        volatilities=paths.volatilities,
        hours=hours,
        volatility_shock=_named(scenarios, count, "volatility"),
        skew=_named(scenarios, count, "skew"),
        far=_named(scenarios, count, "far"),
        closes=paths.closes,
        along_paths=False,
    )


def _named(scenarios: list[_Scenario], count: int, field: str) -> Floats:
    line = np.zeros(count)
    line[1 : 1 + len(scenarios)] = [getattr(scenario, field) for scenario in scenarios]
    return line


def _path_columns(factors: list[FactorBlocks], blocks: int, largest: float) -> Columns:
    count = 1 + blocks * PATH_COLUMNS
    ratios: dict[str, Floats] = {}
    for item in factors:
        line = np.ones(count)
        line[1:] = _exponential(item.standardised, item.forecast, largest).reshape(-1)
        ratios[item.name] = line
    hours = np.zeros(count)
    hours[1:] = np.tile(np.repeat(np.arange(1.0, HOURS + 1), 3), blocks)
    zeros = np.zeros(count)
    return Columns(
        ratios=ratios,
        volatilities={item.name: implied_volatility(item) for item in factors},
        hours=hours,
        volatility_shock=zeros,
        skew=zeros,
        far=zeros,
        closes={name: line[1:].reshape(blocks, HOURS, 3)[:, :, 2] for name, line in ratios.items()},
        along_paths=True,
    )
