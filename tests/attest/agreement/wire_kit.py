"""Machines that hear each other at once, and liars that only listen: what constructed schedules are played on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

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
from attest.wire.envelope import open_body, read_envelope, seal
from attest.wire.messages import GENESIS_REFERENCE, MessageKind, Proposal, ReportReference, Share
from riskschema.errors import ProtocolViolation
from tests.attest.agreement.round_kit import genesis_history, observation, report
from tests.network.fake_keys import fast_rules, sign_as, sign_share


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
