"""What the round machine asks its driver to do."""

import msgspec

from attest.agreement.messages import MessageKind, ReportReference
from attest.agreement.outcome import Outcome
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate
from attest.formats.header import ReportHeader


class Observe(msgspec.Struct, frozen=True, kw_only=True):
    """Look at chains and markets now; answer with `RoundMachine.on_observation`."""

    round: int
    highest_certified: ReportReference
    """Goes into the observation as it is."""


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """Store the message whole, feed the stored bytes to `RoundMachine.on_message`, send them to all."""

    round: int
    kind: MessageKind
    payload: bytes


class OutcomeReady(msgspec.Struct, frozen=True, kw_only=True):
    """Read and assess; answer with `RoundMachine.on_report_ready`."""

    outcome: Outcome
    parent_state: AgreedState


class SignShare(msgspec.Struct, frozen=True, kw_only=True):
    """Sign through the guard; answer with `RoundMachine.on_signature`."""

    header: ReportHeader
    report_hash: bytes
    digest: bytes
    """The 32 bytes that the attestation key signs."""


class CertificateReady(msgspec.Struct, frozen=True, kw_only=True):
    """A quorum certified a report whose state is known: store it, publish it, pass it on."""

    certificate: Certificate
    state: AgreedState


class SnapshotNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """A certified report is known whose state is not: fetch it, answer with `RoundMachine.on_snapshot`."""

    reference: ReportReference


class Equivocation(msgspec.Struct, frozen=True, kw_only=True):
    """An operator signed two different messages of one kind for one round: keep both."""

    sender: int
    round: int
    kind: MessageKind
    first: bytes
    second: bytes


class Abstain(msgspec.Struct, frozen=True, kw_only=True):
    """This node takes no further part in the round."""

    round: int
    code: str
    """A key of `riskschema.reasons.REASONS`."""


Effect = Observe | Send | OutcomeReady | SignShare | CertificateReady | SnapshotNeeded | Equivocation | Abstain
Effects = tuple[Effect, ...]
