"""A committee of one runs every step of a round, and goes on after a restart at any of them."""

from typing import Any, TypeVar

import msgspec
import pytest

from attest.agreement.effects import (
    Abstain,
    CertificateLearned,
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
from attest.agreement.rules import AgreementRules, leader_order
from attest.agreement.state import AgreedState, genesis_state
from attest.encoding.typed_data import hash_struct
from attest.formats.certificate import Certificate, encode_certificate, verify_certificate
from attest.formats.eip712 import sign_digest
from attest.formats.parameters import AgreementParameters, ChainParameters
from attest.wire.messages import GENESIS_REFERENCE, MessageKind
from riskschema.errors import FatalError, InvalidData, ProtocolViolation
from tests.attest.agreement.round_kit import (
    GENESIS,
    INTERVAL,
    committee,
    genesis_history,
    identity,
    observation,
    private_key,
    report,
    rules,
)

RULES = rules(1)


def start(
    *, sign_from: int = 1, certificate: Certificate | None = None, state: AgreedState | None = None
) -> RoundMachine:
    return RoundMachine(
        RULES,
        me=0,
        sign=identity(0).sign,
        state=state or genesis_state(RULES, genesis_history()),
        certificate=certificate,
        sign_from=sign_from,
    )


E = TypeVar("E")


def only(effects: Effects, kind: type[E]) -> E:
    (effect,) = effects
    assert isinstance(effect, kind), effect
    return effect


class Driver:
    """Steps through a round as the node does; `stored` is the database, `guard` what was signed."""

    def __init__(self) -> None:
        self.machine = start()
        self.stored: list[bytes] = []
        self.signed: dict[int, bytes] = {}
        self.certified: list[CertificateReady] = []

    def keep(self, send: Send) -> Effects:
        kept = next((old for old in self.stored if old[:43] == send.payload[:43]), None)
        if kept is None:
            self.stored.append(send.payload)
        return self.machine.on_message(kept or send.payload)

    def sign(self, effects: Effects) -> Effects:
        ask = only(effects, SignShare)
        assert self.signed.setdefault(ask.header.round, ask.report_hash) == ask.report_hash
        return self.machine.on_signature(ask.header.round, sign_digest(ask.digest, private_key(0)))

    def go_on(self, effects: Effects, now: int, *, die_after: int = 99) -> int:
        """Follow the effects; return how many steps were made before the end or the crash."""
        for step in range(die_after):
            effects = tuple(each for each in effects if not isinstance(each, CertificateLearned))
            if not effects:
                return step
            (effect,) = effects
            if isinstance(effect, Observe):
                effects = self.machine.on_observation(effect.round, observation(now, highest=effect.highest_certified))
            elif isinstance(effect, Send):
                effects = self.keep(effect)
            elif isinstance(effect, OutcomeReady):
                effects = self.machine.on_report_ready(*report(RULES, effect.outcome, effect.parent_state))
            elif isinstance(effect, SignShare):
                effects = self.sign(effects)
            else:
                assert isinstance(effect, CertificateReady)
                self.certified.append(effect)
                effects = ()
        return die_after


STEPS = 7
"""Observe, observation, proposal, outcome, share signed, share, certificate."""


def test_a_round_goes_through_its_steps_in_order() -> None:
    machine, now = start(), GENESIS + INTERVAL
    observe = only(machine.on_tick(1_000 * now), Observe)
    assert (observe.round, observe.highest_certified) == (1, GENESIS_REFERENCE)
    seen = only(machine.on_observation(1, observation(now)), Send)
    assert seen.kind is MessageKind.OBSERVATION
    proposal = only(machine.on_message(seen.payload), Send)
    assert proposal.kind is MessageKind.PROPOSAL
    ready = only(machine.on_message(proposal.payload), OutcomeReady)
    assert (ready.outcome.round, ready.parent_state.round) == (1, 0)
    header, state = report(RULES, ready.outcome, ready.parent_state)
    sign = only(machine.on_report_ready(header, state), SignShare)
    share = only(machine.on_signature(1, sign_digest(sign.digest, private_key(0))), Send)
    assert share.kind is MessageKind.SHARE
    done, pass_on = machine.on_message(share.payload)
    assert isinstance(done, CertificateReady)
    assert pass_on == CertificateLearned(
        reference=reference_of(done.certificate), payload=encode_certificate(done.certificate)
    )
    assert (done.certificate.header, done.state) == (header, state)
    verify_certificate(
        done.certificate,
        config_digest=RULES.config_digest,
        operators=RULES.committee.signers,
        destinations=RULES.committee.destinations,
    )
    assert machine.on_tick(1_000 * (now + 1)) == ()


def test_each_report_builds_on_the_one_before() -> None:
    driver = Driver()
    for round_number in (1, 2, 3):
        now = GENESIS + INTERVAL * round_number
        assert driver.go_on(driver.machine.on_tick(1_000 * now), now) == STEPS
    hashes = [each.certificate.report_hash for each in driver.certified]
    assert [each.certificate.header.parent for each in driver.certified] == [bytes(32), *hashes[:-1]]
    assert [each.state.round for each in driver.certified] == [1, 2, 3]


def test_a_skipped_slot_is_no_gap_in_the_chain_of_reports() -> None:
    driver = Driver()
    for round_number in (1, 5):
        now = GENESIS + INTERVAL * round_number
        driver.go_on(driver.machine.on_tick(1_000 * now), now)
    first, second = (each.certificate for each in driver.certified)
    assert second.header.parent == first.report_hash


@pytest.mark.parametrize("steps", range(STEPS))
def test_a_restart_after_any_step_ends_in_the_same_report(steps: int) -> None:
    undisturbed, driver, now = Driver(), Driver(), GENESIS + INTERVAL
    undisturbed.go_on(undisturbed.machine.on_tick(1_000 * now), now)
    assert driver.go_on(driver.machine.on_tick(1_000 * now), now, die_after=steps) == steps
    driver.machine = start()
    driver.go_on(driver.machine.on_restart(1_000 * (now + 3), driver.stored), now + 3 * (steps < 2))
    assert [each.certificate.header.round for each in driver.certified] == [1]
    if steps >= 2:
        assert driver.certified[0].certificate == undisturbed.certified[0].certificate
        assert driver.stored == undisturbed.stored


@pytest.mark.parametrize("steps", range(2, STEPS))
def test_a_restart_without_replaying_meets_what_was_stored(steps: int) -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    driver.go_on(driver.machine.on_tick(1_000 * now), now, die_after=steps)
    stored = tuple(driver.stored)
    driver.machine = start()
    assert driver.go_on(driver.machine.on_tick(1_000 * (now + 4)), now + 4) == STEPS
    assert tuple(driver.stored[: len(stored)]) == stored
    assert len(driver.certified) == 1


def test_a_round_that_a_crash_interrupted_is_finished_in_the_next_slot() -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    driver.go_on(driver.machine.on_tick(1_000 * now), now, die_after=5)
    driver.machine = start()
    late = driver.machine.on_restart(1_000 * (now + INTERVAL), driver.stored)
    driver.go_on((only(late, OutcomeReady),), now + INTERVAL)
    assert [each.certificate.header.round for each in driver.certified] == [1]
    assert driver.machine.next_wake() <= 1_000 * (now + INTERVAL), "what waited for the report goes on at once"
    rest = driver.machine.on_tick(1_000 * (now + INTERVAL))
    driver.go_on((only(rest, Observe),), now + INTERVAL)
    assert driver.certified[1].certificate.header.parent == driver.certified[0].certificate.report_hash


@pytest.mark.parametrize("slots_later", [0, 1])
def test_a_round_that_was_certified_before_the_crash_is_not_run_again(slots_later: int) -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    driver.go_on(driver.machine.on_tick(1_000 * now), now)
    (done,) = driver.certified
    machine = start(certificate=done.certificate, state=done.state)
    effects = machine.on_restart(1_000 * (now + slots_later * INTERVAL), driver.stored)
    assert [(type(effect), effect.round) for effect in effects] == [(Observe, 2)] * slots_later
    forgetful = start(certificate=done.certificate, state=done.state)
    assert forgetful.on_restart(1_000 * now, ()) == ()


def test_a_database_of_another_committee_is_not_taken_up() -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    driver.go_on(driver.machine.on_tick(1_000 * now), now)
    other = AgreementRules.of(committee(1, account_cap=5))
    state = genesis_state(other, genesis_history())
    with pytest.raises(ProtocolViolation) as caught:
        RoundMachine(other, me=0, sign=identity(0).sign, state=state).on_restart(1_000 * now, driver.stored)
    assert caught.value.code == "foreign"


def test_after_a_restart_from_the_last_certificate_the_chain_goes_on() -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    driver.go_on(driver.machine.on_tick(1_000 * now), now)
    (done,) = driver.certified
    machine = start(certificate=done.certificate, state=done.state)
    observe = only(machine.on_tick(1_000 * (now + INTERVAL)), Observe)
    assert observe.highest_certified.report_hash == done.certificate.report_hash


def test_below_the_guards_floor_the_node_follows_but_does_not_sign() -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    driver.machine = start(sign_from=2)
    seen = only(driver.machine.on_tick(1_000 * now), Observe)
    send = only(driver.machine.on_observation(seen.round, observation(now)), Send)
    ready = only(driver.keep(only(driver.keep(send), Send)), OutcomeReady)
    header, state = report(RULES, ready.outcome, ready.parent_state)
    assert driver.machine.on_report_ready(header, state) == (Abstain(round=1, code="guard_refuses"),)
    assert driver.go_on(driver.machine.on_tick(1_000 * (now + INTERVAL)), now + INTERVAL) == STEPS


def test_a_report_that_does_not_say_what_was_agreed_is_not_signed() -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    send = only(driver.machine.on_tick(1_000 * now), Observe)
    first = only(driver.machine.on_observation(send.round, observation(now)), Send)
    ready = only(driver.keep(only(driver.keep(first), Send)), OutcomeReady)
    header, state = report(RULES, ready.outcome, ready.parent_state)
    for field in ("config_digest", "parent", "state_root", "pins_root"):
        with pytest.raises(InvalidData, match=field):
            driver.machine.on_report_ready(msgspec.structs.replace(header, **{field: bytes([9]) * 32}), state)
    for field in ("observed_at", "valid_until"):
        with pytest.raises(InvalidData, match=field):
            driver.machine.on_report_ready(msgspec.structs.replace(header, **{field: 1}), state)


def test_answers_that_come_after_the_round_is_over_do_nothing() -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    machine = driver.machine
    observe = only(machine.on_tick(1_000 * now), Observe)
    ready = only(
        driver.keep(only(driver.keep(only(machine.on_observation(observe.round, observation(now)), Send)), Send)),
        OutcomeReady,
    )
    machine.on_tick(1_000 * (now + 5 * INTERVAL))
    assert machine.on_report_ready(*report(RULES, ready.outcome, ready.parent_state)) == ()
    assert machine.on_signature(1, bytes(65)) == ()
    assert machine.on_observation(1, observation(now)) == ()


def test_a_round_that_ends_without_a_report_says_why() -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    machine = driver.machine
    machine.on_tick(1_000 * now)
    silent, observe = machine.on_tick(1_000 * (now + INTERVAL))
    assert silent == Abstain(round=1, code="leader_silent")
    driver.go_on((observe,), now + INTERVAL, die_after=3)
    late = machine.on_tick(1_000 * (now + 2 * INTERVAL))
    assert late == (Abstain(round=2, code="deadline"),), "nothing is observed while the report is still worked on"
    assert machine.on_failed(2, "deadline") == ()
    (observe,) = machine.on_tick(1_000 * (now + 2 * INTERVAL))
    driver.go_on((observe,), now + 2 * INTERVAL, die_after=5)
    unsigned, _ = machine.on_tick(1_000 * (now + 3 * INTERVAL))
    assert unsigned == Abstain(round=3, code="quorum_missing")


def test_round_zero_is_the_genesis() -> None:
    machine = start()
    assert machine.on_tick(1_000 * GENESIS) == ()
    only(machine.on_tick(1_000 * (GENESIS + INTERVAL)), Observe)
    with pytest.raises(InvalidData, match="genesis"):
        start().on_tick(1_000 * (GENESIS - 1))


def test_an_own_observation_that_nobody_would_take_is_refused_here() -> None:
    machine = start()
    machine.on_tick(1_000 * (GENESIS + INTERVAL))
    with pytest.raises(ProtocolViolation, match="clock"):
        machine.on_observation(1, observation(GENESIS + 20 * INTERVAL))


def test_an_identity_that_the_committee_does_not_name_stops_the_node() -> None:
    with pytest.raises(FatalError, match="identity key"):
        RoundMachine(RULES, me=0, sign=identity(5).sign, state=genesis_state(RULES, genesis_history()))


def test_a_certificate_restores_a_node_that_lost_its_own() -> None:
    driver, now = Driver(), GENESIS + INTERVAL
    driver.go_on(driver.machine.on_tick(1_000 * now), now)
    (done,) = driver.certified
    fresh = start()
    fresh.on_tick(1_000 * (now + INTERVAL))
    needed, _ = fresh.on_certificate(encode_certificate(done.certificate))
    assert needed == StateNeeded(
        reference=reference_of(done.certificate), certificate=encode_certificate(done.certificate), peers=()
    )
    assert fresh.on_state(needed.reference, done.state) == (done,)
    observe = only(fresh.on_tick(1_000 * (now + 2 * INTERVAL))[1:], Observe)
    assert observe.highest_certified.round == 1


def test_the_leaders_are_a_permutation_drawn_from_the_config_digest() -> None:
    orders = {leader_order(bytes([seed]) * 32, 7) for seed in range(20)}
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len(orders) > 15
    used = rules(7)
    assert [used.leader(number) for number in range(7)] == list(used.leaders)
    assert used.leader(7) == used.leader(0)


def test_parameters_that_make_no_sense_are_refused() -> None:
    chain = ChainParameters(chain_id=1)
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"chains": (ChainParameters(chain_id=1, pin_stride=0),)}, "pin_stride"),
        ({"chains": (chain, chain)}, "chains"),
        ({"factors": ("ETH", "BTC")}, "factors"),
    )
    for wrong, what in cases:
        with pytest.raises(InvalidData, match=what):
            rules(1, AgreementParameters(**wrong))


def test_all_parameters_are_hashed() -> None:
    numbers = [name for name in AgreementParameters.__struct_fields__ if name not in {"chains", "factors"}]
    changes: list[dict[str, Any]] = [{name: 7} for name in numbers]
    changes += [
        {"chains": (ChainParameters(chain_id=1, **{name: 7}),)} for name in ChainParameters.__struct_fields__[1:]
    ]
    changes += [{}, {"chains": (ChainParameters(chain_id=7),)}, {"factors": ("A",)}, {"factors": ("A", "B")}]
    hashes = {hash_struct(AgreementParameters(**change)) for change in changes}
    assert len(hashes) == len(changes)
    assert rules(1).parameters_hash == hash_struct(AgreementParameters())


YEAR = 365 * 86_400


def at_slot(round_number: int) -> int:
    return GENESIS + INTERVAL * round_number


def test_a_small_step_back_of_the_clock_is_ignored() -> None:
    driver = Driver()
    effects = driver.machine.on_tick(1_000 * at_slot(5))
    for slots in (1, 2):
        assert driver.machine.on_tick(1_000 * (at_slot(5 - slots))) == ()
        assert driver.machine.current_round == 5
    assert driver.go_on(effects, at_slot(5)) == STEPS, "the round under way goes on"


@pytest.mark.parametrize(
    "wrong", [[YEAR], [YEAR, YEAR + 60, 2 * YEAR], [4 * INTERVAL], [-10 * INTERVAL], [YEAR, -YEAR]]
)
def test_after_wrong_readings_of_the_clock_the_next_slot_is_as_any_other(wrong: list[int]) -> None:
    driver = Driver()
    first = at_slot(YEAR // INTERVAL + 100)
    driver.go_on(driver.machine.on_tick(1_000 * first), first)
    for off in wrong:
        for effect in driver.machine.on_tick(1_000 * (first + INTERVAL + off)):
            assert isinstance(effect, Observe | Abstain)  # the node abstains: no block is as new as its clock
    for slots in (2, 3):
        now = first + slots * INTERVAL
        effects = [each for each in driver.machine.on_tick(1_000 * now) if not isinstance(each, Abstain)]
        assert driver.go_on(tuple(effects), now) == STEPS
    assert [each.certificate.header.observed_at for each in driver.certified] == [
        first,
        first + 2 * INTERVAL,
        first + 3 * INTERVAL,
    ]


@pytest.mark.parametrize("steps", range(1, STEPS))
def test_a_round_that_a_wrong_reading_interrupted_is_not_begun_again(steps: int) -> None:
    driver = Driver()
    now = at_slot(5)
    driver.go_on(driver.machine.on_tick(1_000 * now), now, die_after=steps)
    driver.machine.on_failed(5, "clock_wrong")
    driver.machine.on_tick(1_000 * (now + YEAR))
    again = driver.machine.on_tick(1_000 * (now + 1))
    assert not any(isinstance(each, Observe | Send | SignShare) for each in again)
    assert driver.machine.current_round == 5
    effects = [each for each in driver.machine.on_tick(1_000 * at_slot(6)) if not isinstance(each, Abstain)]
    assert driver.go_on(tuple(effects), at_slot(6)) == STEPS


def test_a_year_later_the_slot_of_the_wrong_reading_is_left_out() -> None:
    driver = Driver()
    driver.machine.on_tick(1_000 * (at_slot(1_000)))
    driver.machine.on_tick(1_000 * at_slot(5))
    assert not any(isinstance(each, Observe) for each in driver.machine.on_tick(1_000 * (at_slot(1_000))))
    assert any(isinstance(each, Observe) for each in driver.machine.on_tick(1_000 * (at_slot(1_001))))
