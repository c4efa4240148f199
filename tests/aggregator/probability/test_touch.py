"""First touches: the early exit against walking everything, and the walk itself."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aggregator.probability import liquidation, stretch, touch
from aggregator.probability.stretch import NEVER
from aggregator.probability.touch import Wanted
from aggregator.scenarios.columns import PATH_COLUMNS
from aggregator.valuation.books import RuleBook, RuleRows
from aggregator.valuation.sides import NO_ANSWER, View, empty_sides, fill_sides

BLOCKS = 30


def frozen(values: Any, dtype: type[np.generic] = np.int64) -> np.ndarray:
    """As the arrays of a round are: read-only, so that the kernels compiled for those serve here too."""
    array: np.ndarray[Any, Any] = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def book(lots: list[int], *, gross: list[int] | None = None, bonus: int = 50_000, close: int = 500_000) -> RuleBook:
    return RuleBook(
        account_silos=frozen([0, 1]),
        silo_terms=frozen([0, len(lots)]),
        weights=np.full(1, 10_000, dtype=np.int16),
        liquidatable=frozen([0], np.int32),
        close_factors=frozen([close], np.int32),
        value_units=np.array([2.0**-29]),
        rows=frozen(range(len(lots)), np.int32),
        lots=frozen(lots),
        gross=frozen(gross or lots),
        bonuses=frozen([bonus] * len(lots), np.int32),
        answers=frozen([-1] * len(lots), np.int32),
    )


def rows(seed: int, count: int, volatility: float = 0.01, drift: float = 0.0) -> RuleRows:
    random = np.random.default_rng(seed)
    moves = random.normal(size=(count, BLOCKS, PATH_COLUMNS)) * volatility / np.sqrt(3) + drift / PATH_COLUMNS
    paths = np.exp(np.cumsum(moves, axis=2)).reshape(count, -1)
    mantissas = frozen(np.rint(np.concatenate([np.ones((count, 1)), paths], axis=1) * 2**26), np.int32)
    shaped = mantissas[:, 1:].reshape(count, BLOCKS, PATH_COLUMNS)
    return RuleRows(
        mantissas=mantissas,
        lowest=shaped.min(axis=2),
        highest=np.maximum(shaped.max(axis=2), mantissas[:, :1]),
    )


def result(accounts: int = 1, silos: int = 1) -> touch.TouchResult:
    return touch.TouchResult(
        insolvencies=np.zeros(accounts, dtype=np.int64),
        loss=np.zeros(accounts),
        silo_touches=np.zeros(silos, dtype=np.int64),
        silo_multiplier=np.zeros(silos),
        joint_touches=np.zeros(silos, dtype=np.int64),
        joint_multiplier=np.zeros(silos),
        touched=np.zeros((accounts, BLOCKS), dtype=np.int16),
    )


def crossing(now: list[int], then: list[int]) -> Fraction | float:
    """The smallest λ at which Σ now + λ·(then - now), no addend crossing zero, is negative: interval by interval."""

    def total(stretch: Fraction) -> Fraction:
        moved = [(a, a + stretch * (b - a)) for a, b in zip(now, then, strict=True)]
        return sum((b if (a > 0) == (b > 0) else Fraction(0) for a, b in moved), Fraction(0))

    kinks = [Fraction(a, a - b) for a, b in zip(now, then, strict=True) if a * (a - b) > 0]
    edges = [Fraction(0), *sorted(kinks), max(kinks, default=Fraction(0)) + 10**9]
    for left, right in pairwise(edges):
        first, last = total(left), total(right)
        if last < 0:
            return left + (right - left) * first / (first - last) if first > 0 else left
    return NEVER


def exhaustive(held: RuleBook, table: RuleRows, rank: int) -> tuple[int, float]:
    """Walk every column of every path in exact arithmetic."""
    cells = [[int(lots) * int(cell) for cell in line] for lots, line in zip(held.lots, table.mantissas, strict=True)]
    columns = list(zip(*cells, strict=True))
    paths = [columns[start : start + PATH_COLUMNS] for start in range(1, len(columns), PATH_COLUMNS)]
    touches = sum(any(sum(column) < 0 for column in path) for path in paths)
    stretch = sorted(min(float(crossing(list(columns[0]), list(column))) for column in path) for path in paths)
    return touches, stretch[rank - 1]


@given(st.integers(0, 2**32 - 1), st.floats(0.4, 1.05), st.floats(0.0, 0.6), st.sampled_from([0.005, 0.02, 0.1]))
@example(1084, 0.4375, 0.5, 0.005)  # on one path everything is gone before the debt exceeds it
@settings(max_examples=12)
def test_the_early_exit_and_the_rank_are_exact(seed: int, loan: float, other: float, volatility: float) -> None:
    table = rows(seed, 3, volatility=volatility)
    held = book([2**40, int(other * 2**40), -int((1 + other) * loan * 2**40)])
    found = result()
    touch.touches(held, table, Wanted(rank=10, repayments=64, far=NEVER), found)
    touches, multiplier = exhaustive(held, table, 10)
    assert found.joint_touches[0] == found.silo_touches[0] == np.count_nonzero(found.touched) == touches
    assert found.joint_multiplier[0] == found.silo_multiplier[0] == pytest.approx(multiplier, rel=1e-6)


def test_multipliers_beyond_the_safe_one_are_not_told_apart_but_stay_beyond_it() -> None:
    table = rows(5, 2, volatility=0.02)
    held = book([2**40, -(2**39)])
    exact, rough = result(), result()
    touch.touches(held, table, Wanted(rank=10, repayments=64, far=NEVER), exact)
    touch.touches(held, table, Wanted(rank=10, repayments=64, far=2.0), rough)
    assert exact.joint_multiplier[0] > rough.joint_multiplier[0] == 2.0


@given(st.integers(0, 2**32 - 1), st.floats(0.4, 1.0), st.floats(0.01, 4.0))
@settings(max_examples=30)
def test_more_collateral_never_brings_a_touch_nearer(seed: int, loan: float, more: float) -> None:
    table = rows(seed, 3, volatility=0.08)
    lots = [2**40, 0, -int(loan * 2**40)]
    before, after = result(), result()
    touch.touches(book(lots), table, Wanted(rank=10, repayments=64, far=NEVER), before)
    touch.touches(book([lots[0], int(more * 2**40), lots[2]]), table, Wanted(rank=10, repayments=64, far=NEVER), after)
    assert after.joint_touches[0] <= before.joint_touches[0]
    assert after.joint_multiplier[0] >= before.joint_multiplier[0] * (1 - 1e-6)


def test_a_silo_without_terms_never_touches() -> None:
    held = book([])
    found = result()
    touch.touches(held, rows(1, 1), Wanted(rank=10, repayments=64, far=NEVER), found)
    assert found.joint_touches[0] == 0
    assert found.joint_multiplier[0] == NEVER


def test_a_silo_without_weight_does_not_decide_the_account() -> None:
    held = book([2**40, -(2**41)])._replace(weights=np.zeros(1, dtype=np.int16))
    found = result()
    touch.touches(held, rows(1, 2), Wanted(rank=10, repayments=64, far=NEVER), found)
    assert found.joint_touches[0] == 0
    assert found.silo_touches[0] == BLOCKS
    assert found.joint_multiplier[0] == NEVER


def test_collateral_that_only_rises_never_touches() -> None:
    assert stretch.multiplier(100, 100) == NEVER
    assert stretch.multiplier(100, 50) == 2.0
    assert stretch.multiplier(0, -5) == 0.0


def walk(held: RuleBook, table: RuleRows, maximum_repayments: int) -> liquidation.Outcome:
    """The first path of the first silo."""
    along = empty_sides(PATH_COLUMNS)
    fill_sides(0, View(1, NO_ANSWER, 0.0), held, table.mantissas, along)
    return liquidation.walk(along, held.close_factors[0], maximum_repayments)


def walk_down(price: list[float], **fields: object) -> liquidation.Outcome:
    """One path of 72 columns: collateral falls to each of `price` in turn and stays at the last; debt is flat."""
    line = (price + [price[-1]] * PATH_COLUMNS)[:PATH_COLUMNS]
    mantissas = frozen(np.rint(np.array([[1.0, *line], [1.0] * (PATH_COLUMNS + 1)]) * 2**26), np.int32)
    table = RuleRows(mantissas=mantissas, lowest=mantissas[:, :1].copy(), highest=mantissas[:, :1].copy())
    held = book(
        [int(0.8 * 2**40), -int(0.7 * 2**40)],
        gross=[2**40, -int(0.7 * 2**40)],
        **fields,  # type: ignore[arg-type]
    )
    return walk(held, table, 64)


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


def test_collateral_that_is_taken_to_the_last_leaves_what_is_owed_beyond_it() -> None:
    """In the day's last column half of the debt is worth all that is pledged, and one repayment is allowed."""
    line = [2**26] * PATH_COLUMNS + [2**24]
    mantissas = frozen([line, [2**26] * (PATH_COLUMNS + 1)], np.int32)
    table = RuleRows(mantissas=mantissas, lowest=mantissas[:, :1].copy(), highest=mantissas[:, :1].copy())
    held = book([2**40, -(2**39)], bonus=0)
    found = walk(held, table, 1)
    assert found.loss == 0.0
    assert found.insolvent


def test_debt_without_collateral_is_insolvent_at_once() -> None:
    held = book([-(2**40)])
    assert walk(held, rows(1, 1), 64) == (0.0, True)


def test_fewer_values_than_the_rank_give_the_largest() -> None:
    assert touch.smallest(np.array([3.0, 1.0]), np.zeros(5)) == 3.0
    assert touch.smallest(np.array([3.0, 1.0, 2.0, 0.5]), np.zeros(2)) == 1.0


def test_what_is_short_is_repaid_at_its_value_not_at_its_margin() -> None:
    """A short at 100 against 106 of cash with 10 % of margin is closed with 6 left: liquidated, not insolvent."""
    mantissas = frozen(np.full((2, PATH_COLUMNS + 1), 2**26), np.int32)
    table = RuleRows(mantissas=mantissas, lowest=mantissas[:, :1].copy(), highest=mantissas[:, :1].copy())
    held = book([106 * 2**30, -110 * 2**30], gross=[106 * 2**30, -100 * 2**30], bonus=0, close=1_000_000)
    assert walk(held, table, 64) == (0.0, False)
    under = book([99 * 2**30, -110 * 2**30], gross=[99 * 2**30, -100 * 2**30], bonus=0, close=1_000_000)
    assert walk(under, table, 64).insolvent


def test_a_margin_above_the_whole_notional_without_debt_is_no_insolvency() -> None:
    held = book([-(2**38)], gross=[2**40])
    assert walk(held, rows(1, 1), 64) == (0.0, False)


@pytest.mark.parametrize("count", [1, 127, 128, 129, 300, 1_100])
def test_bounds_are_exact_for_any_number_of_terms(count: int) -> None:
    """The largest low limbs and mantissas: without carrying, 1,100 of them leave 64 bits."""
    random = np.random.default_rng(count)
    lots = (1 - 2 * random.integers(0, 2, size=count)) * (2**24 * random.integers(0, 4, size=count) + 2**24 - 1)
    lowest = np.full((count, BLOCKS), 2**30, dtype=np.int32) - random.integers(
        0, 9, size=(count, BLOCKS), dtype=np.int32
    )
    table = RuleRows(mantissas=frozen(lowest, np.int32), lowest=lowest, highest=-lowest)
    held = frozen(range(count), np.int32)
    for signed in (np.abs(lots), -np.abs(lots), lots):
        found, low = np.empty((2, BLOCKS), dtype=np.int64)
        touch.bounds(held, frozen(signed), table, found, low)
        worst = np.where(signed[:, None] >= 0, table.lowest, table.highest)
        exact = [sum(int(a) * int(b) for a, b in zip(signed, line, strict=True)) >> 24 for line in worst.T]
        assert found.tolist() == exact


def test_a_silo_of_300_terms_touches_as_its_sum_does() -> None:
    table = rows(11, 300, volatility=0.03)
    lots = [2**34 + 1000 * place for place in range(299)]
    held = book([*lots, -int(0.97 * sum(lots))])
    found = result()
    touch.touches(held, table, Wanted(rank=10, repayments=64, far=NEVER), found)
    sums = np.array([int(cell) for cell in held.lots], dtype=object) @ table.mantissas.astype(object)
    touches = int((sums[1:].reshape(BLOCKS, PATH_COLUMNS).min(axis=1) < 0).sum())
    assert 0 < touches < BLOCKS
    assert found.joint_touches[0] == touches


def test_a_silo_whose_sum_is_exactly_zero_is_not_liquidated() -> None:
    level = frozen(np.full((2, PATH_COLUMNS + 1), 2**26), np.int32)
    table = RuleRows(mantissas=level, lowest=level[:, 1:2], highest=level[:, 1:2])
    assert walk(book([2**40, -(2**40)]), table, 64) == (0.0, False)
    assert walk(book([2**40, -(2**40) - 2**20]), table, 64)[0] > 0.0
