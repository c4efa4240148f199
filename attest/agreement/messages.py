"""What operators tell each other: observations, proposals, shares. Types and their canonical bytes.

Who says it, in which round and under which committee stands in the envelope (`attest.agreement.envelope`).
"""

from collections.abc import Callable
from enum import IntEnum

import msgspec

from attest.encoding.canonical_bytes import ByteReader, ByteWriter, check_increasing
from attest.formats.certificate import MAX_CERTIFICATE_BYTES
from attest.formats.committee import MAX_CHAINS
from attest.formats.eip712 import SIGNATURE_BYTES
from attest.formats.quorums import MAX_OPERATORS
from riskschema.errors import InvalidData
from riskschema.instruments import FactorId
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Hash32, Wad

HEADS_PER_CHAIN = 8
MAX_VOTES = 2_000
MAX_REQUESTS = 1_000
NO_REPORT = bytes(32)
"""Report hash of the parent of the first report."""


class MessageKind(IntEnum):
    """The kinds of peer messages; the number is part of the signed bytes."""

    OBSERVATION = 1
    PROPOSAL = 2
    SHARE = 3


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

    timestamp: int
    """The operator's clock, Unix seconds."""
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


Body = Observation | Proposal | Share

MAX_BYTES: dict[MessageKind, int] = {
    MessageKind.OBSERVATION: 65_536,
    MessageKind.PROPOSAL: 2_097_152,
    MessageKind.SHARE: 1_024,
}
"""Largest envelope of each kind, checked before anything else."""


def kind_of(body: Body) -> MessageKind:
    """Return the kind of a message body."""
    return _KINDS[type(body)]


def encode_body(body: Body) -> bytes:
    """Return the canonical bytes of a body.

    Raises:
        InvalidData: a list out of order or a number outside its type.
    """
    writer = ByteWriter()
    if isinstance(body, Observation):
        _check_observation_order(body)
        _write_observation(writer, body)
    elif isinstance(body, Proposal):
        writer.items(body.observations, lambda each, payload: each.blob(payload))
        writer.blob(body.parent_certificate)
    else:
        writer.fixed(body.report_hash, 32)
        writer.fixed(body.signature, SIGNATURE_BYTES)
    return writer.finish()


def decode_body(kind: MessageKind, data: bytes) -> Body:
    """Read what `encode_body` wrote, and nothing else.

    Raises:
        InvalidData: any other bytes.
    """
    reader = ByteReader(data, what=kind.name.lower())
    body = _READERS[kind](reader)
    reader.finish()
    return body


def write_block(writer: ByteWriter, block: BlockReference) -> None:
    """Append chain id (8 bytes), number (8), timestamp (8) and hash (32)."""
    writer.uint(block.chain_id, 8)
    writer.uint(block.number, 8)
    writer.uint(block.timestamp, 8)
    writer.fixed(block.hash.to_bytes(), 32)


def read_block(reader: ByteReader) -> BlockReference:
    """Read what `write_block` wrote."""
    chain_id, number, timestamp = reader.uint(8), reader.uint(8), reader.uint(8)
    return BlockReference(chain_id=chain_id, number=number, timestamp=timestamp, hash=Hash32(reader.fixed(32)))


def write_reference(writer: ByteWriter, reference: ReportReference) -> None:
    """Append round (8 bytes) and report hash (32)."""
    writer.uint(reference.round, 8)
    writer.fixed(reference.report_hash, 32)


def read_reference(reader: ByteReader) -> ReportReference:
    """Read what `write_reference` wrote."""
    return ReportReference(round=reader.uint(8), report_hash=reader.fixed(32))


def write_address(writer: ByteWriter, address: Address) -> None:
    """Append 20 bytes."""
    writer.fixed(address.to_bytes(), 20)


def read_address(reader: ByteReader) -> Address:
    """Read 20 bytes."""
    return Address("0x" + reader.fixed(20).hex())


def _write_observation(writer: ByteWriter, observation: Observation) -> None:
    writer.uint(observation.timestamp, 8)
    writer.items(observation.heads, write_block)
    writer.items(observation.votes, _write_vote)
    write_reference(writer, observation.highest_certified)
    writer.items(observation.requests, write_address)


def _read_observation(reader: ByteReader) -> Observation:
    observation = Observation(
        timestamp=reader.uint(8),
        heads=reader.items(read_block, at_most=MAX_CHAINS * HEADS_PER_CHAIN),
        votes=reader.items(_read_vote, at_most=MAX_VOTES),
        highest_certified=read_reference(reader),
        requests=reader.items(read_address, at_most=MAX_REQUESTS),
    )
    _check_observation_order(observation)
    return observation


def _check_observation_order(observation: Observation) -> None:
    check_increasing(((head.chain_id, head.number) for head in observation.heads), what="heads")
    check_increasing((vote.factor for vote in observation.votes), what="votes")
    check_increasing(observation.requests, what="requests")


def _write_vote(writer: ByteWriter, vote: FactorVote) -> None:
    writer.text(vote.factor)
    writer.uint(vote.value, 16)
    writer.uint(vote.confidence, 16)


def _read_vote(reader: ByteReader) -> FactorVote:
    return FactorVote(factor=reader.text(), value=Wad(reader.uint(16)), confidence=Wad(reader.uint(16)))


def _read_proposal(reader: ByteReader) -> Proposal:
    observations = reader.items(lambda each: each.blob(), at_most=MAX_OPERATORS)
    certificate = reader.blob()
    if len(certificate) > MAX_CERTIFICATE_BYTES:
        raise InvalidData(f"proposal: a certificate of {len(certificate)} bytes", code="malformed")
    return Proposal(observations=observations, parent_certificate=certificate)


def _read_share(reader: ByteReader) -> Share:
    return Share(report_hash=reader.fixed(32), signature=reader.fixed(SIGNATURE_BYTES))


_KINDS: dict[type[Body], MessageKind] = {
    Observation: MessageKind.OBSERVATION,
    Proposal: MessageKind.PROPOSAL,
    Share: MessageKind.SHARE,
}
_READERS: dict[MessageKind, Callable[[ByteReader], Body]] = {
    MessageKind.OBSERVATION: _read_observation,
    MessageKind.PROPOSAL: _read_proposal,
    MessageKind.SHARE: _read_share,
}
