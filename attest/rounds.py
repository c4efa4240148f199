"""The round as a pure state machine: ticks and messages in, effects out. No I/O, no clock, no key.

The driver (the node's round loop, or a simulation) stores every message before it sends it, and gives the stored bytes
back to `on_message`, its own like anybody's. After a restart it gives back all stored messages of the open rounds
(`on_restart`), and the machine goes on where it was. One round of a committee of one:

    (observe,) = machine.on_tick(now)                                    # Observe
    (send,) = machine.on_observation(observe.round, observation)         # Send: the observation
    (send,) = machine.on_message(await stored(send))                     # Send: the proposal
    (ready,) = machine.on_message(await stored(send))                    # OutcomeReady
    state = with_sections(step(ready.parent_state, ready.outcome), memory)
    (share,) = machine.on_report_ready(header, state)                    # SignShare
    signature = guard.sign_once(digest, header.round, share.report_hash, lambda: signer.sign(share.digest))
    (send,) = machine.on_signature(header.round, signature)              # Send: the share
    (done,) = machine.on_message(await stored(send))                     # CertificateReady
"""

from collections.abc import Callable, Iterable

from attest.certificate import Certificate, assemble_certificate
from attest.certified import CertifiedReports
from attest.committee import round_at
from attest.effects import (
    Abstain,
    CertificateReady,
    Effects,
    Equivocation,
    Observe,
    OutcomeReady,
    Send,
    SignShare,
    SnapshotNeeded,
)
from attest.eip712 import recover_signer
from attest.envelope import Envelope, check_scope, check_signature, open_body, read_envelope, seal
from attest.header import ReportHeader, report_hash
from attest.messages import Body, MessageKind, Observation, Proposal, Share, kind_of
from attest.outcome import pins_root
from attest.proposals import (
    CheckedProposal,
    all_factors_have_majority,
    check_certificate,
    check_observation,
    check_proposal,
    needed_parent_round,
    reference_of,
)
from attest.round_memory import RoundMemory
from attest.rules import AgreementRules
from attest.state import AgreedState
from attest.state_format import state_root
from attest.voting import agree
from riskschema.errors import InvalidData, ProtocolViolation


class RoundMachine:
    """One operator's part in the rounds of a committee."""

    def __init__(
        self,
        rules: AgreementRules,
        *,
        me: int,
        sign: Callable[[bytes], bytes],
        state: AgreedState,
        certificate: Certificate | None = None,
    ) -> None:
        """Begin after a certified report.

        Args:
            rules: The committee's.
            me: This operator's index.
            sign: The identity's signature over 32 bytes (`IdentityKey.sign`).
            state: After the last certified report this node holds, or the genesis state.
            certificate: Of that report; None at genesis.
        """
        self._rules = rules
        self._me = me
        self._sign = sign
        self._certified = CertifiedReports(state, certificate)
        self._rounds: dict[int, RoundMemory] = {}
        self._current = 0
        self._now = 0

    @property
    def current_round(self) -> int:
        """The slot of the last tick."""
        return self._current

    def on_tick(self, now: int) -> Effects:
        """Take note of the time; a new slot begins with `Observe`, and says which round ended without a report.

        Args:
            now: Unix seconds; a clock that goes back is ignored.

        Raises:
            InvalidData: before the committee's genesis.
        """
        self._now = max(now, self._now)
        slot = round_at(self._rules.committee, self._now)
        skipped: Effects = ()
        if slot > self._current:
            skipped = self._turn_to(slot)
        if slot < 1:
            return skipped
        memory = self._memory(slot)
        observe: Effects = ()
        if not memory.observed:
            memory.observed = True
            observe = (Observe(round=slot, highest_certified=self._certified.highest),)
        return (*skipped, *observe, *self._advance(memory))

    def on_restart(self, now: int, payloads: Iterable[bytes]) -> Effects:
        """Take up the open rounds from the stored messages, the node's own among them, and go on.

        The node's own shares are left out: the report is computed and signed again, and the guard returns the same
        signature. The effects lead on from the last stored step, so `Observe` comes only where nothing was observed.

        Args:
            now: Unix seconds.
            payloads: Stored messages in the order they were stored.
        """
        self._now = max(now, self._now)
        self._turn_to(round_at(self._rules.committee, self._now))
        for payload in payloads:
            envelope = read_envelope(payload)
            own_share = envelope.kind is MessageKind.SHARE and envelope.sender == self._me
            if not own_share and self._first_round <= envelope.round <= self._current + 1:
                self._accept(envelope)
        previous = self._rounds.get(self._current - 1)
        return (*(self._advance(previous) if previous else ()), *self.on_tick(now))

    def on_observation(self, round_number: int, observation: Observation) -> Effects:
        """Seal this node's observation; `()` when the round is over.

        Raises:
            ProtocolViolation: the node's own observation is not a valid one: clock, stride, values, confidences.
        """
        check_observation(self._rules, observation, round_number)
        return self._seal(round_number, observation)

    def on_message(self, payload: bytes) -> Effects:
        """Take a message from a peer, or this node's own from the store.

        Raises:
            ProtocolViolation: nothing was changed by it: malformed, foreign, stale or forged.
        """
        envelope = read_envelope(payload)
        caught = self._accept(envelope)
        memory = self._rounds.get(envelope.round)
        return (*caught, *(self._advance(memory) if memory else ()))

    def on_report_ready(self, header: ReportHeader, state: AgreedState) -> Effects:
        """Take this node's report; `()` when its round is over.

        Args:
            header: The report.
            state: `step` of the parent state and the outcome, with the sections of the other stages.

        Raises:
            InvalidData: the header does not say what the round agreed on.
        """
        memory = self._rounds.get(header.round)
        if memory is None or memory.outcome is None:
            return ()
        self._check_report(memory, header, state)
        memory.header, memory.state, memory.report_hash = header, state, report_hash(header)
        digest = self._rules.share_digest(memory.report_hash)
        sign = SignShare(header=header, report_hash=memory.report_hash, digest=digest)
        return (sign, *self._certify(memory))

    def on_signature(self, round_number: int, signature: bytes) -> Effects:
        """Seal the share over this node's report; `()` when the round is over."""
        memory = self._rounds.get(round_number)
        if memory is None or memory.report_hash is None:
            return ()
        return self._seal(round_number, Share(report_hash=memory.report_hash, signature=signature))

    def on_certificate(self, payload: bytes) -> Effects:
        """Take a certificate that a peer passed on.

        Raises:
            ProtocolViolation: it does not decode or verify, or is of a round that has not begun.
        """
        certificate = check_certificate(self._rules, payload)
        if certificate is None or certificate.header.round > self._current + 1:
            raise ProtocolViolation("refused: no certificate of a round that has begun", code="malformed")
        reference = reference_of(certificate)
        if self._certified.knows(reference) or reference.round <= self._certified.highest.round:
            return ()
        self._certified.add_certificate(certificate)
        memory = self._rounds.get(reference.round)
        if memory and memory.report_hash == reference.report_hash and memory.state is not None:
            memory.certified = True
            self._certified.add_state(reference, memory.state)
            return (CertificateReady(certificate=certificate, state=memory.state), *self._advance_all())
        return (SnapshotNeeded(reference=reference), *self._advance_all())

    def on_snapshot(self, payload: bytes, state: AgreedState) -> Effects:
        """Take a certificate together with the state after its report.

        Raises:
            ProtocolViolation: the certificate does not verify, or commits to another state.
        """
        certificate = check_certificate(self._rules, payload)
        if certificate is None or _root(state) != certificate.header.state_root:
            raise ProtocolViolation("refused: the state is not the one that the report commits to", code="forged")
        self._certified.add_certificate(certificate)
        self._certified.add_state(reference_of(certificate), state)
        return self._advance_all()

    @property
    def _first_round(self) -> int:
        return max(self._current - 1, 1)

    def _memory(self, round_number: int) -> RoundMemory:
        return self._rounds.setdefault(round_number, RoundMemory(round_number))

    def _turn_to(self, slot: int) -> Effects:
        """Forget what is closed; say why a round that ended has no report."""
        ended = [
            memory
            for number, memory in self._rounds.items()
            if number < slot and not (memory.certified or memory.ended)
        ]
        for memory in ended:
            memory.ended = True
        self._current = slot
        self._rounds = {number: memory for number, memory in self._rounds.items() if number >= slot - 1}
        return tuple(Abstain(round=memory.number, code=memory.why_not_certified()) for memory in ended)

    def _accept(self, envelope: Envelope) -> Effects:
        """Check a message, cheap checks first, and remember it."""
        check_scope(envelope, self._rules, first_round=self._first_round, last_round=self._current + 1)
        if envelope.kind is MessageKind.PROPOSAL and envelope.sender != self._rules.leader(envelope.round):
            raise ProtocolViolation(
                f"message refused: operator {envelope.sender} does not lead round {envelope.round}", code="foreign"
            )
        key = (envelope.sender, envelope.kind)
        memory = self._rounds.get(envelope.round)
        first = memory.first.get(key) if memory else None
        if memory and first:
            return self._compare(memory, first, envelope)
        check_signature(envelope, self._rules)
        body = self._checked_body(envelope)
        self._memory(envelope.round).keep(envelope, body, own=envelope.sender == self._me)
        return ()

    def _compare(self, memory: RoundMemory, first: Envelope, second: Envelope) -> Effects:
        """Keep one pair of conflicting messages as evidence; anything else is a repetition."""
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
            verified = memory.verified_digests() if memory else ()
            return check_proposal(self._rules, body, envelope.round, verified=verified)
        signer = recover_signer(self._rules.share_digest(body.report_hash), body.signature)
        if signer != self._rules.committee.signers[envelope.sender]:
            raise ProtocolViolation(
                f"message refused: the share of operator {envelope.sender} is signed by {signer}", code="forged"
            )
        return body

    def _advance_all(self) -> Effects:
        open_rounds = [self._rounds[number] for number in sorted(self._rounds)]
        return tuple(effect for memory in open_rounds for effect in self._advance(memory))

    def _advance(self, memory: RoundMemory) -> Effects:
        """Do all that the messages of a round allow."""
        return (*self._propose(memory), *self._settle(memory), *self._certify(memory))

    def _propose(self, memory: RoundMemory) -> Effects:
        """Lead: put the observations and the parent before all, once there are enough of them."""
        leads = memory.number == self._current and self._rules.leader(memory.number) == self._me
        if memory.proposed or not leads or len(memory.observations) < self._rules.answering:
            return ()
        complete = len(memory.observations) == self._rules.n or all_factors_have_majority(
            self._rules, memory.observations
        )
        if not complete and self._now < self._rules.proposal_deadline(memory.number):
            return ()
        highest = self._certified.highest
        if not needed_parent_round(self._rules, memory.observations) <= highest.round < memory.number:
            return ()
        memory.proposed = True
        payloads = memory.observation_payloads()
        proposal = Proposal(observations=payloads, parent_certificate=self._certified.highest_certificate)
        return self._seal(memory.number, proposal)

    def _settle(self, memory: RoundMemory) -> Effects:
        """Work out the outcome, once the proposal and the parent's state are there."""
        if memory.proposal is None or memory.outcome is not None or memory.number > self._current:
            return ()
        parent = memory.proposal.parent
        state = self._certified.state_after(parent)
        if state is None:
            if memory.proposal.certificate is not None:
                self._certified.add_certificate(memory.proposal.certificate)
            asked, memory.snapshot_asked = memory.snapshot_asked, True
            return () if asked else (SnapshotNeeded(reference=parent),)
        memory.outcome = agree(
            self._rules,
            round_number=memory.number,
            observations=memory.proposal.observations,
            parent=parent,
            state=state,
        )
        return (OutcomeReady(outcome=memory.outcome, parent_state=state),)

    def _certify(self, memory: RoundMemory) -> Effects:
        """Make the certificate once a quorum signed this node's report; give up once it signed another."""
        if memory.certified or memory.header is None or memory.report_hash is None or memory.state is None:
            return ()
        signatures = memory.signatures_for(memory.report_hash)
        if len(signatures) >= self._rules.certifying:
            memory.certified = True
            certificate = assemble_certificate(memory.header, signatures)
            self._certified.add_certificate(certificate)
            self._certified.add_state(reference_of(certificate), memory.state)
            return (CertificateReady(certificate=certificate, state=memory.state),)
        if not memory.ended and memory.most_shared() >= self._rules.certifying:
            memory.ended = True
            return (Abstain(round=memory.number, code="outvoted"),)
        return ()

    def _check_report(self, memory: RoundMemory, header: ReportHeader, state: AgreedState) -> None:
        outcome = memory.outcome
        assert outcome is not None  # noqa: S101 - the caller checked
        wanted = {
            "config_digest": self._rules.config_digest,
            "parent": outcome.parent.report_hash,
            "observed_at": outcome.observed_at,
            "valid_until": outcome.valid_until,
            "pins_root": pins_root(outcome.pins),
            "state_root": state_root(state),
        }
        wrong = [field for field, value in wanted.items() if getattr(header, field) != value]
        if wrong:
            raise InvalidData(
                f"report of round {header.round}: {', '.join(wrong)} differ from what was agreed",
                code="invalid_document",
            )

    def _seal(self, round_number: int, body: Body) -> Effects:
        if round_number not in self._rounds:
            return ()
        payload = seal(
            body,
            config_digest=self._rules.config_digest,
            round_number=round_number,
            sender=self._me,
            sign=self._sign,
        )
        return (Send(round=round_number, kind=kind_of(body), payload=payload),)


def _root(state: AgreedState) -> bytes:
    try:
        return state_root(state)
    except InvalidData as error:
        raise ProtocolViolation(f"refused: {error.message}", code="malformed") from error
