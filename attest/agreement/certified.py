"""The reports a node can build on: verified certificates and states of the last few, and what follows from them."""

from collections.abc import Iterator

from attest.agreement.effects import (
    Abstain,
    CertificateLearned,
    CertificateReady,
    Disagreement,
    Effects,
    StateNeeded,
)
from attest.agreement.open_rounds import OpenRounds
from attest.agreement.outcome import Outcome, pins_root
from attest.agreement.proposals import reference_of
from attest.agreement.round_memory import RoundMemory
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState
from attest.agreement.state_format import state_root
from attest.formats.certificate import Certificate, assemble_certificate, encode_certificate, signer_indices
from attest.formats.header import ReportHeader, report_hash
from attest.wire.messages import ReportReference
from riskschema.errors import InvalidData, ProtocolViolation

KEPT_REPORTS = 8


class CertifiedReports:
    """Grows by certificates and states, never beyond `KEPT_REPORTS` of either; the store has the rest.

    The states of reports that this node computed are kept before they are certified: somebody may hold the certificate,
    and show it late.
    """

    def __init__(self, state: AgreedState, certificate: Certificate | None) -> None:
        self.highest = reference_of(certificate)
        """The certified report of the highest round; its state may still be missing."""
        self._certificates = {self.highest: certificate}
        self._states = {self.highest: state}

    @property
    def highest_certificate(self) -> bytes:
        """Canonical bytes; none: the genesis."""
        certificate = self._certificates[self.highest]
        return b"" if certificate is None else encode_certificate(certificate)

    @property
    def is_behind(self) -> bool:
        """Whether the state after the highest certified report is missing."""
        return self.highest not in self._states

    def __contains__(self, reference: object) -> bool:
        """Say whether a verified certificate of a report is held."""
        return reference in self._certificates

    def __iter__(self) -> Iterator[ReportReference]:
        """Yield the reports of which certificates are held."""
        return iter(self._certificates)

    def is_settled(self, round_number: int) -> bool:
        """Say whether nothing is to be gained from computing a round: it, or a later one, is certified and known."""
        return round_number < self.highest.round or (round_number == self.highest.round and not self.is_behind)

    def certificate_of(self, reference: ReportReference) -> Certificate | None:
        """Return the certificate of a report; None: not held, or the genesis."""
        return self._certificates.get(reference)

    def state_after(self, reference: ReportReference) -> AgreedState | None:
        """Return the state after a report, where it is kept."""
        return self._states.get(reference)

    def add_certificate(self, certificate: Certificate) -> bool:
        """Take note of a verified certificate; say whether its round is higher than all before."""
        reference = reference_of(certificate)
        self._certificates.setdefault(reference, certificate)
        higher = reference.round > self.highest.round
        if higher:
            self.highest = reference
        self._forget(self._certificates)
        return higher

    def add_report(self, header: ReportHeader, state: AgreedState) -> ReportReference:
        """Keep the state of a report that was computed here, or checked against its certificate."""
        reference = ReportReference(round=header.round, report_hash=report_hash(header))
        self._states[reference] = state
        self._forget(self._states)
        return reference

    def _forget(self, kept: dict[ReportReference, AgreedState] | dict[ReportReference, Certificate | None]) -> None:
        """Drop the lowest rounds beyond the bound, never the report that is built on next."""
        while len(kept) > KEPT_REPORTS:
            del kept[min(reference for reference in kept if reference != self.highest)]


class Following:
    """Goes on from what is certified: passes it on, and gets the state after it from this node or from others.

    Args:
        rules: The committee's.
        me: This operator's index.
        certified: What is certified.
        rounds: The open rounds.
    """

    def __init__(self, rules: AgreementRules, me: int, certified: CertifiedReports, rounds: OpenRounds) -> None:
        self._rules = rules
        self._me = me
        self._certified = certified
        self._open = rounds
        self.assessing: Outcome | None = None
        """What the driver reads and assesses now; nothing else is observed or begun meanwhile."""

    def certify(self, memory: RoundMemory) -> Effects:
        """Make the certificate once a quorum signed this node's report; give up once it signed another."""
        if memory.certificate is not None or memory.report is None:
            return ()
        signatures = memory.signatures_for(memory.report.hash)
        if len(signatures) >= self._rules.certifying:
            return self.learn(assemble_certificate(memory.report.header, signatures))
        if not memory.ended and memory.most_shared() >= self._rules.certifying:
            memory.ended = True
            return (Abstain(round=memory.number, code="outvoted"),)
        return ()

    def learn(self, certificate: Certificate) -> Effects:
        """Take a verified certificate; one that is higher than all before is passed on at once."""
        known = reference_of(certificate) in self._certified
        higher = self._certified.add_certificate(certificate)
        memory = self._open.get(certificate.header.round)
        if memory is not None:
            memory.certificate = memory.certificate or certificate
        completed = () if known else self.complete(certificate)
        return (*completed, *(self.pass_on() if higher else ()))

    def complete(self, certificate: Certificate) -> Effects:
        """Go on from a certified report: its state is at hand, or being worked out, or somebody has it."""
        reference = reference_of(certificate)
        memory = self._open.get(reference.round)
        state = self._certified.state_after(reference)
        if state is not None:
            if memory is not None:
                memory.settled = True
            return (CertificateReady(certificate=certificate, state=state),)
        if self.assessing is not None and self.assessing.round == reference.round:
            return ()
        return (*self._outvoted(memory, certificate), *self.catch_up())

    def _outvoted(self, memory: RoundMemory | None, certificate: Certificate) -> Effects:
        if memory is None or memory.report is None:
            return ()
        abstain = () if memory.ended else (Abstain(round=memory.number, code="outvoted"),)
        memory.ended = True
        peers = self._other_signers(certificate)
        return (*abstain, Disagreement(computed=memory.report.header, certified=certificate.header, peers=peers))

    def pass_on(self) -> Effects:
        """Tell all others of the highest certificate."""
        payload = self._certified.highest_certificate
        return (CertificateLearned(reference=self._certified.highest, payload=payload),) if payload else ()

    def catch_up(self) -> Effects:
        """Ask for the state after the highest certified report, unless the driver is about to bring it."""
        highest = self._certified.highest
        assessed = self.assessing is not None and self.assessing.round == highest.round
        return self._state_needed(highest) if self._certified.is_behind and not assessed else ()

    def ask_for_parent(self, memory: RoundMemory) -> Effects:
        """Ask for the state of a proposal's parent, once a slot; that of the highest is asked for anyway."""
        asked, memory.state_asked = memory.state_asked, True
        parent = memory.proposal.parent if memory.proposal else self._certified.highest
        return () if asked or parent == self._certified.highest else self._state_needed(parent)

    def _state_needed(self, reference: ReportReference) -> Effects:
        certificate = self._certified.certificate_of(reference)
        if certificate is None:
            return ()
        peers = self._other_signers(certificate)
        return (StateNeeded(reference=reference, certificate=encode_certificate(certificate), peers=peers),)

    def _other_signers(self, certificate: Certificate) -> tuple[int, ...]:
        return tuple(index for index in signer_indices(certificate) if index != self._me)


def check_report(rules: AgreementRules, outcome: Outcome, header: ReportHeader, state: AgreedState) -> None:
    """Check that this node's report says what the round agreed on.

    Raises:
        InvalidData: naming the fields that do not.
    """
    wanted = {
        "config_digest": rules.config_digest,
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


def check_state(header: ReportHeader, state: AgreedState) -> None:
    """Check that a state is the one after a certified report.

    Raises:
        ProtocolViolation: it is not.
    """
    try:
        root = state_root(state)
    except InvalidData as error:
        raise ProtocolViolation(f"refused: {error.message}", code="malformed") from error
    if root != header.state_root:
        raise ProtocolViolation("refused: the state is not the one that the report commits to", code="forged")
