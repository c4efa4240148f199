"""What a node knows of the others: who is late, whose clock is off, who abstains, who signs another report."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from node.peers import MOST_ROUNDS, Peers
from tests.attest.agreement.round_kit import observation

N = 4
START, INTERVAL = 1_000_000, 10_000
REPORT, OTHER, NEXT = b"report", b"other", b"next"


def peers() -> Peers:
    return Peers(N, lambda number: START + number * INTERVAL, CollectorRegistry())


def test_who_took_part_and_did_not_sign_abstained_or_disagreed() -> None:
    known = peers()
    for operator in range(3):
        known.said(operator, 5, at_ms=START + 5 * INTERVAL)
    known.shared(0, 5, REPORT)
    known.shared(1, 5, OTHER)
    known.certified(5, REPORT, (0,))
    assert [each.abstained for each in known.documents()] == [0] * N, "its share may yet come"
    known.certified(7, NEXT, range(N))
    assert [each.abstained for each in known.documents()] == [0, 0, 1, 0]
    assert [each.disagreed for each in known.documents()] == [0, 1, 0, 0]
    assert [each.missed for each in known.documents()] == [0, 1, 1, 1], "also of whom nothing was heard"


def test_a_late_share_is_no_abstention() -> None:
    known = peers()
    known.said(2, 5, at_ms=START)
    known.certified(5, REPORT, (0, 1, 3))
    known.shared(2, 5, REPORT)
    known.certified(7, NEXT, range(N))
    assert not any(each.abstained or each.disagreed for each in known.documents())


def test_a_round_that_was_not_certified_accuses_nobody_and_is_forgotten() -> None:
    known = peers()
    for number in range(1, 3 * MOST_ROUNDS):
        known.said(1, number, at_ms=START)
    assert len(known._rounds) == MOST_ROUNDS
    known.certified(3 * MOST_ROUNDS + 2, REPORT, range(N))
    assert not known._rounds
    assert not any(each.abstained for each in known.documents())


def test_a_clock_that_is_off_is_seen() -> None:
    known = peers()
    known.observed(3, 1, observation(START // 1_000), at_ms=START + 2_500)
    known.said(3, 1, at_ms=START + INTERVAL + 700)
    seen = known.documents()[3]
    assert (seen.clock_offset_ms, seen.lateness_ms, seen.last_round) == (-2_500, 700, 1)
