"""First touches: the early exit against walking everything, and the walk itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator import liquidation, touch
from aggregator.books import STEPS, RuleBook, RuleRows
from aggregator.touch import NEVER, Wanted

BLOCKS = 30


def frozen(values: object, dtype: type = np.int64) -> np.ndarray:
    """As the arrays of a round are: read-only, so that the kernels compiled for those serve here too."""
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def book(lots: list[int], *, gross: list[int] | None = None, bonus: int = 50_000, close: int = 500_000) -> RuleBook:
    return RuleBook(
        account_silos=frozen([0, 1]),
        silo_terms=frozen([0, len(lots)]),
        counted=np.ones(1, dtype=np.int8),
        close_factors=frozen([close], np.int32),
        units=np.array([2.0**-29]),
        rows=frozen(range(len(lots)), np.int32),
        lots=frozen(lots),
        gross=frozen(gross or lots),
        bonuses=frozen([bonus] * len(lots), np.int32),
    )


def rows(seed: int, count: int, volatility: float = 0.01, drift: float = 0.0) -> RuleRows:
    random = np.random.default_rng(seed)
    moves = random.normal(size=(count, BLOCKS, STEPS)) * volatility / np.sqrt(3) + drift / STEPS
    paths = np.exp(np.cumsum(moves, axis=2)).reshape(count, -1)
    mantissas = frozen(np.rint(np.concatenate([np.ones((count, 1)), paths], axis=1) * 2**26), np.int32)
    shaped = mantissas[:, 1:].reshape(count, BLOCKS, STEPS)
    return RuleRows(mantissas=mantissas, lowest=shaped.min(axis=2), highest=shaped.max(axis=2))


def result(accounts: int = 1, silos: int = 1) -> touch.TouchResult:
    return touch.TouchResult(
        touches=np.zeros(accounts, dtype=np.int64),
        insolvencies=np.zeros(accounts, dtype=np.int64),
        multiplier=np.zeros(accounts),
        loss=np.zeros(accounts),
        silo_touches=np.zeros(silos, dtype=np.int64),
        silo_multiplier=np.zeros(silos),
        touched=np.zeros((accounts, BLOCKS), dtype=np.int8),
    )


def exhaustive(held: RuleBook, table: RuleRows, rank: int) -> tuple[int, float]:
    """Walk every column of every path in Python integers."""
    sums = [
        [
            sum(int(q) * int(m) >> 24 for q, m in zip(held.lots, table.mantissas[:, column], strict=True))
            for column in range(1 + path * STEPS, 1 + (path + 1) * STEPS)
        ]
        for path in range(BLOCKS)
    ]
    now = sum(int(q) * int(m) >> 24 for q, m in zip(held.lots, table.mantissas[:, 0], strict=True))
    lowest = [min(path) for path in sums]
    stretch = sorted(0.0 if now <= 0 else NEVER if low >= now else now / (now - low) for low in lowest)
    return sum(low < 0 for low in lowest), stretch[rank - 1]


@given(st.integers(0, 2**32 - 1), st.floats(0.4, 1.05), st.floats(0.0, 0.6))
@settings(max_examples=40)
def test_the_early_exit_and_the_rank_are_exact(seed: int, loan: float, other: float) -> None:
    table = rows(seed, 3, volatility=0.02)
    held = book([2**40, int(other * 2**40), -int((1 + other) * loan * 2**40)])
    found = result()
    touch.touches(held, table, Wanted(rank=10, steps=64), found)
    touches, multiplier = exhaustive(held, table, 10)
    assert found.touches[0] == found.silo_touches[0] == found.touched.sum() == touches
    assert found.multiplier[0] == found.silo_multiplier[0] == multiplier


def test_a_silo_without_terms_never_touches() -> None:
    held = book([])
    found = result()
    touch.touches(held, rows(1, 1), Wanted(rank=10, steps=64), found)
    assert found.touches[0] == 0
    assert found.multiplier[0] == NEVER


def test_a_silo_too_small_to_count_does_not_decide_the_account() -> None:
    held = book([2**40, -(2**41)])._replace(counted=np.zeros(1, dtype=np.int8))
    found = result()
    touch.touches(held, rows(1, 2), Wanted(rank=10, steps=64), found)
    assert found.touches[0] == 0
    assert found.silo_touches[0] == BLOCKS
    assert found.multiplier[0] == NEVER


def test_collateral_that_only_rises_never_touches() -> None:
    assert touch.multiplier(100, 100) == NEVER
    assert touch.multiplier(100, 50) == 2.0
    assert touch.multiplier(0, -5) == 0.0


def walk_down(price: list[float], **fields: object) -> liquidation.Outcome:
    """One path of 72 columns: collateral falls to each of `price` in turn and stays at the last; debt is flat."""
    line = (price + [price[-1]] * STEPS)[:STEPS]
    mantissas = frozen(np.rint(np.array([[1.0, *line], [1.0] * (STEPS + 1)]) * 2**26), np.int32)
    table = RuleRows(mantissas=mantissas, lowest=mantissas[:, :1].copy(), highest=mantissas[:, :1].copy())
    held = book(
        [int(0.8 * 2**40), -int(0.7 * 2**40)],
        gross=[2**40, -int(0.7 * 2**40)],
        **fields,  # type: ignore[arg-type]
    )
    return liquidation.walk(0, 1, held, table, 64)


UNIT = 2.0**42
"""One unit of collateral in units of value: 2^40 lots of 2^26 over 2^24."""


def test_a_path_above_the_threshold_costs_nothing() -> None:
    assert walk_down([0.9]) == (0.0, False)


def test_one_liquidation_repays_the_close_factor_and_pays_the_bonus() -> None:
    found = walk_down([0.87])
    assert found.loss == pytest.approx(0.05 * 0.5 * 0.7 * UNIT, rel=1e-6)
    assert not found.insolvent


def test_a_deeper_fall_is_liquidated_again_until_healthy() -> None:
    assert walk_down([0.87, 0.78]).loss >= walk_down([0.87]).loss
    assert walk_down([0.75]).loss > walk_down([0.87]).loss


def test_a_gap_below_the_debt_leaves_the_silo_insolvent() -> None:
    found = walk_down([0.5])
    assert found.insolvent
    assert found.loss == pytest.approx(0.5 * (1 - 1 / 1.05) * UNIT, rel=1e-3)


def test_a_gap_with_a_whole_close_factor_takes_all_collateral() -> None:
    assert walk_down([0.5], close=1_000_000).insolvent
    assert not walk_down([0.72], close=1_000_000, bonus=0).insolvent


def test_debt_without_collateral_is_insolvent_at_once() -> None:
    held = book([-(2**40)])
    assert liquidation.walk(0, 1, held, rows(1, 1), 64) == (0.0, True)


def test_fewer_values_than_the_rank_give_the_largest() -> None:
    assert touch.smallest(np.array([3.0, 1.0]), np.zeros(5)) == 3.0
    assert touch.smallest(np.array([3.0, 1.0, 2.0, 0.5]), np.zeros(2)) == 1.0
