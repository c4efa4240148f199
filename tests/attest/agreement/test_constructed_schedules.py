"""Schedules built to break the agreement, each in a few lines: delivery is at once unless said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from attest.agreement.effects import (
    Abstain,
    OutcomeReady,
    StateNeeded,
)
from attest.agreement.proposals import reference_of
from attest.formats.certificate import Certificate, encode_certificate
from attest.hours.hourly import encode_row
from attest.wire.envelope import open_body, read_envelope
from attest.wire.messages import Observation
from tests.attest.agreement.wire_kit import Wire
from tests.network.fake_keys import fast_rules
from tests.network.fake_signer import fast_signatures


@pytest.fixture(autouse=True)
def _fast_signatures() -> Iterator[None]:
    with fast_signatures():
        yield


def deep_orphan(wire: Wire, number: int, laggard: int, liar: int) -> bytes:
    """All agree up to R - 4, the laggard is cut off for three slots, and the liar proposes on R - 4."""
    for each in range(1, number - 3):
        wire.slot(each)
    agreed = wire.certificates[max(wire.certificates)]
    wire.cut_off, wire.helpful = {laggard}, True
    for each in range(number - 3, number):
        wire.slot(each)
    wire.helpful = False
    wire.cut_off = set()
    wire.slot(number)
    other = next(index for index in wire.correct if index != laggard)
    return wire.propose_as(liar, number, [liar, laggard, other], agreed, wire.correct)


def deep_orphan_set_up(number: int) -> tuple[Wire, int, int]:
    """The leader of the round lies; the laggard leads the next."""
    rules = fast_rules(4)
    liar = rules.leader(number)
    return Wire(4, frozenset({liar})), rules.leader(number + 1), liar


def laggard_names_the_old_one(wire: Wire, laggard: int, number: int) -> int:
    body = open_body(read_envelope(wire.observations[number][laggard]))
    assert isinstance(body, Observation)
    return body.highest_certified.round


def test_one_liar_and_one_laggard_orphan_at_most_one_certified_report() -> None:
    number = 8
    wire, laggard, liar = deep_orphan_set_up(number)
    report = deep_orphan(wire, number, laggard, liar)
    assert laggard_names_the_old_one(wire, laggard, number) <= number - 4
    newest = max(wire.certificates)
    assert newest >= number - 2, "the others went on"
    assert wire.certify_as_liars(report) is None
    assert set(wire.signed.get(report, {})) <= {laggard}
    assert Abstain(round=number, code="parent_old") in wire.abstained
    wire.slot(number + 1)
    assert wire.certificates[number + 1].header.parent == wire.certificates[newest].report_hash


def test_an_hour_on_which_a_certified_report_builds_does_not_change() -> None:
    number = 362  # the hour closes in R - 2, and prices rise by 1 a round
    wire, laggard, liar = deep_orphan_set_up(number)
    wire.prices = lambda round_number, _: 50_000 + round_number
    deep_orphan(wire, number, laggard, liar)
    final = wire.reports[wire.certificates[max(wire.certificates)].report_hash][1].hours
    wire.slot(number + 1)
    after = wire.reports[wire.certificates[number + 1].report_hash][1].hours
    assert final.count
    assert [encode_row(row) for row in after.recent[: final.count]] == [encode_row(row) for row in final.recent]


@pytest.mark.parametrize("named", [False, True])
def test_a_certificate_that_is_hidden_and_shown_to_one_stops_nobody(named: bool) -> None:
    """With a floor at the highest certificate held, 19 of 75 rounds certify; named and not asked for, 2."""
    n, liars = 7, frozenset({0, 1})
    wire = Wire(n, liars)
    hidden: Certificate | None = None
    led, number = 0, 0
    while led < 75:
        number += 1
        leader = wire.rules.leader(number)
        wire.now = wire.rules.slot_start_ms(number)
        if named and hidden is not None:
            for liar in liars:
                wire.observe_as(liar, number, reference_of(hidden))
        wire.slot(number)
        if leader not in liars:
            led += 1
            assert number in wire.certificates, f"round {number}"
            assert all(number in held for held in wire.held.values())
            continue
        enough = wire.correct[: wire.rules.certifying - len(liars)]
        known = sorted(wire.observations[number])
        parent = wire.certificates[max(wire.certificates)] if wire.certificates else None
        report = wire.propose_as(leader, number, known[: wire.rules.answering], parent, enough)
        hidden = wire.certify_as_liars(report)
        if hidden is not None:
            next_leaders = {wire.rules.leader(number + 1), wire.rules.leader(number + 2)}
            wire.now = wire.rules.slot_start_ms(number + 1) - 1_000
            wire.show(hidden, [index for index in wire.correct if index not in next_leaders][:1])


def test_two_liars_two_rounds_apart_orphan_one_report() -> None:
    rules = fast_rules(7)
    number = 8
    liars = frozenset({rules.leader(number), rules.leader(number + 2)})
    wire = Wire(7, liars)
    a = rules.leader(number + 1)
    laggard = next(index for index in wire.machines if index != a)
    for each in range(1, number):
        wire.slot(each)
    before = wire.certificates[max(wire.certificates)]
    wire.cut_off = {laggard}
    wire.slot(number)
    first = wire.propose_as(
        rules.leader(number), number, sorted(wire.observations[number])[:5], before, wire.correct[:4]
    )
    hidden = wire.certify_as_liars(first)
    assert hidden is not None
    wire.show(hidden, [a])
    wire.helpful = True
    wire.slot(number + 1)
    wire.helpful = False
    assert wire.certificates[number + 1].header.parent == hidden.report_hash
    wire.cut_off = set()
    wire.slot(number + 2)
    seen = sorted(wire.observations[number + 2], key=lambda sender: sender not in {laggard, *liars})[: rules.answering]
    report = wire.propose_as(rules.leader(number + 2), number + 2, seen, before, wire.correct)
    assert wire.certify_as_liars(report) is None
    wire.slot(number + 3)
    assert number + 1 in wire.chain()


@pytest.mark.parametrize("slots", [1.05, 1.3, 1.6])
def test_slow_assessments_give_fewer_rounds_and_one_chain(slots: float) -> None:
    wire = Wire(4)
    waiting: list[tuple[int, int, OutcomeReady]] = []
    assess = wire.assess
    wire.assess = lambda index, ready: waiting.append((wire.now, index, ready))  # type: ignore[method-assign]
    interval = wire.rules.interval_ms
    for moment in range(wire.rules.slot_start_ms(1), wire.rules.slot_start_ms(41), interval // 20):
        wire.tick(moment)
        due = [each for each in waiting if each[0] + slots * interval <= moment]
        waiting[:] = [each for each in waiting if each not in due]
        for _, index, ready in due:
            assess(index, ready)
    certified = sorted(wire.certificates)
    assert len(certified) >= 8
    assert sorted(wire.chain()) == certified, "no certified report is beside the chain"


def test_a_clock_that_was_wrong_once_takes_part_again_within_two_slots() -> None:
    wire = Wire(4)
    for number in range(1, 4):
        wire.slot(number)
    wire.tick(wire.rules.slot_start_ms(100_003), only=[2])
    for number in range(4, 12):
        wire.slot(number)
    assert sorted(wire.certificates) == list(range(1, 12))
    assert {6, 7, 8, 9, 10, 11} <= wire.held[2]
    assert all(2 in wire.observations[number] for number in range(6, 12))


def test_a_leader_that_lacks_what_all_name_asks_and_proposes_in_the_same_slot() -> None:
    wire = Wire(4)
    wire.slot(1)
    wire.slot(2)
    leader = wire.rules.leader(4)
    wire.cut_off = {leader}
    wire.slot(3)
    assert 3 in wire.certificates or wire.rules.leader(3) == leader
    newest = max(wire.certificates)
    wire.cut_off = set()
    wire.passing_on = False
    wire.slot(4)
    assert {index for index, _ in wire.asked} == {leader}
    assert Counter(needed.peer for _, needed in wire.asked).most_common(1)[0][1] == 1, "once per peer and slot"
    assert wire.certificates[4].header.parent == wire.certificates[newest].report_hash


def test_an_equivocating_leaders_minority_goes_on_from_the_certified_report() -> None:
    rules = fast_rules(4)
    liar = rules.leader(5)
    wire = Wire(4, frozenset({liar}))
    wire.prices = lambda _, operator: 50_000 + operator
    for each in range(1, 5):
        wire.slot(each)
    parent = wire.certificates[max(wire.certificates)]
    wire.slot(5)
    minority, *others = wire.correct
    wire.propose_as(liar, 5, sorted({liar, minority, others[0]}), parent, [minority])
    report = wire.propose_as(liar, 5, sorted({*wire.correct}), parent, others)
    certificate = wire.certify_as_liars(report)
    assert certificate is not None
    wire.show(certificate, wire.correct)
    assert 5 in wire.held[minority]
    assert Abstain(round=5, code="outvoted") in wire.abstained
    wire.slot(6)
    assert wire.certificates[6].header.parent == certificate.report_hash
    assert 6 in wire.held[minority]


def test_a_report_that_was_signed_and_not_certified_keeps_its_state() -> None:
    """Only one operator holds the certificate, two slots later; nobody has to fetch the state."""
    rules = fast_rules(4)
    liar = rules.leader(5)
    wire = Wire(4, frozenset({liar}))
    for each in range(1, 5):
        wire.slot(each)
    parent = wire.certificates[max(wire.certificates)]
    wire.slot(5)
    report = wire.propose_as(liar, 5, sorted(wire.observations[5])[:3], parent, wire.correct)
    for index in wire.correct:  # their shares reach the liar alone
        assert index in wire.signed[report]
    hidden = wire.certify_as_liars(report)
    assert hidden is not None
    for machine in wire.machines.values():
        effects = machine.on_certificate(encode_certificate(hidden))
        assert not any(isinstance(effect, StateNeeded) for effect in effects)
