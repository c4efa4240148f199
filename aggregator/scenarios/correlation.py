"""Correlation of the factors' block moves, and the two ways it breaks in a crisis."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled
from aggregator.exact.kernels import power
from aggregator.parameters import Correlation
from riskschema.market import GROUPS

Floats = NDArray[np.float64]

SMALLEST_POSITIVE = 1e-300
"""Keeps a factor that never moved from dividing by zero; no real move is as small."""


def _ordered_sum(values: Floats) -> Floats:
    """Sum along the last axis strictly from left to right: the same bits whatever the vector width."""
    return np.asarray(np.cumsum(values, axis=-1)[..., -1])


@compiled
def faded_products(moves: Floats, fades: Floats, result: Floats) -> None:
    """Write Σ fade·move_i·move_j of every two lines of `moves`, summed in order."""
    for i in range(moves.shape[0]):
        for j in range(i + 1):
            total = 0.0
            for block in range(moves.shape[1]):
                total += fades[block] * (moves[i, block] * moves[j, block])
            result[i, j] = total
            result[j, i] = total


def fitted(moves: Floats, model: Correlation) -> tuple[Floats, Floats]:
    """Return the shrunk correlation matrix and the standard deviations of daily moves about zero.

    A block counts half as much as one `half_life_days` later; shrinkage goes toward the mean correlation (Ledoit,
    Wolf, 2003).

    Args:
        moves: Shape (factors, blocks), oldest block first.
        model: The `correlation` parameters.
    """
    count, blocks = moves.shape
    fade = power(0.5, 1.0 / model.half_life_days)
    fades = np.cumprod(np.full(blocks, fade))[::-1]
    products = np.empty((count, count))
    faded_products(np.ascontiguousarray(moves), fades, products)
    deviations = np.sqrt(np.maximum(np.diagonal(products), SMALLEST_POSITIVE))
    correlation = np.clip(products / deviations[:, None] / deviations[None, :], -1.0, 1.0)
    pairs = [float(correlation[i, j]) for i in range(count) for j in range(i)]
    mean = min(max(sum(pairs) / len(pairs), 0.0), model.largest_mean) if pairs else 0.0
    shrunk = (1.0 - model.shrinkage) * correlation + model.shrinkage * mean
    np.fill_diagonal(shrunk, 1.0)
    return shrunk, deviations / math.sqrt(float(_ordered_sum(fades)))


@compiled
def cholesky(matrix: Floats, smallest: float, replaced: float) -> Floats:
    """Return the lower triangular factor by Cholesky-Banachiewicz, sums in index order.

    Args:
        matrix: Symmetric, positive semidefinite.
        smallest: A pivot (before its root) up to here belongs to a factor that is a copy of an earlier one.
        replaced: What such a pivot becomes, so that the factor stays invertible.
    """
    size = matrix.shape[0]
    lower = np.zeros_like(matrix)
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            if i == j:
                lower[i, i] = math.sqrt(rest) if rest > smallest else replaced
            else:
                lower[i, j] = rest / lower[j, j]
    return lower


def _solve(lower: Floats, right: Floats) -> Floats:
    """Solve lower·x = right by forward substitution, column vectors in the last axis."""
    result = np.empty_like(right)
    for i in range(lower.shape[0]):
        rest = right[i].copy()
        for k in range(i):
            rest -= lower[i, k] * result[k]
        result[i] = rest / lower[i, i]
    return result


def _multiply(lower: Floats, right: Floats) -> Floats:
    result = np.zeros_like(right)
    for i in range(lower.shape[0]):
        for k in range(i + 1):
            result[i] += lower[i, k] * right[k]
    return result


def toward_target(moves: Floats, groups: list[str], model: Correlation) -> Floats:
    """Return the moves as they would be if correlations went toward the target: z' = L_target·L_fit⁻¹·z.

    Stablecoins keep their own moves: they do not join a sell-off.

    Args:
        moves: Standardised end-of-block moves, shape (factors, blocks).
        groups: Asset group per factor.
        model: The `correlation` parameters.
    """
    chosen = [index for index, group in enumerate(groups) if group != "stablecoin"]
    result = moves.copy()
    if len(chosen) < 2:
        return result
    part = moves[chosen]
    matrix, deviations = fitted(part, model)
    target = np.full_like(matrix, model.target)
    np.fill_diagonal(target, 1.0)
    stressed = (1.0 - model.toward) * matrix + model.toward * np.maximum(matrix, target)
    unit = part / deviations[:, None]
    to, since = (cholesky(each, model.smallest_pivot, model.replaced_pivot) for each in (stressed, matrix))
    moved = _multiply(to, _solve(since, unit))
    result[chosen] = moved * deviations[:, None]
    return result


def block_broken(moves: Floats, groups: list[str]) -> Floats:
    """Return the moves with each asset group's blocks taken from other dates, at a fixed rotation per group.

    A wrapped or staked token is in the group of its underlying, so it stays with it.
    """
    blocks = moves.shape[1]
    result = np.empty_like(moves)
    for index, group in enumerate(groups):
        result[index] = np.roll(moves[index], GROUPS.index(group) * (blocks // len(GROUPS)))
    return result
