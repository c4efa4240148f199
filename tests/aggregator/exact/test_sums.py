"""Two-limb sums against Python's own big integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.exact import sums
from aggregator.exact.units import ACCOUNT_LOTS_BITS, MANTISSA_LIMIT

LOTS = st.integers(-(2**ACCOUNT_LOTS_BITS), 2**ACCOUNT_LOTS_BITS)
MANTISSAS = st.integers(-MANTISSA_LIMIT, MANTISSA_LIMIT)


@given(LOTS, MANTISSAS)
def test_a_product_is_the_floor_of_the_exact_one(lots: int, mantissa: int) -> None:
    assert sums.product(lots, mantissa) == (lots * mantissa) >> 24
    assert sums.product.py_func(lots, mantissa) == (lots * mantissa) >> 24


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_column_values_are_exact_for_any_number_of_positions(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(-MANTISSA_LIMIT, MANTISSA_LIMIT + 1, size=(5, 7), dtype=np.int32)
    share = 2**ACCOUNT_LOTS_BITS // count
    lots = random.integers(-share, share + 1, size=count)
    rows = random.integers(0, 5, size=count, dtype=np.int32)
    for array in (table, lots, rows):
        array.setflags(write=False)  # as the arrays of a round are
    found, scratch = np.empty(7, dtype=np.int64), np.empty(7, dtype=np.int64)
    sums.column_values(rows, lots, table, found, scratch)
    exact = [sum(int(q) * int(table[r, c]) for q, r in zip(lots, rows, strict=True)) >> 24 for c in range(7)]
    assert found.tolist() == exact


def test_the_largest_account_does_not_overflow() -> None:
    table = np.full((1, 3), MANTISSA_LIMIT, dtype=np.int32)
    lots = np.full(256, 2**ACCOUNT_LOTS_BITS // 256, dtype=np.int64)
    rows = np.zeros(256, dtype=np.int32)
    for array in (table, lots, rows):
        array.setflags(write=False)
    found, scratch = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    sums.column_values(rows, lots, table, found, scratch)
    assert found.tolist() == [2 ** (ACCOUNT_LOTS_BITS + 30 - 24)] * 3


@pytest.mark.parametrize("count", [127, 128, 129, 512, 1_100])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_low_limbs_are_carried_in_time(count: int, sign: int) -> None:
    table = np.full((1, 2), sign * MANTISSA_LIMIT, dtype=np.int32)
    lots = np.full(count, 2**24 - 1, dtype=np.int64)
    rows = np.zeros(count, dtype=np.int32)
    for array in (table, lots, rows):
        array.setflags(write=False)
    found, scratch = np.empty(2, dtype=np.int64), np.empty(2, dtype=np.int64)
    sums.column_values(rows, lots, table, found, scratch)
    assert found.tolist() == [(sign * count * (2**24 - 1) * MANTISSA_LIMIT) >> 24] * 2
