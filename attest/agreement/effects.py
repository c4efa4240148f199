"""What the round machine asks its driver to do, in the order in which a round comes to it."""

import msgspec

from attest.agreement.outcome import Outcome
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate
from attest.formats.header import ReportHeader
from attest.wire.messages import MessageKind, ReportReference


class Observe(msgspec.Struct, frozen=True, kw_only=True):
    """Look at chains and markets now; answer with `RoundMachine.on_observation`, or `on_failed`."""

    round: int
    highest_certified: ReportReference
    """Goes into the observation as it is."""


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """Mark the message in the guard, store it whole, feed the stored bytes to `on_message`, send them to all.

    In this order: what the guard refuses must not be in the store, or it would be sent after a restart. A message of
    the kind and round that is stored already stands for this one.
    """

    round: int
    kind: MessageKind
    payload: bytes


class Resend(msgspec.Struct, frozen=True, kw_only=True):
    """Send these stored messages of the open rounds to all again: an acknowledgement proves nothing."""

    payloads: tuple[bytes, ...]


class OutcomeReady(msgspec.Struct, frozen=True, kw_only=True):
    """Read and assess; answer with `RoundMachine.on_report_ready`, or `on_failed`: until then nothing else is begun."""

    outcome: Outcome
    parent_state: AgreedState


class SignShare(msgspec.Struct, frozen=True, kw_only=True):
    """Sign through the guard; answer with `RoundMachine.on_signature`, or `on_failed`."""

    header: ReportHeader
    report_hash: bytes
    digest: bytes
    """The 32 bytes that the attestation key signs."""
    parent_round: int
    """For the guard: no later report may build on a lower one."""


class CertificateReady(msgspec.Struct, frozen=True, kw_only=True):
    """A report is certified and the state after it known: store both and the state's recent hours; publish it."""

    certificate: Certificate
    state: AgreedState


class CertificateLearned(msgspec.Struct, frozen=True, kw_only=True):
    """Pass the certificate on to all, at once: nothing that is certified may be withheld."""

    reference: ReportReference
    payload: bytes


class CertificateNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """An operator names a certificate that is not known here: ask it; answer with `RoundMachine.on_certificate`."""

    reference: ReportReference
    peer: int


class StateNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """A report is certified whose state is not known: look into the store, ask those who signed; `on_state`."""

    reference: ReportReference
    certificate: bytes
    """Canonical bytes: what the state must fit."""
    peers: tuple[int, ...]
    """Who signed it, and so has the state."""


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """A quorum certified another report than this node computed: find out which rows differ."""

    computed: ReportHeader
    certified: ReportHeader
    peers: tuple[int, ...] = ()
    """Who signed the certified one, and so has its rows."""


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


Effect = (
    Observe
    | Send
    | Resend
    | OutcomeReady
    | SignShare
    | CertificateReady
    | CertificateLearned
    | CertificateNeeded
    | StateNeeded
    | Disagreement
    | Equivocation
    | Abstain
)
Effects = tuple[Effect, ...]
