"""The round as a pure state machine: ticks and messages in, effects out. No I/O, no clock, no key.

The driver (the node's round loop, or a simulation) stores every message before it sends it, and gives the stored bytes
back to `on_message`, its own like anybody's. It ticks when `next_wake` says so, and answers every `Observe`,
`OutcomeReady` and `SignShare` once, with `on_failed` where it could not. After a restart it gives back all stored
messages of the open rounds (`on_restart`), and the machine goes on where it was. One round of a committee of one:

    (observe,) = machine.on_tick(now_ms)                                 # Observe
    (send,) = machine.on_observation(observe.round, observation)         # Send: the observation
    (send,) = machine.on_message(await stored(send))                     # Send: the proposal
    (ready,) = machine.on_message(await stored(send))                    # OutcomeReady
    state = with_sections(next_state(ready.parent_state, ready.outcome), memory)
    (share,) = machine.on_report_ready(header, state)                    # SignShare
    signature = guard.sign_once(...)
    (send,) = machine.on_signature(header.round, signature)              # Send: the share
    (done, pass_on) = machine.on_message(await stored(send))             # CertificateReady, CertificateLearned
"""

from collections.abc import Callable, Iterable

from attest.agreement.certified import CertifiedReports, Following, check_report, check_state
from attest.agreement.effects import (
    Abstain,
    Effects,
    Observe,
    OutcomeReady,
    Resend,
    Send,
    SignShare,
)
from attest.agreement.open_rounds import OpenRounds
from attest.agreement.outcome import Outcome
from attest.agreement.proposals import (
    check_certificate,
    check_observation,
    lacks_votes,
    needed_parent_round,
    read_certificate,
)
from attest.agreement.round_memory import OwnReport, RoundMemory
from attest.agreement.rules import AgreementRules
from attest.agreement.spreading import Spreading
from attest.agreement.state import AgreedState
from attest.agreement.voting import agree
from attest.formats.certificate import Certificate
from attest.formats.committee import round_at
from attest.formats.header import ReportHeader
from attest.keys.identity import verify_identity
from attest.wire.envelope import read_envelope, seal
from attest.wire.message_format import kind_of
from attest.wire.messages import Body, MessageKind, Observation, Proposal, ReportReference, Share
from riskschema.errors import FatalError, ProtocolViolation

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
        parent_from: int = 0,
    ) -> None:
        """Begin after a certified report.

        Args:
            rules: The committee's.
            me: This operator's index.
            sign: The identity's signature over 32 bytes (`IdentityKey.sign`).
            state: After the last certified report this node holds, or the genesis state.
            certificate: Of that report; None at genesis.
            sign_from: The lowest round that the guard may sign (`Guard.enter`).
            parent_from: Round of the parent of the last report signed (`Guard.parent_round`).

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
        self._parent_from = parent_from
        self._certified = CertifiedReports(state, certificate)
        self._open = OpenRounds(rules, me, certified=self._certified)
        self._following = Following(rules, me, self._certified, self._open)
        self._spreading = Spreading(rules, me)
        self._freed = False
        """That ended just now: the next tick goes on with what waited for it."""
        self._repeated = 0
        """The round at whose half this node said again what it had said."""
        self._now = 0

    @property
    def current_round(self) -> int:
        """The slot of the last tick."""
        return self._open.current

    @property
    def highest_certified(self) -> ReportReference:
        """The certified report of the highest round that this node verified."""
        return self._certified.highest

    def own_messages(self) -> tuple[bytes, ...]:
        """Return what this node said in the rounds that are open and not certified: send it after a reconnection."""
        open_ended = (memory for memory in self._open.in_order() if memory.certificate is None)
        return tuple(payload for memory in open_ended for payload in memory.own_messages(self._me))

    def next_wake(self) -> int:
        """Return the Unix milliseconds at which a tick has something to do, without any message before.

        Tick once an interval all the same: after a wrong reading of the clock this lies far ahead.
        """
        current = self._open.current
        if self._freed or self._may_observe():
            return self._now
        moments = [self._rules.slot_start_ms(current + 1), self._rules.half_slot_ms(current)]
        if self._waits_for_votes(self._open.get(current)):
            moments.append(self._rules.proposal_deadline_ms(current))
        return min(moment for moment in moments if moment > self._now)

    def on_tick(self, now_ms: int) -> Effects:
        """Take note of the time; a new slot begins with `Observe`, and says which round ended without a report.

        Args:
            now_ms: Unix milliseconds. A small step back is ignored; a large one means that the reading before was
                wrong: the machine turns back, and begins no round a second time.

        Raises:
            InvalidData: before the committee's genesis.
        """
        turned_back = self._slot_at(now_ms) < self._open.current - STEP_BACK_SLOTS
        self._now = now_ms if turned_back else max(now_ms, self._now)
        slot = self._slot_at(self._now)
        ended = self._turn_to(slot) if slot != self._open.current else ()
        if slot < 1:
            return ended
        self._freed = False
        memory = self._open.enter(slot)
        advanced = self._advance_all()
        return (*ended, *self._observe(memory), *self._repeat(memory), *advanced)

    def on_restart(self, now_ms: int, payloads: Iterable[bytes]) -> Effects:
        """Take up the open rounds from the stored messages, the node's own among them, and go on.

        The node's own shares are left out: the report is computed and signed again, and the guard returns the same
        signature. The effects lead on from the last stored step, so `Observe` comes only where nothing was observed.

        Args:
            now_ms: Unix milliseconds.
            payloads: Stored messages in the order they were stored; those of closed rounds are passed over.

        Raises:
            ProtocolViolation: a stored message is none of this committee's: the database belongs to another.
        """
        self._now = max(now_ms, self._now)
        self._open.turn_to(self._slot_at(self._now))
        for payload in payloads:
            envelope = read_envelope(payload)
            own_share = envelope.kind is MessageKind.SHARE and envelope.sender == self._me
            if not own_share and self._open.is_open(envelope.round):
                self._open.accept(envelope)
        return self.on_tick(now_ms)

    def on_observation(self, round_number: int, observation: Observation) -> Effects:
        """Seal this node's observation; `()` when the round is over.

        The highest certificate goes out with it, until n - f operators are known to have it.

        Raises:
            ProtocolViolation: the node's own observation is not a valid one: clock, stride, values, confidences.
            InvalidData: it cannot be encoded: a list out of order, or too large.
        """
        check_observation(self._rules, observation, round_number)
        spread = self._spreading.is_spread(self._certified.highest)
        return (*(() if spread else self._following.pass_on()), *self._seal(round_number, observation))

    def on_message(self, payload: bytes) -> Effects:
        """Take an observation, a proposal or a share of a peer, or this node's own from the store.

        Raises:
            ProtocolViolation: malformed, foreign, stale or forged; nothing was changed by it.
        """
        envelope = read_envelope(payload)
        memory, evidence = self._open.accept(envelope)
        if memory is None:
            return evidence
        return (*evidence, *self._hear(memory, envelope.sender, envelope.kind), *self._advance(memory))

    def on_report_ready(self, header: ReportHeader, state: AgreedState) -> Effects:
        """Take this node's report.

        Args:
            header: The report.
            state: `step` of the parent state and the outcome, with the sections of the other stages.

        Raises:
            InvalidData: the header does not say what the round agreed on.
        """
        outcome = self._following.assessing
        if outcome is None or outcome.round != header.round:
            return ()
        check_report(self._rules, outcome, header, state)
        self._end_assessment()
        reference = self._certified.add_report(header, state)
        memory = self._open.get(header.round)
        if memory is None:
            late = self._certified.certificate_of(reference)
            return self._following.complete(late) if late else self._following.catch_up()
        memory.report = OwnReport(header, state)
        return (*self._vote(memory, outcome), *self._following.certify(memory))

    def on_failed(self, round_number: int, code: str) -> Effects:
        """Take note that this node could not observe, assess or sign; the next round is free.

        Args:
            round_number: The round.
            code: Why, a key of `riskschema.reasons.REASONS`.
        """
        if self._following.assessing is not None and self._following.assessing.round == round_number:
            self._end_assessment()
        memory = self._open.get(round_number)
        abstain: Effects = ()
        if memory is not None and memory.open_ended:
            memory.ended = True
            abstain = (Abstain(round=round_number, code=code),)
        return (*abstain, *self._following.catch_up())

    def on_signature(self, round_number: int, signature: bytes) -> Effects:
        """Seal the share over this node's report; `()` when the round is over."""
        self._sign_from = max(self._sign_from, round_number)
        memory = self._open.get(round_number)
        if memory is None or memory.report is None or memory.outcome is None:
            return ()
        self._parent_from = max(self._parent_from, memory.outcome.parent.round)
        return self._seal(round_number, Share(report_hash=memory.report.hash, signature=signature))

    def on_certificate(self, payload: bytes) -> Effects:
        """Take a certificate that a peer passed on; one that is no news is not even verified.

        Raises:
            ProtocolViolation: it does not decode or verify, or is of a round that has not begun.
        """
        round_number = read_certificate(payload).header.round
        if round_number > self._open.current + 1:
            raise ProtocolViolation("refused: a certificate of a round that has not begun", code="malformed")
        if round_number <= self._certified.highest.round:
            return ()
        certificate = check_certificate(self._rules, payload)
        return (*(self._following.learn(certificate) if certificate else ()), *self._advance_all())

    def on_state(self, reference: ReportReference, state: AgreedState) -> Effects:
        """Take the state after a certified report, from the store or a peer.

        Raises:
            ProtocolViolation: it is not the state that the report commits to.
        """
        certificate = self._certified.certificate_of(reference)
        if certificate is None or self._certified.state_after(reference) is not None:
            return ()
        check_state(certificate.header, state)
        self._certified.add_report(certificate.header, state)
        return (*self._following.complete(certificate), *self._advance_all())

    def _end_assessment(self) -> None:
        self._following.assessing = None
        self._freed = True

    def _turn_to(self, slot: int) -> Effects:
        self._spreading.begin_slot()
        ended = self._open.turn_to(slot)
        for memory in self._open.in_order():
            memory.state_asked = False
        return (*ended, *self._following.catch_up())

    def _may_observe(self) -> bool:
        """A node that still assesses observes nothing: what it sees now would belong to another chain of reports."""
        slot = self._open.current
        memory = self._open.get(slot)
        free = self._following.assessing is None or self._following.assessing.round == slot
        return free and slot > self._certified.highest.round and not (memory is not None and memory.observed)

    def _observe(self, memory: RoundMemory) -> Effects:
        if not self._may_observe():
            return ()
        memory.observed = True
        return (Observe(round=memory.number, highest_certified=self._certified.highest),)

    def _repeat(self, memory: RoundMemory) -> Effects:
        """Say at half of an open round again what was said: nobody knows what the brokers did with it."""
        if self._repeated == memory.number or self._now < self._rules.half_slot_ms(memory.number):
            return ()
        self._repeated = memory.number
        payloads = self.own_messages()
        return (Resend(payloads=payloads),) if payloads and self._rules.n > 1 else ()

    def _hear(self, memory: RoundMemory, sender: int, kind: MessageKind) -> Effects:
        if kind is not MessageKind.OBSERVATION:
            return ()
        return self._spreading.hear(
            sender,
            memory.observations[sender].highest_certified,
            highest=self._certified.highest,
            current=self._open.current,
        )

    def _advance_all(self) -> Effects:
        return tuple(effect for memory in self._open.in_order() for effect in self._advance(memory))

    def _advance(self, memory: RoundMemory) -> Effects:
        """Do all that the messages of a round allow."""
        return (*self._propose(memory), *self._settle(memory), *self._following.certify(memory))

    def _propose(self, memory: RoundMemory) -> Effects:
        """Lead: put the observations and the parent before all, once there are enough of them."""
        if not self._leads(memory) or self._waits_for_votes(memory):
            return ()
        if not needed_parent_round(self._rules, memory.observations) <= self._certified.highest.round < memory.number:
            return ()
        memory.proposed = True
        proposal = Proposal(
            observations=memory.observation_payloads(), parent_certificate=self._certified.highest_certificate
        )
        return self._seal(memory.number, proposal)

    def _leads(self, memory: RoundMemory) -> bool:
        leads = memory.number == self._open.current and self._rules.leader(memory.number) == self._me
        return leads and not memory.proposed and len(memory.observations) >= self._rules.answering

    def _waits_for_votes(self, memory: RoundMemory | None) -> bool:
        """Say whether a leader that could propose waits until its grace is over."""
        if memory is None or not self._leads(memory) or len(memory.observations) == self._rules.n:
            return False
        parent = self._certified.state_after(self._certified.highest)
        lacking = parent is None or lacks_votes(self._rules, memory.observations, parent)
        return lacking and self._now < self._rules.proposal_deadline_ms(memory.number)

    def _settle(self, memory: RoundMemory) -> Effects:
        """Work out the outcome, once the proposal and the parent's state are there and nothing else is assessed."""
        if memory.proposal is None or memory.outcome is not None or memory.number > self._open.current:
            return ()
        if self._certified.is_settled(memory.number):
            return ()
        certificate, parent = memory.proposal.certificate, memory.proposal.parent
        learned = self._following.learn(certificate) if certificate else ()
        if self._following.assessing is not None:
            return learned
        state = self._certified.state_after(parent)
        if state is None:
            return (*learned, *self._following.ask_for_parent(memory))
        memory.outcome = self._following.assessing = agree(
            self._rules,
            round_number=memory.number,
            observations=memory.proposal.observations,
            parent=parent,
            state=state,
        )
        return (*learned, OutcomeReady(outcome=memory.outcome, parent_state=state))

    def _vote(self, memory: RoundMemory, outcome: Outcome) -> Effects:
        """Sign the report, unless it is certified without this node, or the guard's marks forbid it."""
        report = memory.report
        if report is None or memory.certificate is not None:
            return self._following.complete(memory.certificate) if memory.certificate else ()
        parent_round = outcome.parent.round
        if memory.number < self._sign_from or parent_round < self._parent_from:
            memory.ended = True
            code = "guard_refuses" if memory.number < self._sign_from else "parent_old"
            return (Abstain(round=memory.number, code=code),)
        digest = self._rules.share_digest(report.hash)
        return (SignShare(header=report.header, report_hash=report.hash, digest=digest, parent_round=parent_round),)

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

    def _slot_at(self, now_ms: int) -> int:
        return round_at(self._rules.committee, now_ms // 1_000)
