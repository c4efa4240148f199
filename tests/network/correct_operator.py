"""An operator that does what docs/agreement.md asks, on a disk that survives it, and that may crash at any effect."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from attest.agreement.effects import (
    CertificateLearned,
    CertificateNeeded,
    CertificateReady,
    Effect,
    Effects,
    Equivocation,
    Observe,
    OutcomeReady,
    Resend,
    Send,
    SignShare,
    StateNeeded,
)
from attest.agreement.machine import RoundMachine
from attest.agreement.outcome import Outcome
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate, encode_certificate
from attest.formats.committee import round_at
from attest.formats.header import ReportHeader
from attest.keys.guard import Guard
from attest.wire.envelope import read_envelope
from attest.wire.messages import MessageKind, Observation, ReportReference
from riskschema.errors import ProtocolViolation, TransientError
from tests.network.disk import Disk
from tests.network.fake_keys import sign_as, sign_share, signer_of
from tests.network.laws import Laws
from tests.network.parcels import Message, Parcel, Passed, StateAnswer, StateRequest, Wanted


class Crash(Exception):
    """The process ends here."""


class Surroundings(Protocol):
    """What an operator lives in."""

    rules: AgreementRules
    laws: Laws
    random: Random
    genesis: AgreedState
    now: int

    @property
    def crash_rate(self) -> float:
        """How likely the process ends at an effect."""

    def look(self, operator: int, highest: ReportReference, clock_ms: int) -> Observation:
        """Return what the operator sees of chains and markets."""

    def assess(self, outcome: Outcome, parent_state: AgreedState) -> tuple[ReportHeader, AgreedState]:
        """Return the report that everybody works out."""

    def assessment_ms(self) -> int | None:
        """Return how long an assessment takes now; None: it fails."""

    def broadcast(self, sender: int, parcel: Parcel) -> None:
        """Send to all others."""

    def send(self, sender: int, receiver: int, parcel: Parcel) -> None:
        """Send to one."""

    def later(self, milliseconds: int, act: Callable[[], object]) -> None:
        """Do something after a while."""

    def certified(self, certificate: Certificate) -> None:
        """Show the liars what everybody knows."""

    def may_lose_database(self, operator: int) -> bool:
        """Say whether a crash may take an operator's database."""


class CorrectOperator:
    """A round machine, its driver and its disk."""

    def __init__(self, index: int, around: Surroundings, *, clock_error: int = 0, forgetful: bool = False) -> None:
        self.index = index
        self.disk = Disk()
        self.machine: RoundMachine | None = None
        self.starts = 0
        self.clock_error = clock_error
        self._around = around
        self._forgetful = forgetful
        self._now = 0
        self._wake = 0
        self._ticked = 0

    def start(self, now_ms: int) -> None:
        """Begin from the disk, in the first slot that is free."""
        self._now = now_ms
        rules, disk = self._around.rules, self.disk
        slot = round_at(rules.committee, self._clock // 1_000)
        last = disk.last_certified()
        state, certificate = (self._around.genesis, None) if last is None else (last[1], last[0])
        guard = Guard(disk.marks, signer_of(self.index))  # type: ignore[arg-type]
        first = max(guard.enter(rules.config_digest, slot, parent_round=state.round), state.round + 1)
        if slot < first:
            self._around.later(rules.slot_start_ms(first) - self._clock, self._start_again)
            return
        self._guard = guard
        self.starts += 1
        self.machine = RoundMachine(
            rules,
            me=self.index,
            sign=sign_as(self.index),
            state=state,
            certificate=certificate,
            sign_from=first,
            parent_from=guard.parent_round(rules.config_digest),
        )
        kept = [payload for key, payload in disk.messages.items() if slot - 1 <= key[0]]
        for payload in kept:
            if read_envelope(payload).sender == self.index:
                self._around.broadcast(self.index, Message(payload))
        self._guarded(lambda machine: machine.on_restart(self._clock, kept))

    def _start_again(self) -> None:
        if self.machine is None:
            self.start(self._around.now)

    def tick(self, now_ms: int) -> None:
        """Let time go by; nothing happens before the machine wants to wake."""
        self._now = now_ms
        if self.machine is not None and self._clock >= self._wake:
            self._ticked = self._clock
            self._guarded(lambda machine: machine.on_tick(self._clock))

    def misread(self, clock_ms: int) -> None:
        """Tick once by a clock that is wrong."""
        if self.machine is not None:
            self._guarded(lambda machine: machine.on_tick(clock_ms))

    def take(self, parcel: Parcel, now_ms: int) -> None:
        """Take what arrives; while the process is down it is lost."""
        self._now = now_ms
        if self.machine is None:
            return
        if isinstance(parcel, Message):
            self._guarded(lambda machine: self._keep(machine, parcel.payload))
        elif isinstance(parcel, Passed):
            self._guarded(lambda machine: machine.on_certificate(parcel.payload))
        elif isinstance(parcel, StateAnswer):
            self._guarded(lambda machine: machine.on_state(parcel.reference, parcel.state))
        else:
            self._serve(parcel)

    def crash(self, *, lose_database: bool = False) -> None:
        """Lose everything but the disk."""
        self.machine = None
        self._around.later(self._around.random.randint(200, 12_000), self._start_again)
        if lose_database:
            self.disk.restore_database()
        if self._forgetful:
            self.disk = Disk()

    @property
    def _clock(self) -> int:
        return max(self._now + self.clock_error, self._around.rules.slot_start_ms(0))

    def _guarded(self, act: Callable[[RoundMachine], Effects]) -> None:
        """Let the machine act and do what it asks; a refusal costs what was refused, a crash the process."""
        machine = self.machine
        if machine is None:
            return
        try:
            self._follow(machine, act(machine))
        except ProtocolViolation:
            pass
        except Crash:
            self.crash(lose_database=self._around.may_lose_database(self.index) and self._around.random.random() < 0.5)
        self._around.laws.bounded(machine)
        # at least once an interval: after a wrong reading of the clock the machine's own moment lies far ahead
        self._wake = min(machine.next_wake(), self._ticked + self._around.rules.interval_ms)

    def _keep(self, machine: RoundMachine, payload: bytes) -> Effects:
        effects = machine.on_message(payload)
        envelope = read_envelope(payload)
        self.disk.messages.setdefault((envelope.round, envelope.kind, envelope.sender), payload)
        return effects

    def _follow(self, machine: RoundMachine, effects: Effects) -> None:
        for effect in effects:
            self._maybe_crash()
            self._perform(machine, effect)

    def _perform(self, machine: RoundMachine, effect: Effect) -> None:
        if isinstance(effect, Observe):
            self._observe(machine, effect)
        elif isinstance(effect, Send):
            self._send(machine, effect)
        elif isinstance(effect, OutcomeReady):
            self._assess(machine, effect)
        elif isinstance(effect, SignShare):
            self._sign(machine, effect)
        elif isinstance(effect, CertificateReady):
            self._certified(effect.certificate, effect.state)
        elif isinstance(effect, StateNeeded):
            self._ask(machine, effect)
        elif isinstance(effect, Equivocation):
            self._around.laws.accuses(effect)
        else:
            self._tell(effect)

    def _tell(self, effect: Effect) -> None:
        if isinstance(effect, Resend):
            for payload in effect.payloads:
                self._around.broadcast(self.index, Message(payload))
        elif isinstance(effect, CertificateLearned):
            self._around.broadcast(self.index, Passed(effect.payload))
        elif isinstance(effect, CertificateNeeded):
            self._around.send(self.index, effect.peer, Wanted(self.index, effect.reference))

    def _observe(self, machine: RoundMachine, effect: Observe) -> None:
        seen = self._around.look(self.index, effect.highest_certified, self._clock)
        self._around.laws.observed(effect.round, seen)
        self._follow(machine, machine.on_observation(effect.round, seen))

    def _send(self, machine: RoundMachine, effect: Send) -> None:
        key = (effect.round, int(effect.kind), self.index)
        payload = self.disk.messages.get(key)
        if payload is None:
            try:
                self._mark(effect)
            except TransientError as error:
                self._follow(machine, machine.on_failed(effect.round, error.code))
                return
            self._maybe_crash()
            payload = self._store(key, effect.payload)
        self._maybe_crash()
        self._around.laws.stored(kept=self.disk.messages.get(key) == payload)
        self._around.laws.said(self.index, *key[:2], payload)
        self._around.broadcast(self.index, Message(payload))
        self._maybe_crash()
        self._follow(machine, machine.on_message(payload))

    def _mark(self, effect: Send) -> None:
        """Let the guard know before the store does, so that the store holds nothing that the guard refuses."""
        if effect.kind is not MessageKind.SHARE:
            digest = read_envelope(effect.payload).digest
            self._guard.say_once(self._around.rules.config_digest, effect.kind, effect.round, digest)

    def _store(self, key: tuple[int, int, int], payload: bytes) -> bytes:
        return self.disk.messages.setdefault(key, payload)

    def _assess(self, machine: RoundMachine, ready: OutcomeReady) -> None:
        self._around.laws.settled(ready.outcome)
        header, state = self._around.assess(ready.outcome, ready.parent_state)

        def report() -> None:
            if self.machine is machine:
                self._guarded(lambda same: self._report(same, header, state))

        milliseconds = self._around.assessment_ms()
        if milliseconds is None:
            self._follow(machine, machine.on_failed(ready.outcome.round, "deadline"))
        elif milliseconds:
            self._around.later(milliseconds, report)
        else:
            self._follow(machine, self._report(machine, header, state))

    def _report(self, machine: RoundMachine, header: ReportHeader, state: AgreedState) -> Effects:
        """Store the report, then give it to the machine: it may be signed from then on."""
        effects = machine.on_report_ready(header, state)
        for effect in effects:
            if isinstance(effect, SignShare):
                self.disk.reports[ReportReference(round=header.round, report_hash=effect.report_hash)] = (header, state)
        return effects

    def _sign(self, machine: RoundMachine, effect: SignShare) -> None:
        number = effect.header.round
        try:
            signature = self._guard.sign_once(
                self._around.rules.config_digest,
                number,
                effect.report_hash,
                lambda: sign_share(self.index, effect.digest),
                parent_round=effect.parent_round,
            )
        except TransientError as error:
            self._follow(machine, machine.on_failed(number, error.code))
            return
        self._around.laws.signed(self.index, effect.header, effect.report_hash)
        self._maybe_crash()
        self._follow(machine, machine.on_signature(number, signature))

    def _certified(self, certificate: Certificate, state: AgreedState) -> None:
        self._around.laws.holds(certificate, state)
        self._around.certified(certificate)
        reference = ReportReference(round=certificate.header.round, report_hash=certificate.report_hash)
        self.disk.reports[reference] = (certificate.header, state)
        self.disk.certificates[reference.round] = certificate

    def _ask(self, machine: RoundMachine, needed: StateNeeded) -> None:
        kept = self.disk.reports.get(needed.reference)
        if kept is not None:
            self._follow(machine, machine.on_state(needed.reference, kept[1]))
            return
        for peer in needed.peers:
            self._around.send(self.index, peer, StateRequest(self.index, needed.reference))

    def _serve(self, request: StateRequest | Wanted) -> None:
        kept = self.disk.reports.get(request.reference)
        if isinstance(request, StateRequest) and kept is not None:
            self._around.send(self.index, request.asker, StateAnswer(request.reference, kept[1]))
        certificate = self.disk.certificates.get(request.reference.round)
        if certificate is not None:
            self._around.send(self.index, request.asker, Passed(encode_certificate(certificate)))
        elif self.machine is not None and self.machine.highest_certified.round >= request.reference.round:
            self._around.send(self.index, request.asker, Passed(self.machine._certified.highest_certificate))

    def _maybe_crash(self) -> None:
        if self._around.crash_rate and self._around.random.random() < self._around.crash_rate:
            raise Crash
