"""Correlation of the factors' block moves, and the two ways it breaks in a crisis."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.compilation import compiled
from aggregator.exact.kernels import power
from aggregator.parameter_tables import Correlation
from riskschema.market import GROUPS

Floats = NDArray[np.float64]

SWEEPS = 30
"""Of Jacobi rotations at most; ten are enough for a hundred factors."""
SMALLEST_REST = 1e-28
"""Squares off the diagonal, per factor, at which a matrix counts as diagonal."""
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
def rotate(matrix: Floats, vectors: Floats, p: int, q: int) -> None:
    """Turn the plane of two axes so that their off-diagonal element becomes 0 (Jacobi, 1846)."""
    theta = (matrix[q, q] - matrix[p, p]) / (2.0 * matrix[p, q])
    tangent = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
    if theta < 0.0:
        tangent = -tangent
    cosine = 1.0 / math.sqrt(tangent * tangent + 1.0)
    sine = tangent * cosine
    for k in range(matrix.shape[0]):
        first, second = matrix[k, p], matrix[k, q]
        matrix[k, p], matrix[k, q] = cosine * first - sine * second, sine * first + cosine * second
    for k in range(matrix.shape[0]):
        first, second = matrix[p, k], matrix[q, k]
        matrix[p, k], matrix[q, k] = cosine * first - sine * second, sine * first + cosine * second
        first, second = vectors[k, p], vectors[k, q]
        vectors[k, p], vectors[k, q] = cosine * first - sine * second, sine * first + cosine * second


@compiled
def eigensystem(matrix: Floats, vectors: Floats) -> None:
    """Leave the eigenvalues of a symmetric matrix on its diagonal, and write the eigenvectors as columns.

    Cyclic Jacobi rotations: only + - x / and roots, in one order, so the bits are the same on every CPU.
    """
    size = matrix.shape[0]
    for _ in range(SWEEPS):
        rest = 0.0
        for p in range(size):
            for q in range(p + 1, size):
                rest += matrix[p, q] * matrix[p, q]
        if rest <= SMALLEST_REST * size:
            return
        for p in range(size):
            for q in range(p + 1, size):
                if matrix[p, q] != 0.0:
                    rotate(matrix, vectors, p, q)


@compiled
def powered(vectors: Floats, scales: Floats) -> Floats:
    """Return V·diag(scales)·Vᵀ, sums in index order."""
    size = vectors.shape[0]
    result = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            for k in range(size):
                result[i, j] += vectors[i, k] * scales[k] * vectors[j, k]
    return result


@compiled
def applied(matrix: Floats, right: Floats) -> Floats:
    """Return matrix·right, sums in index order."""
    result = np.zeros_like(right)
    for i in range(matrix.shape[0]):
        for k in range(matrix.shape[0]):
            for column in range(right.shape[1]):
                result[i, column] += matrix[i, k] * right[k, column]
    return result


def symmetric_root(matrix: Floats, smallest: float, *, inverse: bool = False) -> Floats:
    """Return the symmetric root of a correlation matrix, or its inverse: no factor comes before another in it.

    Args:
        matrix: Symmetric, positive semidefinite.
        smallest: Eigenvalues below are raised to this: two copies of an asset stay invertible.
        inverse: Whether the inverse is wanted.
    """
    values, vectors = matrix.copy(), np.eye(matrix.shape[0])
    eigensystem(values, vectors)
    roots = np.sqrt(np.maximum(np.diagonal(values), smallest))
    return powered(vectors, 1.0 / roots if inverse else roots)


def toward_target(moves: Floats, model: Correlation) -> Floats:
    """Return the moves as they would be if correlations went toward the target: z' = S_target·S_fit⁻¹·z.

    S is the symmetric root, so the result does not depend on the order of the factors.

    Args:
        moves: Standardised end-of-block moves, shape (factors, blocks).
        model: The `correlation` parameters.
    """
    if moves.shape[0] < 2:
        return moves.copy()
    matrix, deviations = fitted(moves, model)
    target = np.full_like(matrix, model.target)
    np.fill_diagonal(target, 1.0)
    stressed = (1.0 - model.toward) * matrix + model.toward * np.maximum(matrix, target)
    since = symmetric_root(matrix, model.smallest_eigenvalue, inverse=True)
    unit = applied(since, np.ascontiguousarray(moves / deviations[:, None]))
    return applied(symmetric_root(stressed, model.smallest_eigenvalue), unit) * deviations[:, None]


def block_broken(moves: Floats, groups: list[str]) -> Floats:
    """Return the moves with each asset group's blocks taken from other dates, at a fixed rotation per group.

    A wrapped or staked token is in the group of its underlying, so it stays with it.
    """
    blocks = moves.shape[1]
    result = np.empty_like(moves)
    for index, group in enumerate(groups):
        result[index] = np.roll(moves[index], GROUPS.index(group) * (blocks // len(GROUPS)))
    return result
