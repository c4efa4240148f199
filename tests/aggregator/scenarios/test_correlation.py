"""Correlation and its two stressed variants."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import scipy.linalg

from aggregator.scenarios import correlation
from aggregator.scenarios.correlation import block_broken, fitted, symmetric_root, toward_target


def correlated(rho: float, blocks: int = 4000) -> np.ndarray:
    random = np.random.default_rng(5)
    common, own = random.normal(size=blocks), random.normal(size=(3, blocks))
    return np.sqrt(rho) * common + np.sqrt(1 - rho) * own


def test_the_symmetric_root_squares_to_the_matrix_and_equals_scipys(parameters) -> None:
    matrix, _ = fitted(correlated(0.5), parameters.correlation)
    root = symmetric_root(matrix, 1e-9)
    assert root @ root == pytest.approx(matrix, abs=1e-12)
    assert root == pytest.approx(np.real(scipy.linalg.sqrtm(matrix)), abs=1e-12)
    assert root == pytest.approx(root.T, abs=1e-15)
    assert root @ symmetric_root(matrix, 1e-9, inverse=True) == pytest.approx(np.eye(3), abs=1e-12)


def test_the_eigensystem_equals_its_plain_twin_and_numpys(parameters) -> None:
    matrix, _ = fitted(correlated(0.5), parameters.correlation)
    results = []
    for kernel in (correlation.eigensystem, correlation.eigensystem.py_func):
        values, vectors = matrix.copy(), np.eye(3)
        kernel(values, vectors)
        results.append((np.diagonal(values).tobytes(), vectors.tobytes()))
        assert np.sort(np.diagonal(values)) == pytest.approx(np.linalg.eigvalsh(matrix), abs=1e-12)
    assert results[0] == results[1]


def test_a_copy_of_a_factor_does_not_break_the_root() -> None:
    assert np.isfinite(symmetric_root(np.ones((3, 3)), 1e-6, inverse=True)).all()


def test_the_order_of_factors_does_not_matter(parameters) -> None:
    """Triangular roots moved expected shortfall by -7 to +10 %."""
    random = np.random.default_rng(9)
    moves = random.normal(size=(12, 12)) @ random.standard_t(4, size=(12, 500))
    found = toward_target(moves, parameters.correlation)
    for _ in range(5):
        order = random.permutation(12)
        assert toward_target(moves[order], parameters.correlation) == pytest.approx(found[order], rel=1e-9, abs=1e-9)


def test_the_fit_finds_the_correlation_and_shrinks_to_the_mean(parameters) -> None:
    matrix, deviations = fitted(np.tile(correlated(0.5), (1, 3)), parameters.correlation)
    assert matrix[0, 1] == pytest.approx(0.5, abs=0.25)
    assert deviations == pytest.approx(np.ones(3), abs=0.4)
    assert (np.diagonal(matrix) == 1).all()


def test_shrinkage_goes_toward_the_mean_of_all_pairs(parameters) -> None:
    moves = np.array([[1.0, 1, 1, 1], [1, 1, 1, -1], [1, 1, -1, -1]])
    even = msgspec.structs.replace(parameters.correlation, half_life_days=1e12, shrinkage=0.25)
    matrix, _ = fitted(moves, even)
    # the pairs have 1/2, 0 and 1/2; their mean is 1/3, a quarter of which is 1/12
    first_second, first_third, second_third = 11 / 24, 2 / 24, 11 / 24
    expected = [[1, first_second, first_third], [first_second, 1, second_third], [first_third, second_third, 1]]
    assert matrix == pytest.approx(np.array(expected), abs=1e-9)


def test_one_factor_alone_has_nothing_to_correlate_with(parameters) -> None:
    moves = correlated(0.5)[:1]
    matrix, _ = fitted(moves, parameters.correlation)
    assert matrix.tolist() == [[1.0]]
    assert toward_target(moves, parameters.correlation).tobytes() == moves.tobytes()


def test_stressed_moves_are_more_correlated_and_as_large(parameters) -> None:
    moves = correlated(0.2)
    stressed = toward_target(moves, parameters.correlation)
    before, after = np.asarray(np.corrcoef(moves))[0, 1], np.asarray(np.corrcoef(stressed))[0, 1]
    assert after > before + 0.15
    assert stressed.std(axis=1) == pytest.approx(moves.std(axis=1), rel=0.15)


def test_broken_blocks_keep_groups_together_and_lose_the_rest() -> None:
    moves = correlated(0.9)
    broken = block_broken(moves, ["btc", "eth", "eth"])
    assert np.corrcoef(broken[1], broken[2])[0, 1] > 0.8
    assert abs(np.corrcoef(broken[0], broken[1])[0, 1]) < 0.1
    assert np.sort(broken[1]).tobytes() == np.sort(moves[1]).tobytes()
