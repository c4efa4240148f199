"""From touches to a probability, a score and a grade."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.probability.score import safe_multiplier, touch_probability, verdict


@pytest.mark.parametrize(
    ("probability", "score", "grade"),
    [
        (1e-9, 0, "A"),
        (1e-4, 0, "A"),
        (3e-3, 369, "A"),
        (1e-2, 500, "BBB"),
        (0.03, 619, "BB"),
        (0.1, 750, "B"),
        (0.3, 869, "CCC"),
        (0.31, 873, "C"),
        (1.0, 1000, "C"),
    ],
)
def test_scores_and_grades_follow_the_table(parameters, probability: float, score: int, grade: str) -> None:
    found = verdict(probability, liquidatable=False, floor_ppm=0, model=parameters.probability)
    assert found.grade == grade
    assert found.score == score


def test_half_a_decade_is_125_points(parameters) -> None:
    low, high = (
        verdict(p, liquidatable=False, floor_ppm=0, model=parameters.probability).score for p in (0.01, 0.0316228)
    )
    assert high - low == 125


def test_nothing_below_the_floor_is_published(parameters) -> None:
    found = verdict(0.0, liquidatable=False, floor_ppm=0, model=parameters.probability)
    assert (found.probability_ppm, found.score, found.grade) == (3000, 0, "A")


def test_liquidatable_now_is_certain(parameters) -> None:
    found = verdict(0.0, liquidatable=True, floor_ppm=0, model=parameters.probability)
    assert (found.probability_ppm, found.score, found.grade) == (1_000_000, 1000, "D")


def test_what_cannot_be_followed_is_grade_c_at_best(parameters) -> None:
    floor = parameters.probability.unfollowed_floor_ppm
    assert verdict(0.0, liquidatable=False, floor_ppm=floor, model=parameters.probability).grade == "C"


@given(st.integers(10, 1100))
def test_from_ten_touches_on_probability_is_their_share(parameters, touches: int) -> None:
    assert touch_probability(touches, 0.9, 1100, parameters.probability) == touches / 1100


def test_the_tail_meets_the_share_at_ten_touches(parameters) -> None:
    model = parameters.probability
    assert touch_probability(9, 1.0 + 1e-12, 1100, model) == pytest.approx(touch_probability(10, 1.0, 1100, model))


@given(st.floats(1.0, 100.0), st.floats(1.0, 10.0))
def test_farther_is_safer_by_the_cube(parameters, near: float, times: float) -> None:
    model = parameters.probability
    first, second = (touch_probability(0, value, 1100, model) for value in (near, near * times))
    assert second == pytest.approx(first / times**3, rel=1e-9)


def test_paths_that_touch_are_not_talked_away_by_a_far_tail(parameters) -> None:
    model = parameters.probability
    assert touch_probability(9, 4.0, 1100, model) == 9 / 1100
    assert touch_probability(9, 1.0, 1100, model) == 10 / 1100


def test_the_safe_multiplier_is_where_the_score_becomes_zero(parameters) -> None:
    model = parameters.probability
    far = safe_multiplier(1100, model)
    scores = [
        verdict(touch_probability(0, far * share, 1100, model), liquidatable=False, floor_ppm=0, model=model).score
        for share in (0.9, 1.0, 2.0)
    ]
    assert scores[0] > 0 == scores[1] == scores[2]


@pytest.mark.parametrize(("probability", "grade"), [(0.01, "BBB"), (0.0100001, "BB"), (0.3, "CCC"), (0.3000001, "C")])
def test_the_next_part_per_million_is_the_next_grade(parameters, probability: float, grade: str) -> None:
    found = verdict(probability, liquidatable=False, floor_ppm=0, model=parameters.probability)
    assert found.grade == grade
    assert found.probability_ppm >= probability * 1e6
