"""The cache of encoded answers stays within its bounds."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from node.api.answers import Answer, AnswerCache


def answer(size: int = 1, *, expires: float | None = None) -> Answer:
    return Answer(bytes(size), "etag", expires, observed_at=0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60))
def test_whatever_is_put_in_the_bounds_hold_and_the_bytes_are_counted(puts):
    cache = AnswerCache(max_answers=4, max_bytes=100)
    kept: dict[tuple[Any, ...], int] = {}
    for key, size in puts:
        cache.put((key,), answer(size))
        kept[key,] = size
        assert len(cache) <= 4
        assert cache.bytes <= 100
        held = [size for key, size in kept.items() if cache.get(key, 0) is not None]
        assert cache.bytes == sum(held)


def test_the_longest_unused_answer_makes_room():
    cache = AnswerCache(max_answers=2, max_bytes=100)
    cache.put(("a",), answer())
    cache.put(("b",), answer())
    cache.get(("a",), 0)
    cache.put(("c",), answer())

    assert cache.get(("b",), 0) is None
    assert cache.get(("a",), 0) is not None


def test_an_answer_larger_than_the_cache_is_not_kept():
    cache = AnswerCache(max_answers=2, max_bytes=10)
    cache.put(("a",), answer(11))
    assert (len(cache), cache.bytes) == (0, 0)


def test_an_answer_that_can_change_holds_until_it_expires():
    cache = AnswerCache(max_answers=2, max_bytes=10)
    cache.put(("a",), answer(expires=5))
    assert cache.get(("a",), 4.9) is not None
    assert cache.get(("a",), 5) is None
