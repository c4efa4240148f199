"""A clock far from the chains is refused, with by how much and what to do."""

from __future__ import annotations

import msgspec
import pytest

from attest.agreement.rules import AgreementRules
from node.clock_check import MOST_AHEAD_SECONDS, MOST_BEHIND_SECONDS, check_clock, check_first_round
from riskschema.errors import FatalError, TransientError
from riskschema.portfolio import BlockReference
from riskschema.units import Hash32
from tests.attest.agreement.round_kit import GENESIS, INTERVAL, rules

NOW = 1_800_000_000
RULES = rules(1)


def head(timestamp: int, *, chain_id: int = 1) -> BlockReference:
    return BlockReference(chain_id=chain_id, number=77, hash=Hash32("0x" + "11" * 32), timestamp=timestamp)


def refuses(said: str):
    return pytest.raises(TransientError, match=said, check=lambda error: error.code == "clock_wrong")


@pytest.mark.parametrize("off", [-MOST_BEHIND_SECONDS, 0, 800, MOST_AHEAD_SECONDS])
def test_a_clock_near_the_newest_block_is_good(off: int) -> None:
    check_clock(NOW + off, [head(NOW)])


def test_a_clock_ahead_of_all_chains_is_refused() -> None:
    with refuses("365 days, 0:00:00 ahead of the newest block it can read, block 77 of chain 1: set the clock"):
        check_clock(NOW + 365 * 86_400, [head(NOW)])
    with refuses("ahead"):
        check_clock(NOW + MOST_AHEAD_SECONDS + 1, [head(NOW)])


def test_a_clock_behind_a_block_is_refused() -> None:
    with refuses("1 day, 1:00:00 behind block 77 of chain 1: set the clock"):
        check_clock(NOW - 25 * 3_600, [head(NOW)])
    with refuses("behind"):
        check_clock(NOW - MOST_BEHIND_SECONDS - 1, [head(NOW)])


def test_the_newest_of_all_chains_counts() -> None:
    check_clock(NOW, [head(NOW - 5 * 86_400), head(NOW - 12, chain_id=2)])
    with refuses("behind block 77 of chain 2"):
        check_clock(NOW, [head(NOW - 10), head(NOW + 3_600, chain_id=2)])


@pytest.mark.parametrize("slots", [-10, 0, 2, MOST_AHEAD_SECONDS // INTERVAL])
def test_a_first_round_that_comes_soon_is_waited_for(slots: int) -> None:
    now = GENESIS + 1_000 * INTERVAL
    check_first_round(RULES, 1_000 + slots, now)


def test_where_slots_last_a_day_a_guard_that_starts_two_slots_ahead_is_waited_for() -> None:
    day = 86_400
    daily = AgreementRules.of(msgspec.structs.replace(RULES.committee, round_interval_seconds=day))
    check_first_round(daily, 1_002, GENESIS + 1_000 * day)
    with pytest.raises(FatalError, match="a clock was wrong"):
        check_first_round(daily, 1_003, GENESIS + 1_000 * day)


def test_a_first_round_of_next_year_stops_the_node_with_the_ways_out() -> None:
    with pytest.raises(FatalError, match=r"comes 20\d\d-.* UTC: a clock was wrong") as caught:
        check_first_round(RULES, 1_000 + 365 * 86_400 // INTERVAL, GENESIS + 1_000 * INTERVAL)
    assert caught.value.code == "guard_ahead"
    assert "docs/operating.md" in caught.value.message


def test_a_genesis_far_ahead_is_waited_for() -> None:
    check_first_round(RULES, 1, GENESIS - 365 * 86_400)
