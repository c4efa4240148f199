"""Which reports are due, and whose turn it is to bring them to the contract."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.publishing.rules import Published, PublishingRule, has_moved, is_due
from node.round.certified import stage
from tests.attest.agreement.round_kit import rules

RULE = PublishingRule(heartbeat=600, deviation_ppm=5_000)
ETHER = 3_000 * 10**18


def published(after: int = 0, **values: int) -> Published:
    return Published(observed_at=1_000_000 + after, values={"BTC": 10**23, "ETH": ETHER} | values)


def test_what_nobody_knows_is_due() -> None:
    assert is_due(RULE, published(), None)


def test_a_heartbeat_is_due_to_the_second() -> None:
    assert not is_due(RULE, published(599), published())
    assert is_due(RULE, published(600), published())


def test_a_move_of_any_price_by_the_deviation_is_due_up_and_down() -> None:
    for move in (ETHER // 200, -ETHER // 200):
        assert is_due(RULE, published(10, ETH=ETHER + move), published())
        smaller = move - (1 if move > 0 else -1)
        assert not is_due(RULE, published(10, ETH=ETHER + smaller), published())


def test_a_factor_that_comes_or_goes_is_due() -> None:
    assert is_due(RULE, published(10, LINK=1), published())
    assert is_due(RULE, published(10), published(0, LINK=1))


def test_without_a_heartbeat_every_report_is_due() -> None:
    always = PublishingRule(heartbeat=0, deviation_ppm=5_000)
    assert always.publishes_all
    assert is_due(always, published(), published())


@given(before=st.integers(1, 10**27), now=st.integers(0, 10**27), ppm=st.integers(0, 10**6))
def test_a_move_is_the_share_of_what_it_was(before: int, now: int, ppm: int) -> None:
    assert has_moved(before, now, ppm) == (now != before and abs(now - before) * 10**6 >= ppm * before)
    assert not has_moved(before, before, ppm)


def test_each_round_has_one_operator_a_stage_and_its_leader_is_first() -> None:
    for n in (1, 4, 7):
        known = rules(n)
        for number in range(1, 3 * n):
            stages = [stage(known, me, number) for me in range(n)]
            assert sorted(stages) == list(range(n))
            assert stages[known.leader(number)] == 0
            following = stages.index(1) if n > 1 else 0
            assert following == known.leader(number + 1), "who leads next is next"
