"""Histories that begin and end at different hours are one table."""

import numpy as np
import pytest

from backtest.prices import HOUR, join
from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.market import HourlyHistory


def history(factor: str, first: int, *closes: int) -> HourlyHistory:
    data = np.array([closes], dtype="<i8")
    column = Column(dtype="int64", shape=data.shape, data=data.tobytes())
    return HourlyHistory(
        first_hour=first * HOUR, factors=(factor,), close=column, high=column, low=column, simulated=False
    )


def test_the_history_named_first_decides_where_two_overlap() -> None:
    found = join([history("B", 0, 1, 2, 3), history("A", 1, 7), history("B", 2, 9, 4)])
    assert (found.factors, found.hours) == (("A", "B"), 4)
    assert found.close.tolist() == [[0, 7, 0, 0], [1, 2, 3, 4]]
    assert found.covered(0, 4) == [1]
    assert found.covered(1, 2) == [0, 1]
    assert found.hour(2 * HOUR + 5) == 2


def test_the_known_hours_of_some_factors_are_a_history_again() -> None:
    found = join([history("B", 4, 1, 2, 3)]).history([0], 1, 3)
    assert (found.first_hour, found.factors, found.hours) == (5 * HOUR, ("B",), 2)
    assert np.frombuffer(found.low.data, dtype="<i8").tolist() == [2, 3]


def test_a_hole_between_histories_is_refused() -> None:
    with pytest.raises(InvalidData, match="histories of B"):
        join([history("B", 0, 1), history("B", 2, 1)])
    with pytest.raises(InvalidData, match="at least one factor"):
        join([])


def test_what_begins_later_repeats_its_first_close_until_then() -> None:
    found = join([history("A", 0, 1, 2, 3, 4), history("B", 2, 7, 8)]).history([0, 1], 0, 4)
    assert np.frombuffer(found.close.data, dtype="<i8").tolist() == [1, 2, 3, 4, 7, 7, 7, 8]
    assert found.filled == ("B",)
