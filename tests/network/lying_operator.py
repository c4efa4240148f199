"""An operator over a real transport that lies in one way per round, with its own keys: what it says is validly signed.

It reads no chain: it bends what correct operators say. Two of a committee do the same in the same round.

`node/local/liar.py`, which `./run --faulty` starts, is another: a whole node, which reads and assesses, with a
transport that bends its own words. Here nothing is read, so that a liar costs next to nothing of the time that is
measured, two may collude, and what they say need not come from a report at all.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from random import Random

import msgspec

from attest.agreement.rules import AgreementRules
from attest.formats.certificate import decode_certificate, verify_certificate
from attest.wire.envelope import open_body, read_envelope, seal
from attest.wire.messages import (
    GENESIS_REFERENCE,
    Answer,
    Body,
    FactorVote,
    Observation,
    Proposal,
    ReportReference,
    Request,
    Share,
)
from node.gossip.transport import Arrival, Channel, Transport
from riskschema.errors import PlimsollError
from riskschema.units import Wad

KINDS = (
    "silent",
    "false prices",
    "invented factor",
    "contradiction",
    "invented certificate",
    "oldest parent",
    "late",
    "noise",
    "foreign share",
)
NOISE = 100
"""Invalid messages of one operator in a round: more than its budget."""
ROUNDS_KEPT = 4
CERTIFICATES_KEPT = 8


class LyingOperator:
    """Hears all, and says what helps nobody.

    Args:
        rules: The committee's.
        me: Its index.
        partners: Indices of all that lie.
        sign: Its identity's signature.
        sign_digest: Its attestation key's signature.
        transport: Its own connection.
        random: Where to split and what to draw.
    """

    def __init__(
        self,
        rules: AgreementRules,
        *,
        me: int,
        partners: frozenset[int],
        sign: Callable[[bytes], bytes],
        sign_digest: Callable[[bytes], bytes],
        transport: Transport,
        random: Random,
    ) -> None:
        self._rules = rules
        self._me = me
        self._partners = partners
        self._sign = sign
        self._sign_digest = sign_digest
        self._transport = transport
        self._random = random
        self._observations: dict[int, dict[int, bytes]] = defaultdict(dict)
        self._said: set[tuple[int, str]] = set()
        self._certificates: dict[int, bytes] = {0: b""}
        self._tasks: set[asyncio.Task[None]] = set()
        self.delivered: dict[int, float] = {}
        """When the broker delivered the first valid certificate of each round, Unix seconds."""

    @property
    def _current(self) -> int:
        return int(1_000 * time.time() - self._rules.slot_start_ms(0)) // self._rules.interval_ms

    def kind(self, round_number: int) -> str:
        """Return how this operator and its partners lie in a round."""
        return KINDS[round_number % len(KINDS)]

    async def run(self) -> None:
        """Lie until cancelled."""
        try:
            while True:
                while (arrival := self._transport.take()) is not None:
                    self._hear(arrival)
                await self._transport.wait()
        finally:
            for task in self._tasks:
                task.cancel()

    def _hear(self, arrival: Arrival) -> None:
        try:
            if arrival.channel is Channel.CERTIFICATE:
                self._learn(arrival.payload)
            elif arrival.channel in (Channel.MESSAGE, Channel.REQUEST):
                self._hear_message(arrival)
        except PlimsollError:
            return  # another liar's noise

    def _learn(self, payload: bytes) -> None:
        certificate = decode_certificate(payload)
        number = certificate.header.round
        if number in self.delivered:
            return
        committee = self._rules.committee
        verify_certificate(
            certificate,
            config_digest=self._rules.config_digest,
            operators=committee.signers,
            destinations=committee.destinations,
        )
        self.delivered[number] = time.time()
        self._certificates[number] = payload
        oldest = self._certificates[min(self._certificates)]
        if self.kind(number) == "late" and oldest:  # brokers retain it in its name
            self._transport.send(Channel.CERTIFICATE, oldest)
        if len(self._certificates) > CERTIFICATES_KEPT:
            del self._certificates[min(self._certificates)]

    def _hear_message(self, arrival: Arrival) -> None:
        envelope = read_envelope(arrival.payload)
        body = open_body(envelope)
        number = envelope.round
        if isinstance(body, Request):
            self._mislead(arrival.sender, body)
        elif isinstance(body, Observation) and abs(number - self._current) <= 1:
            self._observations[number][envelope.sender] = arrival.payload
            for old in [each for each in self._observations if each < number - ROUNDS_KEPT]:
                del self._observations[old]
            if envelope.sender not in self._partners and self._first(number, "observation"):
                self._observe(number, body)
            self._lead(number)
        elif isinstance(body, Share) and envelope.sender not in self._partners:
            self._share(number, body.report_hash)

    def _first(self, number: int, what: str) -> bool:
        first = (number, what) not in self._said
        self._said.add((number, what))
        return first

    def _observe(self, number: int, true: Observation) -> None:
        kind = self.kind(number)
        if kind == "silent":
            return
        if kind == "late":
            self._later(0.6, lambda: self._say_observation(number, true))
            return
        if kind == "noise":
            self._make_noise(number)
        for bent in self._bent(kind, number, true):
            self._say_observation(number, bent)

    def _bent(self, kind: str, number: int, true: Observation) -> list[Observation]:
        """Return what is said instead of the truth: one observation, or two that contradict each other."""
        replace = msgspec.structs.replace
        doubled = replace(true, votes=tuple(_times(vote, 2) for vote in true.votes))
        if kind == "false prices":
            return [doubled]
        if kind == "invented factor":
            invented = FactorVote(factor="INVENTED", value=Wad(10**18), confidence=Wad(1))
            return [replace(true, votes=tuple(sorted((*true.votes, invented), key=lambda vote: vote.factor)))]
        if kind == "contradiction":
            return [true, doubled]
        if kind == "invented certificate":
            name = ReportReference(round=max(number - 1, 1), report_hash=self._random.randbytes(32))
            return [replace(true, highest_certified=name)]
        if kind == "oldest parent":
            return [replace(true, highest_certified=GENESIS_REFERENCE)]
        return [true]

    def _say_observation(self, number: int, observation: Observation) -> None:
        payload = self._sealed(number, observation)
        self._observations[number].setdefault(self._me, payload)
        self._transport.send(Channel.MESSAGE, payload)
        self._lead(number)

    def _lead(self, number: int) -> None:
        """Propose, where it leads: the wrong thing, two things, too late, or nothing."""
        kind, known = self.kind(number), self._observations[number]
        if self._rules.leader(number) != self._me or kind == "silent" or len(known) < self._rules.answering:
            return
        if not self._first(number, "proposal"):
            return
        enough, newest = self._rules.answering, max(self._certificates)
        own_first = sorted(known, key=lambda sender: (sender not in self._partners, sender))[:enough]
        if kind == "contradiction":
            self._propose(number, sorted(known)[:enough], newest)
            self._propose(number, sorted(known)[-enough:], newest)
        elif kind == "late":
            self._later(0.7, lambda: self._propose(number, sorted(known), newest))
        elif kind == "oldest parent":
            self._propose(number, own_first, self._lowest(known, own_first))
        else:
            self._propose(number, own_first, newest)

    def _lowest(self, known: Mapping[int, bytes], senders: Iterable[int]) -> int:
        """Return the oldest certificate that f + 1 of these observers allow as the parent."""
        bodies = [open_body(read_envelope(known[sender])) for sender in senders]
        named = sorted((each.highest_certified.round for each in bodies if isinstance(each, Observation)), reverse=True)
        needed = named[self._rules.one_honest - 1]
        return min((each for each in self._certificates if each >= needed), default=max(self._certificates))

    def _propose(self, number: int, senders: Iterable[int], parent: int) -> None:
        observations = tuple(self._observations[number][sender] for sender in sorted(senders))
        body = Proposal(observations=observations, parent_certificate=self._certificates[parent])
        self._transport.send(Channel.MESSAGE, self._sealed(number, body))

    def _share(self, number: int, report: bytes) -> None:
        """Sign what a correct operator signed, something else, too late, or nothing."""
        kind = self.kind(number)
        if kind == "silent" or not self._first(number, "share"):
            return
        signed = self._random.randbytes(32) if kind in ("foreign share", "false prices") else report
        body = Share(report_hash=signed, signature=self._sign_digest(self._rules.share_digest(signed)))
        delay = 0.9 if kind == "late" else 0.0
        self._later(delay, lambda: self._transport.send(Channel.MESSAGE, self._sealed(number, body)))

    def _mislead(self, asker: int, request: Request) -> None:
        """Answer with what was not asked for."""
        data = self._random.randbytes(200)
        answer = Answer(
            recipient=asker, part=request.part, reference=request.reference, start=request.start, total=200, data=data
        )
        self._transport.send(Channel.ANSWER, self._sealed(self._current, answer), to=asker)

    def _make_noise(self, number: int) -> None:
        """Send what is refused: proposals of nothing, garbage, and what was said long ago."""
        for index in range(NOISE):
            nothing = Proposal(observations=(self._random.randbytes(50),), parent_certificate=b"")
            payload = self._random.choice(
                [
                    self._sealed(number, nothing),
                    self._random.randbytes(self._random.randrange(300)),
                    self._sealed(number + self._random.choice([-2, 2, 2**40]), nothing),
                ]
            )
            self._later(index / NOISE / 2, lambda payload=payload: self._transport.send(Channel.MESSAGE, payload))  # type: ignore[misc]

    def _sealed(self, number: int, body: Body) -> bytes:
        return seal(
            body,
            config_digest=self._rules.config_digest,
            round_number=max(number, 0),
            sender=self._me,
            sign=self._sign,
        )

    def _later(self, slots: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(slots * self._rules.interval_ms / 1_000)
            act()

        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _times(vote: FactorVote, factor: int) -> FactorVote:
    return msgspec.structs.replace(vote, value=Wad(vote.value * factor), confidence=Wad(1))
