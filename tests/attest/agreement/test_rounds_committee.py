"""Several operators: silent leaders, liars, those that fall behind, and any order of delivery."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.agreement.certified import KEPT_REPORTS
from attest.agreement.effects import (
    Abstain,
    CertificateLearned,
    CertificateReady,
    Disagreement,
    Effects,
    Observe,
    OutcomeReady,
    Send,
    SignShare,
    StateNeeded,
)
from attest.agreement.open_rounds import OpenRounds
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate, encode_certificate, signer_indices, verify_certificate
from attest.formats.eip712 import sign_digest
from attest.formats.quorums import byzantine, tolerated_faults
from attest.wire.messages import MessageKind
from riskschema.errors import ProtocolViolation
from tests.attest.agreement.round_kit import Operators, observation, private_key, report


def follower(operators: Operators, round_number: int) -> int:
    return next(index for index in operators.machines if index != operators.rules.leader(round_number))


@pytest.mark.parametrize("n", [1, 4, 7, 10])
def test_everybody_certifies_the_same_reports(n: int) -> None:
    operators = Operators(n)
    for round_number in range(1, 4):
        operators.slot(round_number)
    reports = {tuple(each.report_hash for each in held.values()) for held in operators.certificates.values()}
    assert [len(held) for held in reports] == [3]
    for certificate in operators.certificates[0].values():
        assert len(signer_indices(certificate)) >= byzantine(n)
        verify_certificate(
            certificate,
            config_digest=operators.rules.config_digest,
            operators=operators.rules.committee.signers,
            destinations=operators.rules.committee.destinations,
        )
    assert operators.abstained == []


@pytest.mark.parametrize("n", [4, 7])
def test_a_round_with_a_silent_leader_is_skipped_and_the_next_has_the_next(n: int) -> None:
    operators = Operators(n)
    operators.slot(1)
    operators.silent = {operators.rules.leader(2)}
    operators.slot(2)
    operators.slot(2, offset=5)
    operators.slot(3)
    operators.slot(3, offset=5)
    honest = [index for index in operators.machines if index not in operators.silent]
    assert all(sorted(operators.certificates[index]) == [1, 3] for index in honest)
    assert {code for index, number, code in operators.abstained if number == 2} == {"leader_silent"}
    assert operators.certificates[honest[0]][3].header.parent == operators.certificates[honest[0]][1].report_hash


@pytest.mark.parametrize("n", [4, 7, 13])
def test_every_round_with_a_correct_leader_certifies_while_f_are_silent(n: int) -> None:
    operators = Operators(n)
    f = tolerated_faults(n)
    operators.silent = set(list(operators.machines)[:f])
    for round_number in range(1, 2 * n + 1):
        operators.slot(round_number)
        operators.slot(round_number, offset=5)
    expected = [number for number in range(1, 2 * n + 1) if operators.rules.leader(number) not in operators.silent]
    for index in set(operators.machines) - operators.silent:
        assert sorted(operators.certificates[index]) == expected


def test_with_more_than_f_silent_nothing_is_certified() -> None:
    operators = Operators(4)
    operators.silent = {0, 1}
    for round_number in range(1, 6):
        operators.slot(round_number)
        operators.slot(round_number, offset=5)
    assert all(not held for held in operators.certificates.values())


def test_a_lying_observer_does_not_move_the_median() -> None:
    operators = Operators(4)
    operators.prices = {0: {"BTC": 50_000, "ETH": 3_000}, 1: {"BTC": 50_010, "ETH": 3_001}}
    operators.prices |= {2: {"BTC": 50_020, "ETH": 3_002}, 3: {"BTC": 9_000_000, "ETH": 1}}
    operators.slot(1)
    for outcomes in operators.outcomes.values():
        assert 50_000 <= outcomes[1].value("BTC").value // 10**18 <= 50_020
        assert 3_000 <= outcomes[1].value("ETH").value // 10**18 <= 3_002


def without_votes_on_eth(operators: Operators, round_number: int) -> int:
    """One operator is silent, two say nothing of ETH; return the leader."""
    leader = operators.rules.leader(round_number)
    others = [index for index in operators.machines if index != leader]
    operators.silent = {others[0]}
    operators.prices = {index: {"BTC": 50_000} for index in others[1:]}
    return leader


def test_a_leader_waits_for_votes_only_until_the_grace_is_over() -> None:
    operators = Operators(4)
    operators.slot(1)
    leader = without_votes_on_eth(operators, 2)
    operators.slot(2)
    assert 2 not in operators.certificates[leader], "ETH has one vote of three, and one operator has not answered"
    assert operators.machines[leader].next_wake() == operators.rules.proposal_deadline_ms(2)
    operators.slot(2, offset=1)
    assert 2 not in operators.certificates[leader]
    operators.slot(2, offset=2)
    assert 2 in operators.certificates[leader]
    value = operators.outcomes[leader][2].value("ETH")
    assert value is not None
    assert value.stale


def test_a_factor_that_had_no_majority_in_the_parent_delays_nobody() -> None:
    operators = Operators(4)
    leader = without_votes_on_eth(operators, 1)
    operators.slot(1)
    assert 1 in operators.certificates[leader]
    assert operators.outcomes[leader][1].value("ETH") is None


@pytest.mark.parametrize("n", [4, 7])
def test_a_factor_that_a_liar_invents_delays_nobody(n: int) -> None:
    operators = Operators(n)
    liar, silent = 0, {1} if n > 4 else set()
    operators.prices = {liar: {"BTC": 50_000, "ETH": 3_000, "INVENTED": 1}}
    for round_number in range(1, 2 * n):
        operators.silent = set(silent)
        operators.slot(round_number)
        leader = operators.rules.leader(round_number)
        assert leader in silent or round_number in operators.certificates[leader], "in second 0"


def test_an_equivocating_observer_is_kept_as_evidence_and_changes_nothing() -> None:
    operators = Operators(4)
    operators.slot(1)
    before = dict(operators.certificates[0])
    twice = next(
        effect
        for effect in operators.machines[2].on_observation(1, observation(operators.rules.slot_start(1) + 1))
        if isinstance(effect, Send)
    )
    operators.broadcast(twice.payload, operators.rules.slot_start(1))
    assert {(each.sender, each.round, each.kind) for each in operators.evidence} == {(2, 1, MessageKind.OBSERVATION)}
    assert len(operators.evidence) == len(operators.machines)
    assert all(each.second == twice.payload != each.first for each in operators.evidence)
    said = operators.machines[2].on_observation(1, observation(operators.rules.slot_start(1) + 2))
    third = next(effect for effect in said if isinstance(effect, Send))
    operators.broadcast(third.payload, operators.rules.slot_start(1))
    assert len(operators.evidence) == len(operators.machines), "one pair is enough"
    assert operators.certificates[0] == before


def test_two_proposals_of_a_leader_never_give_two_certificates() -> None:
    operators = Operators(4)
    leader = operators.rules.leader(1)
    halves = [[index for index in operators.machines if index != leader][:2], [leader, follower(operators, 1)]]
    now = operators.rules.slot_start(1)
    observations: dict[int, bytes] = {}
    for index, machine in operators.machines.items():
        machine.on_tick(1_000 * now)
        (send,) = machine.on_observation(1, observation(now + index))
        observations[index] = send.payload
    twins = []
    for left_out in (0, 3):
        twin = operators.machine(leader)
        twin.on_tick(1_000 * now)
        effects: Effects = ()
        for index, payload in observations.items():
            if index != left_out:
                effects = effects or twin.on_message(payload)
        twins.append(next(effect for effect in effects if isinstance(effect, Send)).payload)
    assert twins[0] != twins[1]
    for proposal, half in zip(twins, halves, strict=True):
        for index in half:
            operators.run(index, operators.machines[index].on_message(proposal), now)
    certified = {certificate.report_hash for held in operators.certificates.values() for certificate in held.values()}
    assert len(certified) <= 1


def test_an_operator_that_computes_something_else_is_outvoted() -> None:
    operators = Operators(4)
    odd = follower(operators, 1)
    machine = operators.machines[odd]
    original = machine.on_report_ready

    def other_bytes(header, state: AgreedState) -> Effects:
        return original(msgspec.structs.replace(header, arrays_root=bytes([1]) * 32), state)

    machine.on_report_ready = other_bytes  # type: ignore[method-assign]
    operators.slot(1)
    assert 1 not in operators.certificates[odd]
    assert (odd, 1, "outvoted") in operators.abstained
    assert sum(1 in held for held in operators.certificates.values()) == 3
    # It takes the certificate from a peer, asks for the state, and is back.
    machine.on_report_ready = original  # type: ignore[method-assign]
    certificate = operators.certificates[operators.rules.leader(1)][1]
    payload = encode_certificate(certificate)
    differs, needed, pass_on = machine.on_certificate(payload)
    assert isinstance(differs, Disagreement)
    assert (differs.certified, differs.computed.arrays_root) == (certificate.header, bytes([1]) * 32)
    assert isinstance(needed, StateNeeded)
    assert isinstance(pass_on, CertificateLearned)
    assert needed.reference.report_hash == pass_on.reference.report_hash == certificate.report_hash
    assert odd not in needed.peers
    state = operators.machines[operators.rules.leader(1)]._certified.state_after(needed.reference)
    assert state is not None
    (done,) = machine.on_state(needed.reference, state)
    assert done == CertificateReady(certificate=certificate, state=state)
    operators.slot(2)
    assert 2 in operators.certificates[odd]


def test_a_node_that_was_away_asks_for_the_state_and_then_settles_the_open_round() -> None:
    operators = Operators(4)
    away = follower(operators, 3)
    absent = operators.machines.pop(away)
    operators.slot(1)
    operators.slot(1, offset=5)
    operators.slot(2)
    operators.slot(2, offset=5)
    held = operators.certificates[next(iter(operators.machines))]
    assert held
    operators.machines[away] = absent
    operators.slot(3)
    operators.slot(3, offset=5)
    assert [entry for entry in operators.abstained if entry[0] == away and entry[2] == "state"]
    reference = absent._certified.highest
    source = operators.machines[operators.rules.leader(3)]
    state = source._certified.state_after(reference)
    assert state is not None
    effects = absent.on_state(reference, state)
    operators.run(away, effects, operators.rules.slot_start(3))
    assert operators.certificates[away][3] is not None
    assert operators.certificates[away][3].report_hash == held[3].report_hash


def test_a_certificate_that_comes_while_the_node_still_computes_is_completed_by_its_report() -> None:
    operators = Operators(4)
    slow = follower(operators, 1)
    machine, original = operators.machines[slow], operators.machines[slow].on_report_ready
    waiting: list[Any] = []
    machine.on_report_ready = lambda *answer: waiting.append(answer) or ()  # type: ignore[func-returns-value, method-assign]
    operators.slot(1)
    certificate = operators.certificates[operators.rules.leader(1)][1]
    (pass_on,) = machine.on_certificate(encode_certificate(certificate))
    assert isinstance(pass_on, CertificateLearned)
    assert machine.on_certificate(encode_certificate(certificate)) == (), "once is enough"
    (done,) = original(*waiting[0])
    assert isinstance(done, CertificateReady)
    assert done.certificate == certificate


def test_a_certificate_of_the_own_report_completes_it_without_shares() -> None:
    operators = Operators(4)
    deaf = follower(operators, 1)
    original = operators.machines[deaf].on_message

    def without_shares(payload: bytes) -> Effects:
        return () if payload[1] == MessageKind.SHARE else original(payload)

    operators.machines[deaf].on_message = without_shares  # type: ignore[method-assign]
    operators.slot(1)
    assert not operators.certificates[deaf]
    certificate = operators.certificates[operators.rules.leader(1)][1]
    operators.run(deaf, operators.machines[deaf].on_certificate(encode_certificate(certificate)), 0)
    assert operators.certificates[deaf][1].report_hash == certificate.report_hash


def test_a_proposal_carries_the_parents_certificate_to_those_who_missed_it() -> None:
    operators = Operators(4)
    deaf = follower(operators, 2)
    original = operators.machines[deaf].on_message

    def without_shares(payload: bytes) -> Effects:
        return () if payload[1] == MessageKind.SHARE else original(payload)

    operators.machines[deaf].on_message = without_shares  # type: ignore[method-assign]
    operators.slot(1)
    operators.machines[deaf].on_message = original  # type: ignore[method-assign]
    operators.slot(2)
    assert sorted(operators.certificates[deaf]) == [1, 2]


class Weather:
    """Delivers late, twice, out of order, or never; one operator's clock is behind."""

    def __init__(self, n: int, seed: int, loss: float) -> None:
        self.operators = Operators(n)
        self.random = random.Random(seed)
        self.loss = loss
        self.in_flight: list[tuple[int, int, bytes]] = []
        self.certificates: dict[int, set[bytes]] = {}
        self.outcomes: dict[int, list[OutcomeReady]] = {}
        self.now = 0

    def run(self, rounds: int) -> None:
        rules = self.operators.rules
        for self.now in range(rules.slot_start(1), rules.slot_start(rounds + 1)):
            for index, machine in self.operators.machines.items():
                self.follow(index, machine.on_tick(1_000 * (self.now - index % 2)))
            due = [entry for entry in self.in_flight if entry[0] <= self.now]
            self.in_flight = [entry for entry in self.in_flight if entry[0] > self.now]
            self.random.shuffle(due)
            for _, index, payload in due:
                self.deliver(index, payload)

    def deliver(self, index: int, payload: bytes) -> None:
        machine = self.operators.machines[index]
        take = machine.on_certificate if payload[:1] == b"C" else machine.on_message
        try:
            effects = take(payload.removeprefix(b"C"))
        except ProtocolViolation as violation:
            if violation.code != "stale":
                raise
            effects = ()
        self.follow(index, effects)

    def send(self, sender: int, payload: bytes) -> None:
        for index in self.operators.machines:
            for _ in range(self.random.choice([1, 1, 2])):
                delay = 0 if index == sender else self.random.randint(0, 3)
                if index == sender or self.random.random() > self.loss:
                    self.in_flight.append((self.now + delay, index, payload))

    def follow(self, index: int, effects: Effects) -> None:
        machine = self.operators.machines[index]
        for effect in effects:
            if isinstance(effect, Observe):
                price = {"BTC": 50_000 + index, "ETH": 3_000 + index}
                seen = observation(self.now, head=self.now % 1_000 + 8, prices=price, highest=effect.highest_certified)
                self.follow(index, machine.on_observation(effect.round, seen))
            elif isinstance(effect, Send):
                self.send(index, effect.payload)
            elif isinstance(effect, OutcomeReady):
                self.outcomes.setdefault(effect.outcome.round, []).append(effect)
                header, state = report(self.operators.rules, effect.outcome, effect.parent_state)
                self.follow(index, machine.on_report_ready(header, state))
            elif isinstance(effect, SignShare):
                signature = sign_digest(effect.digest, private_key(index))
                self.follow(index, machine.on_signature(effect.header.round, signature))
            elif isinstance(effect, CertificateReady):
                self.certify(index, effect.certificate)

    def certify(self, index: int, certificate: Certificate) -> None:
        self.certificates.setdefault(certificate.header.round, set()).add(certificate.report_hash)
        self.send(index, b"C" + encode_certificate(certificate))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), loss=st.sampled_from([0.0, 0.1, 0.4]))
def test_whatever_the_network_does_no_round_has_two_certificates(seed: int, loss: float) -> None:
    weather = Weather(4, seed, loss)
    weather.run(6)
    for round_number, reports in weather.certificates.items():
        assert len(reports) == 1, round_number
    for outcomes in weather.outcomes.values():
        for ready in outcomes:
            assert 50_000 <= ready.outcome.value("BTC").value // 10**18 <= 50_003
    if not loss:
        assert sorted(weather.certificates) == [1, 2, 3, 4, 5, 6]
    for machine in weather.operators.machines.values():
        assert len(machine._open.in_order()) <= 3


def test_memory_stays_bounded_over_many_rounds() -> None:
    operators = Operators(4)
    for round_number in range(1, 30):
        operators.slot(round_number)
    for machine in operators.machines.values():
        assert isinstance(machine._open, OpenRounds)
        assert len(machine._open.in_order()) <= 3
        assert len(machine._certified._states) <= KEPT_REPORTS


def test_a_skipped_round_is_said_once() -> None:
    operators = Operators(4)
    operators.silent = set(operators.machines)
    for round_number in range(1, 6):
        operators.slot(round_number)
    expected = [(index, number, "leader_silent") for number in range(1, 5) for index in range(4)]
    assert operators.abstained == expected
    assert operators.machines[0].on_tick(operators.rules.slot_start_ms(6) - 1) == ()
    assert all(
        isinstance(each, Abstain | Observe) for each in operators.machines[0].on_tick(operators.rules.slot_start_ms(6))
    )
