"""Schedules built to break the agreement, each in a few lines: delivery is at once unless said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

from attest.agreement import open_rounds, proposals
from attest.agreement.effects import (
    Abstain,
    CertificateLearned,
    CertificateNeeded,
    CertificateReady,
    Effects,
    Observe,
    OutcomeReady,
    Send,
    SignShare,
    StateNeeded,
)
from attest.agreement.machine import RoundMachine
from attest.agreement.proposals import reference_of
from attest.agreement.rules import AgreementRules
from attest.agreement.state import genesis_state
from attest.agreement.voting import agree
from attest.formats.certificate import Certificate, assemble_certificate, decode_certificate, encode_certificate
from attest.formats.header import report_hash
from attest.hours.hourly import encode_row
from attest.wire.envelope import open_body, read_envelope, seal
from attest.wire.messages import GENESIS_REFERENCE, MessageKind, Observation, Proposal, ReportReference, Share
from riskschema.errors import ProtocolViolation
from tests.attest.agreement.round_kit import genesis_history, observation, report
from tests.network.fake_keys import fast_rules, sign_as, sign_share
from tests.network.fake_signer import fast_signatures


@pytest.fixture(autouse=True)
def _fast_signatures() -> Iterator[None]:
    with fast_signatures():
        yield


class Wire:
    """n machines; correct operators hear each other at once, liars only listen."""

    def __init__(self, n: int, liars: frozenset[int] = frozenset(), *, silent_liars: bool = False) -> None:
        self.rules: AgreementRules = fast_rules(n)
        self.genesis = genesis_state(self.rules, genesis_history())
        self.liars = liars
        self.silent_liars = silent_liars
        self.machines = {index: self.start(index) for index in range(n) if index not in liars}
        self.cut_off: set[int] = set()
        """Operators that neither hear nor are heard."""
        self.now = 0
        self.observations: dict[int, dict[int, bytes]] = {}
        self.signed: dict[bytes, dict[int, bytes]] = {}
        self.reports: dict[bytes, tuple[Any, Any]] = {}
        self.certificates: dict[int, Certificate] = {}
        """Those that correct operators hold, by round."""
        self.held: dict[int, set[int]] = {index: set() for index in self.machines}
        self.abstained: list[Abstain] = []
        self.asked: list[tuple[int, CertificateNeeded]] = []
        self.prices: Callable[[int, int], int] = lambda _round, _operator: 50_000
        self.passing_on = True
        self.helpful = False
        """Liars sign whatever a correct operator signs."""

    def start(self, index: int) -> RoundMachine:
        return RoundMachine(self.rules, me=index, sign=sign_as(index), state=self.genesis)

    @property
    def correct(self) -> list[int]:
        return [index for index in self.machines if index not in self.cut_off]

    def tick(self, milliseconds: int, only: list[int] | None = None) -> None:
        self.now = milliseconds
        ticked = {index: self.machines[index].on_tick(milliseconds) for index in only or self.machines}
        for index, effects in ticked.items():
            self.follow(index, effects)

    def slot(self, number: int) -> None:
        """Begin a slot; the liars observe with the others."""
        self.now = self.rules.slot_start_ms(number)
        if not self.silent_liars:
            for liar in self.liars:
                self.observe_as(liar, number, GENESIS_REFERENCE)
        self.tick(self.now)

    def observe_as(self, liar: int, number: int, named: ReportReference, **changes: Any) -> bytes:
        payload = self.say(liar, number, observation(self.now // 1_000, highest=named, **changes))
        self.observations.setdefault(number, {})[liar] = payload
        self.deliver(payload, self.correct)
        return payload

    def say(self, sender: int, number: int, body: Any) -> bytes:
        digest = self.rules.config_digest
        return seal(body, config_digest=digest, round_number=number, sender=sender, sign=sign_as(sender))

    def deliver(self, payload: bytes, receivers: list[int]) -> None:
        for index in receivers:
            with suppress(ProtocolViolation):
                self.follow(index, self.machines[index].on_message(payload))

    def show(self, certificate: Certificate, receivers: list[int]) -> None:
        for index in receivers:
            self.follow(index, self.machines[index].on_certificate(encode_certificate(certificate)))

    def propose_as(
        self, liar: int, number: int, senders: list[int], parent: Certificate | None, receivers: list[int]
    ) -> bytes:
        """Propose chosen observations; return the hash of the report that follows."""
        observations = tuple(self.observations[number][sender] for sender in sorted(senders))
        body = Proposal(observations=observations, parent_certificate=encode_certificate(parent) if parent else b"")
        state = self.reports[parent.report_hash][1] if parent else self.genesis
        opened: Any = {read_envelope(each).sender: open_body(read_envelope(each)) for each in observations}
        outcome = agree(
            self.rules,
            round_number=number,
            observations=opened,
            parent=reference_of(parent),
            state=state,
        )
        header, after = report(self.rules, outcome, state)
        self.reports[report_hash(header)] = (header, after)
        self.deliver(self.say(liar, number, body), receivers)
        return report_hash(header)

    def certify_as_liars(self, report: bytes) -> Certificate | None:
        """Return the certificate that the liars can make with the shares they heard and their own."""
        signatures = dict(self.signed.get(report, {}))
        signatures |= {liar: sign_share(liar, self.rules.share_digest(report)) for liar in self.liars}
        enough = len(signatures) >= self.rules.certifying
        return assemble_certificate(self.reports[report][0], signatures) if enough else None

    def follow(self, index: int, effects: Effects) -> None:
        if index in self.cut_off:
            return
        for effect in effects:
            self.perform(index, effect)

    def perform(self, index: int, effect: Any) -> None:  # noqa: C901 - one branch per effect
        machine = self.machines[index]
        if isinstance(effect, Observe):
            prices = {"BTC": self.prices(effect.round, index), "ETH": 3_000}
            seen = observation(self.now // 1_000, prices=prices, highest=effect.highest_certified)
            self.follow(index, machine.on_observation(effect.round, seen))
        elif isinstance(effect, Send):
            if effect.kind is MessageKind.OBSERVATION:
                self.observations.setdefault(effect.round, {})[index] = effect.payload
            self.deliver(effect.payload, self.correct)
        elif isinstance(effect, OutcomeReady):
            self.assess(index, effect)
        elif isinstance(effect, SignShare):
            signature = sign_share(index, effect.digest)
            self.signed.setdefault(effect.report_hash, {})[index] = signature
            self.follow(index, machine.on_signature(effect.header.round, signature))
            for liar in self.liars if self.helpful else ():
                share = Share(report_hash=effect.report_hash, signature=sign_share(liar, effect.digest))
                self.deliver(self.say(liar, effect.header.round, share), self.correct)
        elif isinstance(effect, CertificateReady):
            number = effect.certificate.header.round
            self.reports[effect.certificate.report_hash] = (effect.certificate.header, effect.state)
            self.certificates.setdefault(number, effect.certificate)
            self.held[index].add(number)
        elif isinstance(effect, CertificateLearned) and self.passing_on:
            self.show(decode_certificate(effect.payload), [each for each in self.correct if each != index])
        elif isinstance(effect, CertificateNeeded):
            self.asked.append((index, effect))
            held = self.certificates.get(effect.reference.round)
            if held is not None and effect.peer in self.correct:
                self.show(held, [index])
        elif isinstance(effect, StateNeeded):
            known = self.reports.get(effect.reference.report_hash)
            if known is not None:
                self.follow(index, machine.on_state(effect.reference, known[1]))
        elif isinstance(effect, Abstain):
            self.abstained.append(effect)

    def assess(self, index: int, ready: OutcomeReady) -> None:
        header, state = report(self.rules, ready.outcome, ready.parent_state)
        self.reports[report_hash(header)] = (header, state)
        self.follow(index, self.machines[index].on_report_ready(header, state))

    def chain(self) -> list[int]:
        """Return the rounds from the highest certified report down to the genesis."""
        by_hash = {each.report_hash: each for each in self.certificates.values()}
        walked = []
        certificate: Certificate | None = self.certificates[max(self.certificates)]
        while certificate is not None:
            walked.append(certificate.header.round)
            certificate = by_hash.get(certificate.header.parent)
        return walked


def led_by(rules: AgreementRules, operator: int, *, after: int) -> int:
    return next(number for number in range(after, after + rules.n) if rules.leader(number) == operator)


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


def calls(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[tuple[Any, ...]]:
    """Return the list of the arguments with which a function is called from now on."""
    seen: list[tuple[Any, ...]] = []
    called = getattr(module, name)

    def note(*args: Any, **named: Any) -> Any:
        seen.append(args)
        return called(*args, **named)

    monkeypatch.setattr(module, name, note)
    return seen


def test_a_thousand_invalid_proposals_are_dropped_unread_after_two(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(7, frozenset({0}))
    number = led_by(wire.rules, 0, after=3)
    for each in range(1, number):
        wire.slot(each)
    wire.slot(number)
    victim = wire.correct[0]
    checked = calls(monkeypatch, open_rounds, "check_proposal")
    codes: Counter[str] = Counter()
    for each in range(1_000):
        noise = Proposal(observations=(bytes([each % 256, each // 256]) * 30,), parent_certificate=b"")
        with pytest.raises(ProtocolViolation) as caught:
            wire.machines[victim].on_message(wire.say(0, number, noise))
        codes[caught.value.code] += 1
    assert (len(checked), codes["malformed"], codes["ignored"]) == (2, 2, 998)
    wire.slot(number + 1)
    assert number + 1 in wire.certificates


def test_the_same_noise_again_is_known_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(4, frozenset({0}))
    wire.slot(1)
    victim = wire.correct[0]
    forged = wire.say(0, 1, observation(wire.now // 1_000, head=90))[:-1] + b"?"
    checked = calls(monkeypatch, open_rounds, "check_signature")
    machine = wire.start(victim)
    machine.on_tick(wire.now)
    for _ in range(5):
        with pytest.raises(ProtocolViolation, check=lambda error: error.code == "forged"):
            machine.on_message(forged)
    assert len(checked) == 1


def test_forged_noise_in_a_peers_name_does_not_silence_the_peer() -> None:
    wire = Wire(4)
    wire.tick(wire.rules.slot_start_ms(1), only=[0])
    machine = wire.machines[0]
    seen = observation(wire.now // 1_000)
    for each in range(10):
        with pytest.raises(ProtocolViolation):
            machine.on_message(wire.say(1, 1, seen)[:-1] + bytes([each]))
    machine.on_message(wire.say(1, 1, seen))
    memory = machine._open.get(1)
    assert memory is not None
    assert 1 in memory.observations


def test_a_certificate_that_is_no_news_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(4)
    wire.slot(1)
    wire.slot(2)
    checked: list[tuple[Certificate]] = []
    monkeypatch.setattr(proposals, "verify_certificate", lambda *args, **_: checked.append(args))
    for certificate in wire.certificates.values():
        assert wire.machines[0].on_certificate(encode_certificate(certificate)) == ()
    wire.slot(3)
    assert 3 in wire.certificates, "the parent in the proposal is known to be certified"
    assert {certificate.header.round for (certificate,) in checked} == {3}


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
