"""Up to f operators in one hand: they lie, contradict themselves, withhold, hide, forge, replay, and hear all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Protocol

import msgspec

from attest.agreement.outcome import Outcome
from attest.agreement.proposals import reference_of
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState
from attest.agreement.voting import agree
from attest.formats.certificate import Certificate, assemble_certificate, decode_certificate, encode_certificate
from attest.formats.header import ReportHeader, report_hash
from attest.wire.envelope import open_body, read_envelope, seal
from attest.wire.messages import (
    GENESIS_REFERENCE,
    Body,
    FactorVote,
    Observation,
    Proposal,
    ReportReference,
    Share,
)
from riskschema.units import Wad
from tests.attest.agreement.round_kit import block
from tests.network.fake_keys import sign_as, sign_share
from tests.network.laws import Laws
from tests.network.parcels import Message, Parcel, Passed, StateAnswer, StateRequest, Wanted

MEMORY = 40
"""Messages kept for replay."""


class Stage(Protocol):
    """What the liars live in."""

    rules: AgreementRules
    laws: Laws
    random: Random
    genesis: AgreedState

    def look(self, operator: int, highest: ReportReference, clock_ms: int) -> Observation:
        """Return what an operator sees of chains and markets."""

    def assess(self, outcome: Outcome, parent_state: AgreedState) -> tuple[ReportHeader, AgreedState]:
        """Return the report that everybody works out."""

    def send(self, sender: int, receiver: int, parcel: Parcel) -> None:
        """Send to one."""

    def later(self, milliseconds: int, act: Callable[[], object]) -> None:
        """Do something after a while."""


class Liars:
    """Speaks for the faulty operators; what they do is drawn from the schedule's random numbers."""

    def __init__(self, faulty: Collection[int], stage: Stage) -> None:
        self.faulty = tuple(faulty)
        self._stage = stage
        self._random = stage.random
        self._heard: list[bytes] = []
        self._observations: dict[int, dict[int, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        self._signatures: dict[bytes, dict[int, bytes]] = defaultdict(dict)
        self._states: dict[ReportReference, AgreedState] = {GENESIS_REFERENCE: stage.genesis}
        self._headers: dict[bytes, ReportHeader] = {}
        self._certificates: dict[int, bytes] = {0: b""}
        self._proposed: set[int] = set()
        self._stories: dict[int, tuple[float, int, bool]] = {}
        self._noisy = self._random.random() < 0.4

    def hear(self, payload: bytes) -> None:
        """Learn from what correct operators say, wherever it goes."""
        envelope = read_envelope(payload)
        body = open_body(envelope)
        self._heard = [*self._heard[-MEMORY:], payload]
        if isinstance(body, Observation):
            self._observations[envelope.round][envelope.sender] = [payload]
            self._lead(envelope.round)
        elif isinstance(body, Proposal):
            self._work_out(envelope.round, body)
        elif isinstance(body, Share):
            self._signatures[body.report_hash][envelope.sender] = body.signature
            self._agree(envelope.round, body.report_hash)

    def take(self, receiver: int, parcel: Parcel) -> None:
        """Answer a question with nonsense, or not at all."""
        if isinstance(parcel, StateRequest):
            wrong = self._random.choice(list(self._states.values()))
            self._stage.send(receiver, parcel.asker, StateAnswer(parcel.reference, wrong))
        elif isinstance(parcel, Wanted):
            self._stage.send(receiver, parcel.asker, Passed(self._random.choice(list(self._certificates.values()))))

    def learn(self, certificate: Certificate) -> None:
        """Hold what correct operators pass on."""
        number = certificate.header.round
        self._headers.setdefault(certificate.report_hash, certificate.header)
        self._certificates.setdefault(number, encode_certificate(certificate))

    def begin(self, round_number: int, now_ms: int) -> None:
        """Observe at the beginning of a slot; make noise; show somebody something old."""
        for operator in self.faulty:
            self._observe(operator, round_number, now_ms)
            if self._noisy:
                self._make_noise(operator, round_number, now_ms)
        if self._random.random() < 0.2:
            self._show(self._random.choice(list(self._certificates.values())), self._some())

    def _observe(self, operator: int, round_number: int, now_ms: int) -> None:
        plan = "lie" if self._too_many else self._random.choice(["silent", "lie", "contradict", "contradict"])
        if plan == "silent":
            return
        for group in self._halves() if plan == "contradict" else [self._others()]:
            payload = self._say(operator, round_number, self._lie(operator, round_number, now_ms))
            self._observations[round_number][operator].append(payload)
            self._send(operator, group, Message(payload))
        self._lead(round_number)

    def _lie(self, operator: int, round_number: int, now_ms: int) -> Observation:
        """Return a valid observation without a true word; about prices and blocks all liars say the same."""
        random = self._random
        highest = self._reference(max(self._certificates))
        named = random.choice([GENESIS_REFERENCE, highest, self._invented(round_number)])
        true = self._stage.look(operator, named, now_ms)
        factor, confidence, forked = self._story(round_number)
        votes = [
            FactorVote(factor=vote.factor, value=Wad(int(vote.value * factor)), confidence=Wad(confidence))
            for vote in true.votes
        ]
        if random.random() < 0.3:
            votes.append(FactorVote(factor="INVENTED", value=Wad(10**18), confidence=Wad(1)))
        number = 1_000 + round_number
        lies = tuple(block(each, timestamp=now_ms // 1_000, fork=b"lie") for each in (number, number + 5_000_000))
        return msgspec.structs.replace(
            true,
            clock_ms=now_ms + random.randint(-10_000, 10_000),
            heads=lies if forked else random.choice([true.heads, ()]),
            votes=tuple(votes[:1] if random.random() < 0.1 else votes),
        )

    def _story(self, round_number: int) -> tuple[float, int, bool]:
        if round_number not in self._stories:
            factor = self._random.choice([0.5, 0.99, 1.01, 2.0, 1_000.0])
            self._stories[round_number] = (factor, self._random.choice([1, 10**9]), self._random.random() < 0.5)
        return self._stories[round_number]

    def _invented(self, round_number: int) -> ReportReference:
        number = self._random.choice([max(round_number - 1, 1), 2**62])
        return ReportReference(round=number, report_hash=self._random.randbytes(32))

    def _lead(self, round_number: int) -> None:
        """Propose once enough observations are there: late, twice, on an old parent, or to just enough operators."""
        leader = self._stage.rules.leader(round_number)
        known = self._observations[round_number]
        if leader not in self.faulty or round_number in self._proposed or len(known) < self._stage.rules.answering:
            return
        self._proposed.add(round_number)
        plan = "two" if self._too_many else self._random.choice(["silent", "one", "few", "two", "deep", "deep"])
        delay = 0 if self._too_many else self._random.choice([0, 0, 2_500, 9_000])
        if plan == "deep":
            delay = 2_500  # until everybody is heard
        self._stage.later(delay, lambda: self._propose(leader, round_number, plan))

    def _propose(self, leader: int, round_number: int, plan: str) -> None:
        """Put one proposal or two before all, some, or just enough; or one that builds on the oldest report it may."""
        groups = {"one": [self._others()], "few": [self._enough()], "two": self._halves(), "deep": [self._others()]}
        for group in groups.get(plan, []):
            observations = self._oldest(leader, round_number) if plan == "deep" else self._chosen(round_number)
            parent = self._lowest(observations) if plan == "deep" else self._parent()
            body = Proposal(observations=observations, parent_certificate=parent)
            self._work_out(round_number, body)
            message = Message(self._say(leader, round_number, body))
            self._send(leader, group, message)
            if plan == "two":  # to those who forgot the other since
                self._stage.later(4_000, lambda message=message: self._send(leader, self._others(), message))  # type: ignore[misc]

    def _oldest(self, leader: int, round_number: int) -> tuple[bytes, ...]:
        """Return the observations that name the lowest certificates, its own naming none."""
        known = {sender: each for sender, each in self._observations[round_number].items() if sender not in self.faulty}
        ordered = sorted(known, key=lambda sender: _named(known[sender][0]))
        start = self._stage.rules.slot_start_ms(round_number)
        own = {
            each: self._say(each, round_number, self._stage.look(each, GENESIS_REFERENCE, start))
            for each in self.faulty
        }
        chosen = {sender: known[sender][0] for sender in ordered[: max(self._stage.rules.answering - len(own), 0)]}
        return tuple(payload for _, payload in sorted({**own, **chosen}.items()))

    def _lowest(self, observations: Sequence[bytes]) -> bytes:
        """Return the certificate of the lowest round that the f + 1 highest observers allow."""
        named = sorted((_named(each) for each in observations), reverse=True)
        needed = named[min(self._stage.rules.one_honest, len(named)) - 1]
        return self._certificates[min((each for each in self._certificates if each >= needed), default=0)]

    def _parent(self) -> bytes:
        rounds = sorted(self._certificates)
        return self._certificates[rounds[-1] if self._random.random() < 0.5 else self._random.choice(rounds)]

    def _chosen(self, round_number: int) -> tuple[bytes, ...]:
        """Return as few observations as are enough, those of its own hand among them."""
        known = self._observations[round_number]
        honest = sorted(sender for sender in known if sender not in self.faulty)
        own = [sender for sender in self.faulty if known.get(sender)]
        needed = max(self._stage.rules.answering - len(own), 0)
        senders = sorted([*own, *self._random.sample(honest, min(needed, len(honest)))])
        return tuple(self._random.choice(known[sender]) for sender in senders)

    def _work_out(self, round_number: int, body: Proposal) -> None:
        """Compute what everybody can compute."""
        parent = GENESIS_REFERENCE
        if body.parent_certificate:
            held = next(
                (number for number, each in self._certificates.items() if each == body.parent_certificate), None
            )
            if held is None:
                return
            parent = self._reference(held)
        state = self._states.get(parent)
        if state is None or round_number <= state.round:
            return
        observations = {read_envelope(each).sender: open_body(read_envelope(each)) for each in body.observations}
        outcome = agree(
            self._stage.rules,
            round_number=round_number,
            observations=observations,  # type: ignore[arg-type]
            parent=parent,
            state=state,
        )
        header, after = self._stage.assess(outcome, state)
        report = report_hash(header)
        self._headers[report] = header
        self._states[ReportReference(round=round_number, report_hash=report)] = after

    def _agree(self, round_number: int, report: bytes) -> None:
        """Sign whatever a correct operator signed, for all or for some; hide the certificate, then show it to one."""
        digest = self._stage.rules.share_digest(report)
        for operator in self.faulty:
            if operator not in self._signatures[report]:
                self._signatures[report][operator] = signature = sign_share(operator, digest)
                body = Share(report_hash=report, signature=signature)
                payload = self._say(operator, round_number, body)
                self._send(operator, self._random.choice([self._others(), self._some(), []]), Message(payload))
        header, signatures = self._headers.get(report), self._signatures[report]
        if header is None or round_number in self._certificates or len(signatures) < self._stage.rules.certifying:
            return
        certificate = assemble_certificate(header, dict(signatures))
        self._stage.laws.holds(certificate)
        self._certificates[round_number] = payload = encode_certificate(certificate)
        delay = self._random.choice([100, 5_000, 9_000, 12_000, 25_000])
        self._stage.later(delay, lambda: self._show(payload, self._random.choice([self._some(), self._some()[:1]])))

    def _make_noise(self, operator: int, round_number: int, now_ms: int) -> None:
        """Send something forged, foreign, stale, early, broken, or from long ago."""
        random = self._random
        seen = self._lie(operator, round_number, now_ms)
        share = Share(report_hash=random.randbytes(32), signature=random.randbytes(65))
        old = random.choice(self._heard) if self._heard else b"noise"
        broken = bytearray(old)
        broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
        invalid = Proposal(observations=(old,), parent_certificate=random.randbytes(20))
        payload = random.choice(
            [
                lambda: self._say(operator, round_number, seen, sender=random.choice(self._others())),
                lambda: self._say(operator, round_number, seen, digest=random.randbytes(32)),
                lambda: self._say(operator, round_number + random.choice([-2, 1, 2, 2**40]), seen),
                lambda: self._say(operator, round_number, share),
                lambda: self._say(operator, round_number, invalid),
                lambda: bytes(broken),
                lambda: old,
                lambda: old[: random.randrange(len(old))],
                lambda: random.randbytes(random.randrange(200)),
            ]
        )()
        self._send(operator, self._others(), Message(payload))

    def _show(self, certificate: bytes, group: Sequence[int]) -> None:
        if certificate:
            self._send(self.faulty[0], group, Passed(certificate))

    def _reference(self, round_number: int) -> ReportReference:
        held = self._certificates[round_number]
        return reference_of(decode_certificate(held) if held else None)

    def _say(
        self, operator: int, round_number: int, body: Body, *, sender: int | None = None, digest: bytes | None = None
    ) -> bytes:
        return seal(
            body,
            config_digest=digest or self._stage.rules.config_digest,
            round_number=max(round_number, 0),
            sender=operator if sender is None else sender,
            sign=sign_as(operator),
        )

    def _others(self) -> list[int]:
        return [index for index in range(self._stage.rules.n) if index not in self.faulty]

    def _some(self) -> list[int]:
        return self._random.choice(self._halves())

    def _enough(self) -> list[int]:
        """Return just so many correct operators as make a quorum with the liars."""
        others = self._others()
        return self._random.sample(others, min(self._stage.rules.certifying - len(self.faulty), len(others)))

    def _halves(self) -> list[list[int]]:
        others = self._others()
        self._random.shuffle(others)
        even = len(others) // 2  # each half makes a quorum with more than f liars
        middle = even if self._too_many else self._random.randint(1, max(len(others) - 1, 1))
        return [others[:middle], others[middle:]]

    @property
    def _too_many(self) -> bool:
        """Whether they are more than f, and need not hide."""
        return len(self.faulty) >= self._stage.rules.one_honest

    def _send(self, operator: int, group: Sequence[int], parcel: Parcel) -> None:
        for receiver in group:
            self._stage.send(operator, receiver, parcel)


def _named(payload: bytes) -> int:
    body = open_body(read_envelope(payload))
    return body.highest_certified.round if isinstance(body, Observation) else 0
