"""An operator that does what docs/agreement.md asks, on a disk that survives it, and that may crash at any effect.

Beyond the round machine it keeps what a driver must keep: every message before it counts, the report with its state
before it is signed, the guard's mark. After a restart it says again what it said; at every slot it passes on the
highest certificate it knows; it serves the state after any report that it signed.
"""

from __future__ import annotations

from random import Random
from typing import Protocol

from attest.agreement.effects import (
    CertificateLearned,
    CertificateReady,
    Effects,
    Equivocation,
    Observe,
    OutcomeReady,
    Send,
    SignShare,
    StateNeeded,
)
from attest.agreement.machine import RoundMachine
from attest.agreement.proposals import reference_of
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState, genesis_state
from attest.formats.certificate import Certificate, encode_certificate
from attest.formats.committee import round_at
from attest.formats.eip712 import sign_digest
from attest.formats.header import ReportHeader
from attest.keys.guard import Guard
from attest.wire.envelope import read_envelope
from attest.wire.messages import Observation, ReportReference
from riskschema.errors import ProtocolViolation, TransientError
from tests.attest.agreement.round_kit import genesis_history, identity, private_key, report, signer_address
from tests.attest.agreement.test_rounds_hostile import memory
from tests.soak.disk import Disk
from tests.soak.laws import Laws
from tests.soak.wire import Message, Parcel, PassedCertificate, StateAnswer, StateRequest

SLOWEST_ASSESSMENT = 4.0
EXAMINED_EVERY = 20
"""Messages: to look at all that a machine remembers before and after is slow."""


class Crash(Exception):
    """The process ends here."""


class Surroundings(Protocol):
    """What an operator lives in."""

    rules: AgreementRules
    laws: Laws
    random: Random
    crash_rate: float

    def look(self, operator: int, highest: ReportReference, now: int) -> Observation:
        """Return what the operator sees of chains and markets."""

    def broadcast(self, sender: int, parcel: Parcel) -> None:
        """Send to all others."""

    def answer(self, sender: int, receiver: int, parcel: Parcel) -> None:
        """Send to one."""


class CorrectOperator:
    """A round machine, its driver and its disk."""

    def __init__(self, index: int, around: Surroundings, *, clock_error: int, forgetful: bool = False) -> None:
        self.index = index
        self.disk = Disk()
        self.machine: RoundMachine | None = None
        self.restarts = 0
        self._around = around
        self._clock_error = clock_error
        self._forgetful = forgetful
        self._now = 0
        self._assessing: list[tuple[float, ReportHeader, AgreedState]] = []
        self._passed = 0
        self._taken = 0

    def tick(self, now: float) -> None:
        """Let a second go by."""
        self._now = max(int(now) + self._clock_error, self._around.rules.committee.genesis_time)
        if self.machine is None:
            return
        self._guarded(lambda machine: machine.on_tick(1_000 * self._now))
        ready = [each for each in self._assessing if each[0] <= now]
        self._assessing = [each for each in self._assessing if each[0] > now]
        for _, header, state in ready:
            self._guarded(lambda machine, header=header, state=state: self._report(machine, header, state))
        if self.machine is not None and self._passed < self.machine.current_round:
            self._passed = self.machine.current_round
            self._pass_on(self.machine._certified.highest_certificate)

    def take(self, parcel: Parcel) -> None:
        """Take what arrives; while the process is down it is lost."""
        if self.machine is None:
            return
        if isinstance(parcel, Message):
            self._guarded(lambda machine: self._keep_and_count(machine, parcel.payload))
        elif isinstance(parcel, PassedCertificate):
            self._guarded(lambda machine: machine.on_certificate(parcel.payload))
        elif isinstance(parcel, StateRequest):
            self._serve(parcel)
        else:
            self._guarded(lambda machine: self._take_state(machine, parcel))

    def start(self) -> None:
        """Begin from the disk, in the first slot that is free, and say again what was said in the open rounds."""
        rules, disk = self._around.rules, self.disk
        slot = round_at(rules.committee, self._now)
        guard = Guard(disk.marks, signer_address(self.index))  # type: ignore[arg-type]
        last = disk.last_certified()
        state, certificate = (genesis_state(rules, genesis_history()), None) if last is None else (last[1], last[0])
        first = max(guard.enter(rules.config_digest, slot), state.round + 1)
        if slot < first:
            return
        self._guard = guard
        sign = identity(self.index).sign
        self.machine = RoundMachine(
            rules, me=self.index, sign=sign, state=state, certificate=certificate, sign_from=first
        )
        self.restarts += 1
        kept = [payload for key, payload in disk.messages.items() if slot - 1 <= key[0]]
        for payload in kept:
            if read_envelope(payload).sender == self.index:
                self._around.broadcast(self.index, Message(payload))
        self._guarded(lambda machine: machine.on_restart(1_000 * self._now, kept))

    def crash(self) -> None:
        """Lose everything but the disk."""
        self.machine = None
        self._assessing = []
        if self._forgetful:
            self.disk = Disk()

    @property
    def highest(self) -> int:
        """The highest round that is certified and whose state is known; 0 while the process is down."""
        certified = None if self.machine is None else self.machine._certified
        return 0 if certified is None or certified.is_behind else certified.highest.round

    def _guarded(self, act) -> None:
        """Let the machine act and do what it asks; a refusal costs what was refused, a crash the process."""
        machine = self.machine
        if machine is None:
            return
        try:
            self._follow(machine, act(machine))
        except (ProtocolViolation, TransientError):
            pass
        except Crash:
            self.crash()
        self._around.laws.bounded(machine)

    def _keep_and_count(self, machine: RoundMachine, payload: bytes) -> Effects:
        self._taken += 1
        before = memory(machine) if self._taken % EXAMINED_EVERY == 0 else None
        try:
            effects = machine.on_message(payload)
        except ProtocolViolation:
            if before is not None:
                self._around.laws.refused(before, memory(machine))
            raise
        envelope = read_envelope(payload)
        self.disk.messages.setdefault((envelope.round, envelope.kind, envelope.sender), payload)
        return effects

    def _take_state(self, machine: RoundMachine, answer: StateAnswer) -> Effects:
        return machine.on_state(answer.reference, answer.state)

    def _follow(self, machine: RoundMachine, effects: Effects) -> None:
        for effect in effects:
            self._maybe_crash()
            if isinstance(effect, Observe):
                seen = self._around.look(self.index, effect.highest_certified, self._now)
                self._around.laws.observed(effect.round, seen)
                self._follow(machine, machine.on_observation(effect.round, seen))
            elif isinstance(effect, Send):
                self._send(machine, effect)
            elif isinstance(effect, OutcomeReady):
                self._assess(effect)
            elif isinstance(effect, SignShare):
                self._sign(machine, effect)
            elif isinstance(effect, CertificateReady):
                self._certified(effect.certificate, effect.state)
            elif isinstance(effect, CertificateLearned):
                self._pass_on(effect.payload)
            elif isinstance(effect, Equivocation):
                self._around.laws.accuses(effect)
            elif isinstance(effect, StateNeeded):
                self._ask(effect.reference)

    def _send(self, machine: RoundMachine, effect: Send) -> None:
        key = (effect.round, int(effect.kind), self.index)
        payload = self.disk.messages.setdefault(key, effect.payload)
        self._maybe_crash()
        self._around.broadcast(self.index, Message(payload))
        self._maybe_crash()
        self._follow(machine, machine.on_message(payload))

    def _assess(self, ready: OutcomeReady) -> None:
        self._around.laws.settled(ready.outcome)
        header, state = report(self._around.rules, ready.outcome, ready.parent_state)
        seconds = self._around.random.choice([0.0, 0.0, 1.0, SLOWEST_ASSESSMENT])
        self._assessing.append((self._now - self._clock_error + seconds, header, state))

    def _report(self, machine: RoundMachine, header: ReportHeader, state: AgreedState) -> Effects:
        effects = machine.on_report_ready(header, state)
        for effect in effects:
            if isinstance(effect, SignShare):
                self.disk.reports[ReportReference(round=header.round, report_hash=effect.report_hash)] = (header, state)
        return effects

    def _sign(self, machine: RoundMachine, effect: SignShare) -> None:
        number = effect.header.round
        signature = self._guard.sign_once(
            self._around.rules.config_digest,
            number,
            effect.report_hash,
            lambda: sign_digest(effect.digest, private_key(self.index)),
            parent_round=effect.parent_round,
        )
        self._around.laws.signed(self.index, number, effect.report_hash)
        self._maybe_crash()
        self._follow(machine, machine.on_signature(number, signature))

    def _certified(self, certificate: Certificate, state: AgreedState) -> None:
        self._around.laws.holds(certificate)
        reference = reference_of(certificate)
        self.disk.reports[reference] = (certificate.header, state)
        self.disk.certificates[reference.round] = certificate

    def _pass_on(self, payload: bytes) -> None:
        if payload:
            self._around.broadcast(self.index, PassedCertificate(payload))

    def _ask(self, reference: ReportReference) -> None:
        kept = self.disk.reports.get(reference)
        if kept is not None:
            self.take(StateAnswer(reference, b"", kept[1]))
            return
        self._around.broadcast(self.index, StateRequest(self.index, reference))

    def _serve(self, request: StateRequest) -> None:
        kept = self.disk.reports.get(request.reference)
        if kept is not None:
            certificate = self.disk.certificates.get(request.reference.round)
            payload = b"" if certificate is None else encode_certificate(certificate)
            self._around.answer(self.index, request.asker, StateAnswer(request.reference, payload, kept[1]))

    def _maybe_crash(self) -> None:
        if self._around.random.random() < self._around.crash_rate:
            raise Crash
