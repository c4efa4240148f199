"""The guard's export and import, in the manner of EIP-3076: marks travel with a key to another machine."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from riskschema.codec import decode_json, encode_json
from riskschema.errors import InvalidData
from riskschema.units import Address, Hash32


class Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The highest round that a key signed, or may have signed, under one config digest."""

    config_digest: Hash32
    round: Annotated[int, Meta(ge=0, le=2**53)]
    report_hash: Hash32 | None
    """What was signed for the round; null: unknown, sign nothing for it."""
    parent_round: Annotated[int, Meta(ge=0, le=2**53)] = 0
    """Of the parent of that report: no later one may build on a lower round. Absent in version 1."""


class Interchange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All marks of one key."""

    format: Literal["plimsoll-guard"]
    version: Literal[1, 2]
    address: Address
    marks: Annotated[tuple[Mark, ...], Meta(max_length=10_000)]


def encode_marks(address: Address, marks: Sequence[Mark]) -> bytes:
    """Return the JSON document."""
    return encode_json(Interchange(format="plimsoll-guard", version=2, address=address, marks=tuple(marks)))


def decode_marks(document: bytes, address: Address) -> tuple[Mark, ...]:
    """Read the JSON document.

    Raises:
        InvalidData: it does not parse, or belongs to another key than `address`.
    """
    interchange = decode_json(document, Interchange, what="guard export")
    if interchange.address != address:
        raise InvalidData(
            f"guard export: of key {interchange.address}, but this guard is of {address}", code="invalid_document"
        )
    return interchange.marks
