"""What a node remembers of one round. Bounded: one message per sender and kind, and one conflicting pair."""

from collections import Counter

from attest.agreement.outcome import Outcome
from attest.agreement.proposals import CheckedProposal
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate
from attest.formats.header import ReportHeader, report_hash
from attest.wire.envelope import Envelope
from attest.wire.messages import MessageKind, Observation, Share


class OwnReport:
    """The report this node computed for a round, with the state after it."""

    def __init__(self, header: ReportHeader, state: AgreedState) -> None:
        self.header = header
        self.state = state
        self.hash = report_hash(header)


class RoundMemory:
    """One round as this node has seen it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.first: dict[tuple[int, MessageKind], Envelope] = {}
        """First valid message per sender and kind."""
        self.equivocated: set[tuple[int, MessageKind]] = set()
        self.observations: dict[int, Observation] = {}
        self.shares: dict[int, Share] = {}
        self.proposal: CheckedProposal | None = None
        self.outcome: Outcome | None = None
        self.report: OwnReport | None = None
        self.certificate: Certificate | None = None
        self.observed = False
        self.proposed = False
        self.state_asked = False
        """The parent's state was asked for in this slot."""
        self.settled = False
        """The round's certificate and state are known."""
        self.ended = False
        """An end without a certificate was announced."""

    @property
    def open_ended(self) -> bool:
        """Whether nobody has been told yet how the round ended."""
        return self.certificate is None and not self.ended

    def keep(self, envelope: Envelope, body: Observation | CheckedProposal | Share, *, own: bool) -> None:
        """Remember the first valid message of a sender and kind."""
        self.first[envelope.sender, envelope.kind] = envelope
        if isinstance(body, Observation):
            self.observations[envelope.sender] = body
            self.observed |= own
        elif isinstance(body, CheckedProposal):
            self.proposal = body
            self.proposed |= own
        else:
            self.shares[envelope.sender] = body

    def is_news(self, kind: MessageKind) -> bool:
        """Say whether a first message of a kind can still change anything: after the certificate few do."""
        if kind is MessageKind.SHARE:
            return self.certificate is None
        return kind is not MessageKind.PROPOSAL or not self.settled

    def observations_by_payload(self) -> dict[bytes, Observation]:
        """Return the observations, all checked, by their whole envelopes."""
        return {self.first[sender, MessageKind.OBSERVATION].payload: seen for sender, seen in self.observations.items()}

    def own_messages(self, me: int) -> tuple[bytes, ...]:
        """Return what this node said, in order."""
        return tuple(self.first[me, kind].payload for kind in MessageKind if (me, kind) in self.first)

    def observation_payloads(self) -> tuple[bytes, ...]:
        """Return the whole observations, all verified, by sender."""
        return tuple(self.first[sender, MessageKind.OBSERVATION].payload for sender in sorted(self.observations))

    def signatures_for(self, report: bytes) -> dict[int, bytes]:
        """Return the signatures over one report, by operator."""
        return {sender: share.signature for sender, share in self.shares.items() if share.report_hash == report}

    def most_shared(self) -> int:
        """Return how many signed the report that most signed."""
        return max(Counter(share.report_hash for share in self.shares.values()).values(), default=0)

    def why_not_certified(self) -> str:
        """Return the reason code of a round that ends without a certificate."""
        if self.proposal is None:
            return "leader_silent"
        return "deadline" if self.report is None else "quorum_missing"
