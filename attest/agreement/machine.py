"""The round as a pure state machine: ticks and messages in, effects out. No I/O, no clock, no key.

The driver (the node's round loop, or a simulation) stores every message before it sends it, and gives the stored bytes
back to `on_message`, its own like anybody's. After a restart it gives back all stored messages of the open rounds
(`on_restart`), and the machine goes on where it was. One round of a committee of one:

    (observe,) = machine.on_tick(now)                                    # Observe
    (send,) = machine.on_observation(observe.round, observation)         # Send: the observation
    (send,) = machine.on_message(await stored(send))                     # Send: the proposal
    (ready,) = machine.on_message(await stored(send))                    # OutcomeReady
    state = with_sections(next_state(ready.parent_state, ready.outcome), memory)
    (share,) = machine.on_report_ready(header, state)                    # SignShare
    signature = guard.sign_once(digest, header.round, share.report_hash, lambda: signer.sign(share.digest))
    (send,) = machine.on_signature(header.round, signature)              # Send: the share
    (done,) = machine.on_message(await stored(send))                     # CertificateReady
"""

from collections.abc import Callable, Iterable

from attest.agreement.certified import CertifiedReports
from attest.agreement.effects import (
    Abstain,
    CertificateReady,
    Effects,
    Observe,
    OutcomeReady,
    Send,
    SignShare,
    SnapshotNeeded,
)
from attest.agreement.envelope import read_envelope, seal
from attest.agreement.messages import Body, MessageKind, Observation, Proposal, Share, kind_of
from attest.agreement.open_rounds import OpenRounds
from attest.agreement.outcome import Outcome, pins_root
from attest.agreement.proposals import (
    all_factors_have_majority,
    check_certificate,
    check_observation,
    needed_parent_round,
    reference_of,
)
from attest.agreement.round_memory import OwnReport, RoundMemory
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState
from attest.agreement.state_format import state_root
from attest.agreement.voting import agree
from attest.formats.certificate import Certificate, assemble_certificate
from attest.formats.committee import round_at
from attest.formats.header import ReportHeader
from attest.keys.identity import verify_identity
from riskschema.errors import FatalError, InvalidData, ProtocolViolation

STEP_BACK_SLOTS = 2
"""A clock that goes back by no more is being adjusted: the round goes on. Beyond, an earlier reading was wrong."""


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
        sign_from: int = 1,
    ) -> None:
        """Begin after a certified report.

        Args:
            rules: The committee's.
            me: This operator's index.
            sign: The identity's signature over 32 bytes (`IdentityKey.sign`).
            state: After the last certified report this node holds, or the genesis state.
            certificate: Of that report; None at genesis.
            sign_from: The lowest round that the guard may sign (`Guard.enter`).

        Raises:
            FatalError: the identity is not the one that the committee names for `me`.
        """
        identity = rules.committee.operators[me].identity
        if not verify_identity(identity, rules.config_digest, sign(rules.config_digest)):
            raise FatalError(
                f"the identity key is not that of operator {me}, 0x{identity.hex()}: check the key file and the "
                "committee file",
                code="invalid_settings",
            )
        self._rules = rules
        self._me = me
        self._sign = sign
        self._sign_from = sign_from
        self._certified = CertifiedReports(state, certificate)
        self._open = OpenRounds(rules, me)
        self._now = 0

    @property
    def current_round(self) -> int:
        """The slot of the last tick."""
        return self._open.current

    def on_tick(self, now: int) -> Effects:
        """Take note of the time; a new slot begins with `Observe`, and says which round ended without a report.

        Args:
            now: Unix seconds. A small step back is ignored; a large one means that the reading before was wrong: the
                machine turns back, and begins no round a second time.

        Raises:
            InvalidData: before the committee's genesis.
        """
        turned_back = round_at(self._rules.committee, now) < self._open.current - STEP_BACK_SLOTS
        self._now = now if turned_back else max(now, self._now)
        slot = round_at(self._rules.committee, self._now)
        ended: Effects = ()
        if slot != self._open.current:
            ended = (*self._open.turn_to(slot), *self._catch_up())
        if slot < 1:
            return ended
        memory = self._open.enter(slot)
        observe: Effects = ()
        if not memory.observed and slot > self._certified.highest.round:
            memory.observed = True
            observe = (Observe(round=slot, highest_certified=self._certified.highest),)
        return (*ended, *observe, *self._advance(memory))

    def on_restart(self, now: int, payloads: Iterable[bytes]) -> Effects:
        """Take up the open rounds from the stored messages, the node's own among them, and go on.

        The node's own shares are left out: the report is computed and signed again, and the guard returns the same
        signature. The effects lead on from the last stored step, so `Observe` comes only where nothing was observed.

        Args:
            now: Unix seconds.
            payloads: Stored messages in the order they were stored; those of closed rounds are passed over.

        Raises:
            ProtocolViolation: a stored message is none of this committee's: the database belongs to another.
        """
        self._now = max(now, self._now)
        self._open.turn_to(round_at(self._rules.committee, self._now))
        for payload in payloads:
            envelope = read_envelope(payload)
            own_share = envelope.kind is MessageKind.SHARE and envelope.sender == self._me
            if not own_share and self._open.is_open(envelope.round):
                self._open.accept(envelope)
        previous = self._open.get(self._open.current - 1)
        return (*(self._advance(previous) if previous else ()), *self.on_tick(now))

    def on_observation(self, round_number: int, observation: Observation) -> Effects:
        """Seal this node's observation; `()` when the round is over.

        Raises:
            ProtocolViolation: the node's own observation is not a valid one: clock, stride, values, confidences.
            InvalidData: it cannot be encoded: a list out of order, or too large.
        """
        check_observation(self._rules, observation, round_number)
        return self._seal(round_number, observation)

    def on_message(self, payload: bytes) -> Effects:
        """Take a message from a peer, or this node's own from the store.

        Raises:
            ProtocolViolation: malformed, foreign, stale or forged; nothing was changed by it.
        """
        envelope = read_envelope(payload)
        evidence = self._open.accept(envelope)
        return (*evidence, *self._advance(self._open.enter(envelope.round)))

    def on_report_ready(self, header: ReportHeader, state: AgreedState) -> Effects:
        """Take this node's report; `()` when its round is over.

        Args:
            header: The report.
            state: `step` of the parent state and the outcome, with the sections of the other stages.

        Raises:
            InvalidData: the header does not say what the round agreed on.
        """
        memory = self._open.get(header.round)
        if memory is None or memory.outcome is None:
            return ()
        self._check_report(memory.outcome, header, state)
        memory.report = report = OwnReport(header, state)
        if memory.certificate is not None:
            return (*self._adopt(memory.certificate), *self._advance_all())
        if header.round < self._sign_from:
            memory.ended = True
            return (Abstain(round=header.round, code="guard_refuses"), *self._certify(memory))
        digest = self._rules.share_digest(report.hash)
        sign = SignShare(header=header, report_hash=report.hash, digest=digest)
        return (sign, *self._certify(memory))

    def on_signature(self, round_number: int, signature: bytes) -> Effects:
        """Seal the share over this node's report; `()` when the round is over."""
        self._sign_from = max(self._sign_from, round_number)
        memory = self._open.get(round_number)
        if memory is None or memory.report is None:
            return ()
        return self._seal(round_number, Share(report_hash=memory.report.hash, signature=signature))

    def on_certificate(self, payload: bytes) -> Effects:
        """Take a certificate that a peer passed on; one that is no news changes nothing.

        Raises:
            ProtocolViolation: it does not decode or verify, or is of a round that has not begun.
        """
        certificate = check_certificate(self._rules, payload)
        if certificate is None or certificate.header.round > self._open.current + 1:
            raise ProtocolViolation("refused: no certificate of a round that has begun", code="malformed")
        if certificate.header.round <= self._certified.highest.round:
            return ()
        return (*self._adopt(certificate), *self._advance_all())

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

    def _advance_all(self) -> Effects:
        return tuple(effect for memory in self._open.in_order() for effect in self._advance(memory))

    def _advance(self, memory: RoundMemory) -> Effects:
        """Do all that the messages of a round allow."""
        return (*self._propose(memory), *self._settle(memory), *self._certify(memory))

    def _propose(self, memory: RoundMemory) -> Effects:
        """Lead: put the observations and the parent before all, once there are enough of them."""
        leads = memory.number == self._open.current and self._rules.leader(memory.number) == self._me
        if memory.proposed or not leads or len(memory.observations) < self._rules.answering:
            return ()
        if not self._has_waited_enough(memory):
            return ()
        if not needed_parent_round(self._rules, memory.observations) <= self._certified.highest.round < memory.number:
            return ()
        memory.proposed = True
        proposal = Proposal(
            observations=memory.observation_payloads(), parent_certificate=self._certified.highest_certificate
        )
        return self._seal(memory.number, proposal)

    def _has_waited_enough(self, memory: RoundMemory) -> bool:
        return (
            len(memory.observations) == self._rules.n
            or all_factors_have_majority(self._rules, memory.observations)
            or self._now >= self._rules.proposal_deadline(memory.number)
        )

    def _settle(self, memory: RoundMemory) -> Effects:
        """Work out the outcome, once the proposal and the parent's state are there."""
        if memory.proposal is None or memory.outcome is not None or memory.number > self._open.current:
            return ()
        if self._certified.is_settled(memory.number):
            return ()
        adopted: Effects = ()
        certificate = memory.proposal.certificate
        if certificate is not None and certificate.header.round > self._certified.highest.round:
            adopted = self._adopt(certificate)
        parent = memory.proposal.parent
        state = self._certified.state_after(parent)
        if state is None:
            asked, memory.snapshot_asked = memory.snapshot_asked, True
            return adopted if asked or adopted else (SnapshotNeeded(reference=parent),)
        memory.outcome = agree(
            self._rules,
            round_number=memory.number,
            observations=memory.proposal.observations,
            parent=parent,
            state=state,
        )
        return (*adopted, OutcomeReady(outcome=memory.outcome, parent_state=state))

    def _certify(self, memory: RoundMemory) -> Effects:
        """Make the certificate once a quorum signed this node's report; give up once it signed another."""
        if memory.certificate is not None or memory.report is None:
            return ()
        signatures = memory.signatures_for(memory.report.hash)
        if len(signatures) >= self._rules.certifying:
            return self._adopt(assemble_certificate(memory.report.header, signatures))
        if not memory.ended and memory.most_shared() >= self._rules.certifying:
            memory.ended = True
            return (Abstain(round=memory.number, code="outvoted"),)
        return ()

    def _adopt(self, certificate: Certificate) -> Effects:
        """Take a verified certificate, with the state this node computed, or ask for the state."""
        self._certified.add_certificate(certificate)
        reference = reference_of(certificate)
        memory = self._open.get(reference.round)
        if memory is None:
            return self._catch_up()
        memory.certificate = certificate
        if memory.report is None and memory.outcome is not None:
            # The driver is still assessing; its report brings the state.
            return ()
        if memory.report is None or memory.report.hash != reference.report_hash:
            return self._catch_up()
        self._certified.add_state(reference, memory.report.state)
        return (CertificateReady(certificate=certificate, state=memory.report.state),)

    def _catch_up(self) -> Effects:
        return (SnapshotNeeded(reference=self._certified.highest),) if self._certified.is_behind else ()

    def _check_report(self, outcome: Outcome, header: ReportHeader, state: AgreedState) -> None:
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
        if self._open.get(round_number) is None:
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
