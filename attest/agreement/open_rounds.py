"""The rounds that are open, and what is let into them.

Messages count for the slot before the current one, the current one and the next. Checks run from cheap to dear: size,
committee, round, leader, repetition and whether it is news before any signature. What is refused changes nothing.
"""

from collections import deque
from collections.abc import Container

from attest.agreement.effects import Abstain, Effects, Equivocation
from attest.agreement.proposals import CheckedProposal, check_observation, check_proposal
from attest.agreement.refusals import Refusals
from attest.agreement.round_memory import RoundMemory
from attest.agreement.rules import AgreementRules
from attest.formats.eip712 import recover_signer
from attest.wire.envelope import Envelope, check_scope, check_signature, open_body
from attest.wire.messages import (
    ROUND_KINDS,
    MessageKind,
    Observation,
    Proposal,
    ReportReference,
    Share,
)
from riskschema.errors import ProtocolViolation

REMEMBERED_SLOTS = 1_000
"""How many slots are kept apart from new ones after a clock that went back."""


class OpenRounds:
    """At most three rounds, each with at most one message per sender and kind."""

    def __init__(self, rules: AgreementRules, me: int, *, certified: Container[ReportReference] = ()) -> None:
        self._rules = rules
        self._me = me
        self._certified = certified
        self._refusals = Refusals()
        self._rounds: dict[int, RoundMemory] = {}
        self.current = 0
        """The slot of now."""
        self._entered: deque[int] = deque(maxlen=REMEMBERED_SLOTS)

    def get(self, round_number: int) -> RoundMemory | None:
        """Return what is remembered of a round."""
        return self._rounds.get(round_number)

    def enter(self, round_number: int) -> RoundMemory:
        """Return the memory of an open round, made where it is missing."""
        return self._rounds.setdefault(round_number, RoundMemory(round_number))

    def in_order(self) -> tuple[RoundMemory, ...]:
        """Return the remembered rounds, oldest first."""
        return tuple(self._rounds[number] for number in sorted(self._rounds))

    def is_open(self, round_number: int) -> bool:
        """Say whether messages of a round count now."""
        return self._first <= round_number <= self.current + 1

    def turn_to(self, slot: int) -> Effects:
        """Forget what is closed; say why a round that ended has no report.

        A slot may lie before the current one, after a wrong reading of the clock. One that was entered before is not
        begun again: what this node said in it is forgotten here, and a second message would contradict it.
        """
        ended = [memory for memory in self.in_order() if memory.number < slot and memory.open_ended]
        for memory in ended:
            memory.ended = True
        self.current = slot
        self._rounds = {number: memory for number, memory in self._rounds.items() if slot - 1 <= number <= slot + 1}
        self._refusals.keep_rounds(slot - 1, slot + 1)
        if slot in self._entered:
            memory = self.enter(slot)
            memory.observed = memory.proposed = True
        self._entered.append(slot)
        return tuple(Abstain(round=memory.number, code=memory.why_not_certified()) for memory in ended)

    def accept(self, envelope: Envelope) -> tuple[RoundMemory | None, Effects]:
        """Check a message and remember it.

        Returns:
            The round, where the message is news; an `Equivocation` where the sender signed something else before, once
            per sender, round and kind.

        Raises:
            ProtocolViolation: malformed, foreign, stale, forged, or by one that sent too much of that; nothing changed.
        """
        check_scope(envelope, self._rules, first_round=self._first, last_round=self.current + 1)
        self._refusals.check_sender(envelope)
        self._refusals.check(envelope.payload)
        try:
            return self._admit(envelope)
        except ProtocolViolation as violation:
            self._refusals.remember(envelope.payload, violation.code)
            raise

    def _admit(self, envelope: Envelope) -> tuple[RoundMemory | None, Effects]:
        if envelope.kind not in ROUND_KINDS:
            raise ProtocolViolation("message refused: none of a round", code="malformed")
        if envelope.kind is MessageKind.PROPOSAL and envelope.sender != self._rules.leader(envelope.round):
            raise ProtocolViolation(
                f"message refused: operator {envelope.sender} does not lead round {envelope.round}", code="foreign"
            )
        memory = self._rounds.get(envelope.round)
        first = memory.first.get((envelope.sender, envelope.kind)) if memory else None
        if memory and first:
            return None, self._compare(memory, first, envelope)
        if memory and not memory.is_news(envelope.kind):
            return None, ()
        check_signature(envelope, self._rules)
        try:
            body = self._checked_body(envelope)
        except ProtocolViolation:
            self._refusals.count(envelope)
            raise
        memory = self.enter(envelope.round)
        memory.keep(envelope, body, own=envelope.sender == self._me)
        return memory, ()

    @property
    def _first(self) -> int:
        return max(self.current - 1, 1)

    def _compare(self, memory: RoundMemory, first: Envelope, second: Envelope) -> Effects:
        key = (second.sender, second.kind)
        if first.digest == second.digest or key in memory.equivocated:
            return ()
        check_signature(second, self._rules)
        memory.equivocated.add(key)
        return (
            Equivocation(
                sender=second.sender,
                round=second.round,
                kind=second.kind,
                first=first.payload,
                second=second.payload,
            ),
        )

    def _checked_body(self, envelope: Envelope) -> Observation | CheckedProposal | Share:
        body = open_body(envelope)
        if isinstance(body, Observation):
            check_observation(self._rules, body, envelope.round)
            return body
        if isinstance(body, Proposal):
            memory = self._rounds.get(envelope.round)
            return check_proposal(
                self._rules,
                body,
                envelope.round,
                verified=memory.observations_by_payload() if memory else {},
                certified=self._certified,
            )
        assert isinstance(body, Share)  # noqa: S101 - no other kind comes so far
        signer = recover_signer(self._rules.share_digest(body.report_hash), body.signature)
        if signer != self._rules.committee.signers[envelope.sender]:
            raise ProtocolViolation(
                f"message refused: the share of operator {envelope.sender} is signed by {signer}", code="forged"
            )
        return body
