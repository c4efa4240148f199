"""The base requirement: coherent, and equal to published expected shortfalls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.margin import base_requirement as req
from aggregator.valuation.arrays import expected_shortfall
from aggregator.valuation.books import Layout, MarketRows

PUBLISHED = json.loads((Path(__file__).parents[2] / "data" / "expected_shortfall" / "series.json").read_text())
LAYOUT = Layout(
    grid=5,
    stress=3,
    blocks=40,
    percent=6,
    forecast_share=750,
    long_run=750,
    net=20,
    hedged=10,
    within_chain=500,
    across=250,
)
WIDTH = 1 + 5 + 3 + 4 * 40
FACTORS = 3
SLACK = 8
"""Units of 2^-46 of gross by which roundings may break an inequality."""


def tail() -> req.Tail:
    size = req.tail_size(LAYOUT)
    return req.Tail(np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64))


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    random = np.random.default_rng(seed)
    values = random.integers(-(2**40), 2**40, size=WIDTH)
    deltas = random.integers(-(2**40), 2**40, size=(FACTORS, 3))
    return values, deltas, int(np.abs(deltas[:, 0]).sum() + random.integers(0, 2**40))


def amount(values: np.ndarray, deltas: np.ndarray, gross: int) -> int:
    return req.requirement(values, deltas, gross, LAYOUT, tail()).amount


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_netting_never_costs(first: int, second: int) -> None:
    a, b = draw(first), draw(second)
    whole = amount(a[0] + b[0], a[1] + b[1], a[2] + b[2])
    assert whole <= amount(*a) + amount(*b) + SLACK


@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
@settings(max_examples=60)
def test_the_requirement_grows_in_proportion(seed: int, times: int) -> None:
    values, deltas, gross = draw(seed)
    assert amount(values * times, deltas * times, gross * times) == pytest.approx(
        times * amount(values, deltas, gross), abs=SLACK * times
    )


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_requirement_is_never_negative_and_names_what_decided(seed: int) -> None:
    found = req.requirement(*draw(seed), LAYOUT, tail())
    assert found.amount >= 0
    assert req.MEMBERS[found.member] in req.MEMBERS


def test_each_member_can_decide() -> None:
    seen = set()
    for index in range(len(req.MEMBERS)):
        values, deltas, gross = np.zeros(WIDTH, dtype=np.int64), np.zeros((FACTORS, 3), dtype=np.int64), 0
        if index < 3:
            start = req.variant_start(index, LAYOUT)
            values[start : start + LAYOUT.blocks] = -1000
        elif index == req.GRID:
            values[1] = -1000
        elif index == req.DELTA_FLOOR:
            deltas[0, 0], gross = 1000, 1000
        else:
            start = req.variant_start(3, LAYOUT)
            values[start : start + LAYOUT.blocks] = -1000
        found = req.requirement(values, deltas, gross, LAYOUT, tail())
        seen.add(found.member)
        assert req.requirement.py_func(values, deltas, gross, LAYOUT, tail()) == found
    assert seen == set(range(len(req.MEMBERS)))


def test_the_worst_move_of_one_factor_alone_decides_where_it_exceeds_the_grid() -> None:
    values, deltas = np.zeros(WIDTH, dtype=np.int64), np.zeros((FACTORS, 3), dtype=np.int64)
    values[3] = -900
    deltas[:, 1:] = [[-100, 100], [-1000, 1000], [1001, -1001]]
    found = req.requirement(values, deltas, 0, LAYOUT, tail())
    assert (found.amount, found.member, found.grid_loss) == (1001, req.GRID, 1001)
    assert found.grid_place == LAYOUT.grid + 2 * 2 + 1, "the rise of the third factor, after the grid's own columns"
    values[3] = -1001
    assert req.requirement(values, deltas, 0, LAYOUT, tail()).grid_place == 2


def test_the_tail_takes_the_worst_columns_and_a_part_of_the_last() -> None:
    values = np.zeros(WIDTH, dtype=np.int64)
    start = req.variant_start(0, LAYOUT)
    values[start + 5], values[start + 9], values[start + 3] = -300, -200, -100
    scratch = tail()
    req.fill_tail(values, start, LAYOUT, scratch)
    assert scratch.losses.tolist() == [300, 200, 100]
    assert scratch.columns.tolist() == [start + 5, start + 9, start + 3]
    # 6 % of 40 blocks are 2.4: (300 + 200 + .4·100)/2.4
    assert req.tail_mean(scratch.losses, LAYOUT) == 225


def test_equal_losses_keep_the_earlier_column() -> None:
    scratch = tail()
    req.fill_tail(np.zeros(WIDTH, dtype=np.int64), 9, LAYOUT, scratch)
    assert scratch.columns.tolist() == [9, 10, 11]


@pytest.mark.parametrize("parts", [7, 1000, 123_456])
@pytest.mark.parametrize("credit", [0, 250, 500, 1000])
def test_an_offset_stays_between_the_whole_and_its_parts(parts: int, credit: int) -> None:
    for whole in (0, parts // 3, parts, parts + 5):
        found = req.offset(parts, whole, credit)
        assert min(whole, parts) <= found <= parts
        assert req.offset.py_func(parts, whole, credit) == found


def test_thousandths_round_up() -> None:
    assert [req.thousandths(750, amount) for amount in (0, 1, 1000, 1001)] == [0, 1, 750, 751]


def test_position_parts_of_the_floor_add_up_to_it() -> None:
    rows = MarketRows(
        mantissas=np.full((2, WIDTH), 2**26, dtype=np.int32),
        places=np.array([[0, -1], [0, 1]], dtype=np.int32),
        exposures=np.array([[[2**26, 0, 0], [0, 0, 0]], [[-(2**25), 0, 0], [2**25, 0, 0]]], dtype=np.int32),
    )
    for array in rows:
        array.setflags(write=False)  # as the arrays of a round are
    lots = [2**30, 2**30]
    deltas = np.array([[2**32 - 2**31, 0, 0], [2**31, 0, 0], [0, 0, 0]], dtype=np.int64)
    gross = 2**32 + 2 * 2**31
    parts = [req.floor_part(held, row, rows, deltas, LAYOUT) for row, held in enumerate(lots)]
    assert sum(parts) == pytest.approx(req.delta_floor(deltas, gross, LAYOUT), abs=4)
    assert [req.floor_part.py_func(held, row, rows, deltas, LAYOUT) for row, held in enumerate(lots)] == parts


@pytest.mark.parametrize("series", PUBLISHED["series"], ids=lambda series: str(series["name"]))
def test_expected_shortfall_equals_the_published_one(series: dict[str, Any]) -> None:
    wanted, losses = series["expected_shortfall"], -np.array(series["returns"])
    assert PUBLISHED["percent"] == 5
    assert expected_shortfall(losses, 5) == pytest.approx(wanted, rel=1e-12)
    scaled = np.concatenate([[0], np.round(-losses * 1e12)]).astype(np.int64)
    layout = LAYOUT._replace(grid=0, stress=0, blocks=losses.size, percent=5)
    size = req.tail_size(layout)
    scratch = req.Tail(np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64))
    req.fill_tail(scaled, 1, layout, scratch)
    assert req.tail_mean(scratch.losses, layout) == pytest.approx(wanted * 1e12, abs=2)


def test_the_mean_of_the_tail_is_rounded_against_the_account() -> None:
    # (300 + 200 + .4·99)/2.4 = 224.83
    assert req.tail_mean(np.array([300, 200, 99]), LAYOUT) == 225
    assert req.tail_mean.py_func(np.array([300, 200, 99]), LAYOUT) == 225
