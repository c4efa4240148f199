"""What the four quorums guarantee, checked by counting."""

import pytest

from attest.formats.quorums import (
    at_least_one_honest,
    available,
    byzantine,
    check_committee_size,
    honest_majority,
    tolerated_faults,
)
from riskschema.errors import InvalidData

COMMITTEES = [1, *range(4, 32)]


@pytest.mark.parametrize("n", [-1, 0, 2, 3, 32, 100])
def test_committees_that_tolerate_nothing_or_are_too_large_are_refused(n: int) -> None:
    for rule in (check_committee_size, tolerated_faults, byzantine, available):
        with pytest.raises(InvalidData, match=f"not {n}"):
            rule(n)


@pytest.mark.parametrize("n", COMMITTEES)
def test_more_than_two_thirds_are_honest(n: int) -> None:
    f = tolerated_faults(n)
    assert n > 3 * f
    assert n <= 3 * (f + 1)


@pytest.mark.parametrize("n", COMMITTEES)
def test_one_honest_operator_is_in_the_smallest_quorum(n: int) -> None:
    assert at_least_one_honest(n) - tolerated_faults(n) == 1


@pytest.mark.parametrize("n", COMMITTEES)
def test_the_honest_outnumber_the_faulty_in_a_majority(n: int) -> None:
    honest = honest_majority(n) - tolerated_faults(n)
    assert honest > tolerated_faults(n)


@pytest.mark.parametrize("n", COMMITTEES)
def test_two_byzantine_quorums_share_an_honest_operator_and_no_smaller_ones_do(n: int) -> None:
    def surely_shared(quorum: int) -> int:
        return 2 * quorum - n

    assert surely_shared(byzantine(n)) > tolerated_faults(n)
    assert surely_shared(byzantine(n) - 1) <= tolerated_faults(n)


@pytest.mark.parametrize("n", COMMITTEES)
def test_those_sure_to_answer_reach_every_quorum(n: int) -> None:
    assert available(n) >= byzantine(n) >= at_least_one_honest(n)
    assert available(n) >= honest_majority(n)


def test_published_sizes() -> None:
    assert [byzantine(n) for n in (1, 4, 7, 10, 13, 31)] == [1, 3, 5, 7, 9, 21]
