"""The envelope of a peer message: committee, round, sender, kind, body, and an Ed25519 signature over all of it.

Checks run from cheap to dear: size, shape, committee, round and sender before the signature, the body last.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from attest.encoding.canonical_bytes import ByteReader, ByteWriter
from attest.encoding.keccak import keccak256
from attest.formats.committee import Committee
from attest.keys.identity import SIGNATURE_BYTES, verify_identity
from attest.wire.message_format import decode_body, encode_body, kind_of
from attest.wire.messages import MAX_BYTES, ROUND_KINDS, Body, MessageKind
from riskschema.errors import InvalidData, ProtocolViolation

VERSION = 1
DOMAIN = keccak256(b"plimsoll peer message")
"""First bytes of every signed preimage: an identity signature means nothing anywhere else."""


class Network(Protocol):
    """Whose messages are let in (`attest.agreement.rules.AgreementRules`)."""

    @property
    def config_digest(self) -> bytes:
        """The committee's."""
        ...

    @property
    def committee(self) -> Committee:
        """Its operators, by index."""
        ...


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it travels, not yet trusted."""

    kind: MessageKind
    config_digest: bytes
    round: int
    sender: int
    """Index of the operator in the committee."""
    body: bytes
    signature: bytes
    payload: bytes
    """The whole message."""

    @property
    def digest(self) -> bytes:
        """The 32 bytes that the sender signed: the identity of what was said."""
        return _digest(self.payload[:-SIGNATURE_BYTES])


def seal(body: Body, *, config_digest: bytes, round_number: int, sender: int, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the whole message.

    Args:
        body: What to say.
        config_digest: The committee's.
        round_number: The round it is about.
        sender: The operator's index.
        sign: Ed25519 over 32 bytes (`IdentityKey.sign`).

    Raises:
        InvalidData: the body cannot be encoded, or is larger than its kind may be.
    """
    kind = kind_of(body)
    writer = ByteWriter()
    writer.uint(VERSION, 1)
    writer.uint(kind, 1)
    writer.fixed(config_digest, 32)
    writer.uint(round_number, 8)
    writer.uint(sender, 1)
    writer.blob(encode_body(body))
    unsigned = writer.finish()
    payload = unsigned + sign(_digest(unsigned))
    if len(payload) > MAX_BYTES[kind]:
        raise InvalidData(f"{kind.name.lower()} of {len(payload)} bytes, at most {MAX_BYTES[kind]}", code="malformed")
    return payload


def read_envelope(payload: bytes) -> Envelope:
    """Read the envelope, checking size and shape only.

    Raises:
        ProtocolViolation: (``malformed``) too large, or no envelope.
    """
    try:
        kind = MessageKind(payload[1]) if len(payload) > 1 else None
        if kind is None or len(payload) > MAX_BYTES[kind]:
            raise _violation(f"a message of {len(payload)} bytes", "malformed")
        reader = ByteReader(payload, what="envelope")
        if reader.uint(1) != VERSION:
            raise _violation(f"unknown version {payload[0]}", "malformed")
        reader.uint(1)
        envelope = Envelope(
            kind=kind,
            config_digest=reader.fixed(32),
            round=reader.uint(8),
            sender=reader.uint(1),
            body=reader.blob(),
            signature=reader.fixed(SIGNATURE_BYTES),
            payload=bytes(payload),
        )
        reader.finish()
    except (InvalidData, ValueError) as error:
        raise _violation(str(error), "malformed") from error
    return envelope


def check_scope(envelope: Envelope, network: Network, *, first_round: int, last_round: int) -> None:
    """Check that a message belongs to this committee and to a round that is open.

    Raises:
        ProtocolViolation: (``foreign``) another committee or no operator of it; (``stale``) a round outside
            [`first_round`, `last_round`].
    """
    if envelope.config_digest != network.config_digest:
        raise _violation(f"a message of configuration 0x{envelope.config_digest.hex()}", "foreign")
    if envelope.sender >= len(network.committee.operators):
        raise _violation(f"operator {envelope.sender} of {len(network.committee.operators)}", "foreign")
    if not first_round <= envelope.round <= last_round:
        raise _violation(f"round {envelope.round}, open are {first_round} to {last_round}", "stale")


def check_signature(envelope: Envelope, network: Network) -> None:
    """Check that the sender said it.

    Raises:
        ProtocolViolation: (``forged``) the signature is not the sender's.
    """
    identity = network.committee.operators[envelope.sender].identity
    if not verify_identity(identity, envelope.digest, envelope.signature):
        raise _violation(f"not signed by operator {envelope.sender}", "forged")


def open_message(payload: bytes, network: Network, *, current: int) -> Envelope:
    """Return the envelope of a request, an answer or a presence of these slots, its signature checked.

    Raises:
        ProtocolViolation: malformed, foreign, stale or forged, or a message of a round, which the round machine takes.
    """
    envelope = read_envelope(payload)
    if envelope.kind in ROUND_KINDS:
        raise ProtocolViolation("message refused: one of a round", code="malformed")
    check_scope(envelope, network, first_round=max(current - 1, 0), last_round=current + 1)
    check_signature(envelope, network)
    return envelope


def open_body(envelope: Envelope) -> Body:
    """Read the body.

    Raises:
        ProtocolViolation: (``malformed``) any bytes but the canonical ones.
    """
    try:
        return decode_body(envelope.kind, envelope.body)
    except (InvalidData, ValueError) as error:
        raise _violation(f"operator {envelope.sender}: {error}", "malformed") from error


def _digest(unsigned: bytes) -> bytes:
    return keccak256(DOMAIN + unsigned)


def _violation(reason: str, code: str) -> ProtocolViolation:
    return ProtocolViolation(f"message refused: {reason}", code=code)
