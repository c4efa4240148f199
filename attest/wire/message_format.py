"""The canonical bytes of what operators tell each other: one encoding per value (docs/agreement.md)."""

from collections.abc import Callable
from typing import Any

from attest.encoding.canonical_bytes import ByteReader, ByteWriter, check_increasing
from attest.formats.certificate import MAX_CERTIFICATE_BYTES
from attest.formats.committee import MAX_CHAINS
from attest.formats.eip712 import SIGNATURE_BYTES
from attest.formats.quorums import MAX_OPERATORS
from attest.wire.messages import (
    HEADS_PER_CHAIN,
    MAX_REQUESTS,
    MAX_VOTES,
    PAGE_BYTES,
    Answer,
    Body,
    FactorVote,
    MessageKind,
    Observation,
    Part,
    Presence,
    Proposal,
    ReportReference,
    Request,
    Share,
)
from riskschema.errors import InvalidData
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Hash32, Wad


def kind_of(body: Body) -> MessageKind:
    """Return the kind of a message body."""
    return _KINDS[type(body)]


def encode_body(body: Body) -> bytes:
    """Return the canonical bytes of a body.

    Raises:
        InvalidData: a list out of order or a number outside its type.
    """
    writer = ByteWriter()
    _WRITERS[type(body)](writer, body)
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
    _check_observation_order(observation)
    writer.uint(observation.clock_ms, 8)
    writer.items(observation.heads, write_block)
    writer.items(observation.votes, _write_vote)
    write_reference(writer, observation.highest_certified)
    writer.items(observation.requests, write_address)


def _read_observation(reader: ByteReader) -> Observation:
    observation = Observation(
        clock_ms=reader.uint(8),
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


def _write_proposal(writer: ByteWriter, proposal: Proposal) -> None:
    writer.items(proposal.observations, lambda each, payload: each.blob(payload))
    writer.blob(proposal.parent_certificate)


def _read_proposal(reader: ByteReader) -> Proposal:
    observations = reader.items(lambda each: each.blob(), at_most=MAX_OPERATORS)
    certificate = reader.blob()
    if len(certificate) > MAX_CERTIFICATE_BYTES:
        raise InvalidData(f"proposal: a certificate of {len(certificate)} bytes", code="malformed")
    return Proposal(observations=observations, parent_certificate=certificate)


def _write_share(writer: ByteWriter, share: Share) -> None:
    writer.fixed(share.report_hash, 32)
    writer.fixed(share.signature, SIGNATURE_BYTES)


def _read_share(reader: ByteReader) -> Share:
    return Share(report_hash=reader.fixed(32), signature=reader.fixed(SIGNATURE_BYTES))


def _write_presence(writer: ByteWriter, presence: Presence) -> None:
    writer.uint(presence.boot_number, 8)
    writer.uint(presence.clock_ms, 8)


def _read_presence(reader: ByteReader) -> Presence:
    return Presence(boot_number=reader.uint(8), clock_ms=reader.uint(8))


def _write_request(writer: ByteWriter, request: Request) -> None:
    writer.uint(request.recipient, 1)
    writer.uint(request.part, 1)
    write_reference(writer, request.reference)
    writer.uint(request.start, 8)


def _read_request(reader: ByteReader) -> Request:
    return Request(
        recipient=reader.uint(1), part=_read_part(reader), reference=read_reference(reader), start=reader.uint(8)
    )


def _write_answer(writer: ByteWriter, answer: Answer) -> None:
    writer.uint(answer.recipient, 1)
    writer.uint(answer.part, 1)
    write_reference(writer, answer.reference)
    writer.uint(answer.start, 8)
    writer.uint(answer.total, 8)
    writer.blob(answer.data)


def _read_answer(reader: ByteReader) -> Answer:
    answer = Answer(
        recipient=reader.uint(1),
        part=_read_part(reader),
        reference=read_reference(reader),
        start=reader.uint(8),
        total=reader.uint(8),
        data=reader.blob(),
    )
    if len(answer.data) > PAGE_BYTES and answer.part is not Part.PROPOSAL:
        raise reader.refused(f"a page of {len(answer.data)} bytes")
    return answer


def _read_part(reader: ByteReader) -> Part:
    number = reader.uint(1)
    if number not in _PARTS:
        raise reader.refused(f"unknown part {number}")
    return Part(number)


_PARTS = frozenset(Part)
_KINDS: dict[type[Body], MessageKind] = {
    Observation: MessageKind.OBSERVATION,
    Proposal: MessageKind.PROPOSAL,
    Share: MessageKind.SHARE,
    Presence: MessageKind.PRESENCE,
    Request: MessageKind.REQUEST,
    Answer: MessageKind.ANSWER,
}
_WRITERS: dict[type[Body], Callable[[ByteWriter, Any], None]] = {
    Observation: _write_observation,
    Proposal: _write_proposal,
    Share: _write_share,
    Presence: _write_presence,
    Request: _write_request,
    Answer: _write_answer,
}
_READERS: dict[MessageKind, Callable[[ByteReader], Body]] = {
    MessageKind.OBSERVATION: _read_observation,
    MessageKind.PROPOSAL: _read_proposal,
    MessageKind.SHARE: _read_share,
    MessageKind.PRESENCE: _read_presence,
    MessageKind.REQUEST: _read_request,
    MessageKind.ANSWER: _read_answer,
}
