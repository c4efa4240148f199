"""What operators tell each other: observations, proposals, shares, presence, and questions after what was missed.

Who says it, in which round and under which committee stands in the envelope (`attest.wire.envelope`); the bytes
are in `attest.wire.message_format`.
"""

from enum import IntEnum

import msgspec

from attest.formats.parameters import MAX_FACTORS
from riskschema.instruments import FactorId
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Wad

HEADS_PER_CHAIN = 8
MAX_VOTES = MAX_FACTORS
MAX_REQUESTS = 1_000
PAGE_BYTES = 262_144
"""Most bytes of a state, or of rows, in one answer."""
NO_REPORT = bytes(32)
"""Report hash of the parent of the first report."""


class MessageKind(IntEnum):
    """The kinds of peer messages; the number is part of the signed bytes."""

    OBSERVATION = 1
    PROPOSAL = 2
    SHARE = 3
    PRESENCE = 4
    REQUEST = 5
    ANSWER = 6


ROUND_KINDS = frozenset({MessageKind.OBSERVATION, MessageKind.PROPOSAL, MessageKind.SHARE})
"""Said once a round and operator, stored before they are sent; the round machine takes these."""


class ReportReference(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A report by round and hash; round 0 and the zero hash stand for the genesis."""

    round: int
    report_hash: bytes


GENESIS_REFERENCE = ReportReference(round=0, report_hash=NO_REPORT)


class FactorVote(msgspec.Struct, frozen=True, kw_only=True):
    """One observer's word on one factor."""

    factor: FactorId
    value: Wad
    """US dollars per unit, 18 decimals."""
    confidence: Wad
    """Half-width in US dollars; above zero."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one operator sees at the beginning of a round."""

    clock_ms: int
    """The operator's clock, Unix milliseconds."""
    heads: tuple[BlockReference, ...]
    """Per chain up to 8 blocks at multiples of the stride, by (chain id, number)."""
    votes: tuple[FactorVote, ...]
    """By factor."""
    highest_certified: ReportReference
    """The certificate of the highest round that the operator verified."""
    requests: tuple[Address, ...] = ()
    """Accounts asked for on demand, ascending."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What the leader puts before all: the signed observations, and the parent."""

    observations: tuple[bytes, ...]
    """Whole envelopes, by sender."""
    parent_certificate: bytes
    """Canonical bytes of a certificate; empty: the genesis."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One operator's signature over a report."""

    report_hash: bytes
    signature: bytes
    """65 bytes r ‖ s ‖ v by the attestation key."""


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """All that a key says while it listens: that somebody started with it, and what time it is there."""

    boot_number: int
    """Random per start, 64 bits: two starts with one key hear of each other."""
    clock_ms: int
    """Unix milliseconds."""


class Part(IntEnum):
    """What a request asks for of one report."""

    CERTIFICATE = 1
    """Its canonical bytes."""
    PROPOSAL = 2
    """The proposal it followed from, whole."""
    STATE = 3
    """The state after it; `start` counts bytes."""
    HOURS = 4
    """Completed hours that its state commits to, each as a blob; `start` is the Unix time of the first."""
    LEAVES = 5
    """Account leaves by subject, each as a blob, to explain a disagreement; `start` counts leaves."""
    PORTFOLIOS = 6
    """What was read of each account, JSON, each as a blob, to explain a disagreement; `start` counts accounts."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A question to one operator."""

    recipient: int
    part: Part
    reference: ReportReference
    start: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One page of what was asked for. Nobody believes it: certificate and roots prove what it holds."""

    recipient: int
    part: Part
    reference: ReportReference
    start: int
    total: int
    """Where the last page ends, in the unit of `start`; 0: not kept here."""
    data: bytes


Body = Observation | Proposal | Share | Presence | Request | Answer

MAX_BYTES: dict[MessageKind, int] = {
    MessageKind.OBSERVATION: 65_536,
    MessageKind.PROPOSAL: 2_097_152,
    MessageKind.SHARE: 1_024,
    MessageKind.PRESENCE: 256,
    MessageKind.REQUEST: 256,
    MessageKind.ANSWER: 2_098_176,
}
"""Largest envelope of each kind, checked before anything else; an answer may carry a proposal."""
