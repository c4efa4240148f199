"""Up to f operators in one hand: they lie, contradict themselves, withhold, forge, replay, and know what all say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import msgspec

from attest.formats.certificate import Certificate, assemble_certificate, encode_certificate
from attest.formats.eip712 import sign_digest
from attest.formats.header import ReportHeader
from attest.wire.envelope import open_body, read_envelope, seal
from attest.wire.messages import (
    Body,
    FactorVote,
    Observation,
    Proposal,
    ReportReference,
    Share,
)
from riskschema.units import Wad
from tests.attest.agreement.round_kit import block, identity, private_key
from tests.soak.correct_operator import Surroundings
from tests.soak.wire import Message, Parcel, PassedCertificate, StateAnswer, StateRequest

MEMORY = 60
"""Messages kept for replay."""


class Adversary:
    """Speaks for the faulty operators; what it does is drawn from the schedule's random numbers."""

    def __init__(self, faulty: Collection[int], around: Surroundings) -> None:
        self.faulty = tuple(faulty)
        self._around = around
        self._random = around.random
        self._heard: list[bytes] = []
        self._observations: dict[int, dict[int, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        self._signatures: dict[tuple[int, bytes], dict[int, bytes]] = defaultdict(dict)
        self._certificates: dict[int, bytes] = {0: b""}
        self._done: set[tuple[str, int, int]] = set()
        self._highest: ReportReference | None = None

    def take(self, receiver: int, parcel: Parcel) -> None:
        """Learn from what arrives at one of the faulty operators; answer questions with nonsense."""
        if isinstance(parcel, StateRequest):
            self._mislead(receiver, parcel)
        if not isinstance(parcel, Message):
            return
        envelope = read_envelope(parcel.payload)
        self._heard = [*self._heard[-MEMORY:], parcel.payload]
        body = open_body(envelope)
        if isinstance(body, Observation):
            self._observations[envelope.round][envelope.sender] = [parcel.payload]
            self._highest = max(self._highest or body.highest_certified, body.highest_certified)
        elif isinstance(body, Share):
            self._signatures[envelope.round, body.report_hash][envelope.sender] = body.signature
            self._agree(envelope.round, body.report_hash)

    def learn_report(self, header: ReportHeader, report: bytes) -> None:
        """Compute what everybody can compute: once enough have signed it, there is a certificate to hide or to show."""
        if header.round in self._certificates:
            return
        signatures = dict(self._signatures[header.round, report])
        digest = self._around.rules.share_digest(report)
        signatures |= {each: sign_digest(digest, private_key(each)) for each in self.faulty}
        if len(signatures) >= self._around.rules.certifying:
            certificate: Certificate = assemble_certificate(header, signatures)
            self._around.laws.holds(certificate)
            self._certificates[header.round] = encode_certificate(certificate)

    def tick(self, now: int, round_number: int) -> None:
        """Do something of everything that does harm."""
        for operator in self.faulty:
            if self._once("observe", operator, round_number):
                self._observe(operator, now, round_number)
            leads = self._around.rules.leader(round_number) == operator
            enough = len(self._observations[round_number]) >= self._around.rules.answering
            if leads and enough and self._random.random() < 0.5 and self._once("propose", operator, round_number):
                self._propose(operator, round_number)
            if self._random.random() < 0.3:
                self._make_noise(operator, now, round_number)
        if self._random.random() < 0.05:
            self._show(self._random.choice(sorted(self._certificates.values())))

    def _observe(self, operator: int, now: int, round_number: int) -> None:
        plan = self._random.choice(["silent", "lie", "contradict", "contradict"])
        for group in self._halves() if plan == "contradict" else [self._others()][: plan == "lie"]:
            payload = self._say(operator, round_number, self._lie(operator, now))
            self._observations[round_number][operator].append(payload)
            self._send(operator, group, Message(payload))

    def _lie(self, operator: int, now: int) -> Observation:
        """Return a valid observation without a true word."""
        random, interval = self._random, self._around.rules.committee.round_interval_seconds
        true = self._around.look(operator, self._highest or ReportReference(round=0, report_hash=bytes(32)), now)
        factor = random.choice([0.5, 0.999, 1.001, 2.0, 1_000.0])
        votes = [
            FactorVote(
                factor=vote.factor, value=Wad(int(vote.value * factor)), confidence=Wad(random.choice([1, 10**9]))
            )
            for vote in true.votes
        ]
        heads = tuple(block(head.number, timestamp=now, fork=b"lie") for head in true.heads)
        ahead = ReportReference(round=random.choice([0, 2**62]), report_hash=random.randbytes(32))
        return msgspec.structs.replace(
            true,
            clock_ms=1_000 * (now + random.randint(-interval, interval)),
            heads=random.choice([true.heads, heads, ()]),
            votes=tuple(random.sample(votes, random.randint(0, len(votes)))[:1] if random.random() < 0.3 else votes),
            highest_certified=random.choice([true.highest_certified, ahead]),
        )

    def _propose(self, operator: int, round_number: int) -> None:
        plan = self._random.choice(["silent", "one", "few", "two", "two"])
        groups = {"silent": [], "one": [self._others()], "few": self._halves()[:1], "two": self._halves()}[plan]
        for group in groups:
            parent = self._certificates[max(self._certificates)]
            if self._random.random() < 0.2:
                parent = self._random.choice(sorted(self._certificates.values()))
            body = Proposal(observations=self._chosen(round_number), parent_certificate=parent)
            self._send(operator, group, Message(self._say(operator, round_number, body)))

    def _chosen(self, round_number: int) -> tuple[bytes, ...]:
        """Return as few observations as are enough, those of its own hand among them."""
        known = self._observations[round_number]
        honest = sorted(sender for sender in known if sender not in self.faulty)
        own = [sender for sender in self.faulty if known.get(sender)]
        needed = max(self._around.rules.answering - len(own), 0)
        senders = sorted([*own, *self._random.sample(honest, min(needed, len(honest)))])
        return tuple(self._random.choice(known[sender]) for sender in senders)

    def _agree(self, round_number: int, report: bytes) -> None:
        """Sign whatever a correct operator signed, for everybody or only for some."""
        for operator in self.faulty:
            if self._random.random() < 0.8 and self._once(f"share {report.hex()}", operator, round_number):
                digest = self._around.rules.share_digest(report)
                body = Share(report_hash=report, signature=sign_digest(digest, private_key(operator)))
                group = self._random.choice([self._others(), *self._halves()])
                self._send(operator, group, Message(self._say(operator, round_number, body)))

    def _make_noise(self, operator: int, now: int, round_number: int) -> None:
        """Send something forged, foreign, stale, early, broken, or from long ago."""
        random = self._random
        seen = self._lie(operator, now)
        share = Share(report_hash=random.randbytes(32), signature=random.randbytes(65))
        victim = random.choice(self._others())
        old = random.choice(self._heard) if self._heard else b"noise"
        broken = bytearray(old)
        broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
        digest = self._around.rules.share_digest(share.report_hash)
        wrong = msgspec.structs.replace(share, signature=sign_digest(digest, private_key(operator)))
        payload = random.choice(
            [
                lambda: self._say(operator, round_number, seen, sender=victim),
                lambda: self._say(operator, round_number, seen, digest=random.randbytes(32)),
                lambda: self._say(operator, round_number + random.choice([-2, 1, 2, 2**40]), seen),
                lambda: self._say(operator, round_number, share),
                lambda: self._say(operator, round_number, wrong),
                lambda: self._say(operator, round_number, Proposal(observations=(old,), parent_certificate=old[:700])),
                lambda: bytes(broken),
                lambda: old,
                lambda: old[: random.randrange(len(old))],
                lambda: random.randbytes(random.randrange(2_000)),
            ]
        )()
        self._send(operator, self._others(), Message(payload))

    def _mislead(self, operator: int, request: StateRequest) -> None:
        certificate = self._certificates[max(self._certificates)]
        answer = StateAnswer(request.reference, certificate, self._around.genesis)  # type: ignore[attr-defined]
        self._around.answer(operator, request.asker, answer)

    def _show(self, certificate: bytes) -> None:
        if certificate:
            group = self._random.choice([self._others(), *self._halves()])
            self._send(self.faulty[0], group, PassedCertificate(certificate))

    def _say(
        self, operator: int, round_number: int, body: Body, *, sender: int | None = None, digest: bytes | None = None
    ) -> bytes:
        return seal(
            body,
            config_digest=digest or self._around.rules.config_digest,
            round_number=max(round_number, 0),
            sender=operator if sender is None else sender,
            sign=identity(operator).sign,
        )

    def _once(self, what: str, operator: int, round_number: int) -> bool:
        key = (what, operator, round_number)
        first = key not in self._done
        self._done.add(key)
        return first

    def _others(self) -> list[int]:
        return [index for index in range(self._around.rules.n) if index not in self.faulty]

    def _halves(self) -> list[list[int]]:
        others = self._others()
        self._random.shuffle(others)
        middle = self._random.randint(1, max(len(others) - 1, 1))
        return [others[:middle], others[middle:]]

    def _send(self, operator: int, group: Sequence[int], parcel: Parcel) -> None:
        for receiver in group:
            self._around.answer(operator, receiver, parcel)
