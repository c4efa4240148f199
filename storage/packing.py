"""The accounts of a round in chunks: what many accounts have in common is kept once per chunk.

Assessments and portfolios of a round are alike but for their digits. Deflate over the plain JSON of 64 accounts finds
that by itself: about a seventh of the bytes remain, whatever the fields are called. A chunk is small enough to be
opened for one account.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from storage.proofs import pack_proofs

ACCOUNTS_PER_CHUNK = 64
CHUNK_BYTES = 512 * 1024
"""Of assessments and portfolios before packing: an account with hundreds of positions makes its chunk smaller."""
ADDRESS_BYTES = 20
LEVEL = 6
SUBJECT = b"\0"
"""Stands for the account's own address in a text; JSON writes this character as an escape."""
_VALUES = msgspec.msgpack.Decoder(list[Any])

Value = bytes | str | None
"""As an account has it, or a text in which its address is replaced."""


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """One account in bytes, as chunks take it."""

    subject: bytes
    """20 bytes."""
    leaf: bytes
    proof: bytes
    """Hashes, joined."""
    assessment: bytes
    portfolio: bytes | None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive accounts of a round by subject; every field has one entry per account."""

    subjects: bytes
    """20 bytes each, ascending."""
    proofs: bytes
    """Number of each proof's first node (`storage.proofs`), 4 bytes each, little endian."""
    leaves: bytes
    assessments: bytes
    portfolios: bytes


def pack_accounts(accounts: Sequence[AccountRow]) -> tuple[list[Chunk], bytes]:
    """Return the chunks of a round by subject, and the nodes of its proofs.

    Args:
        accounts: In any order.

    Raises:
        ValueError: two accounts of one subject.
    """
    ordered = sorted(accounts, key=lambda account: account.subject)
    if len({account.subject for account in ordered}) != len(ordered):
        raise ValueError("two accounts of one subject in a report")
    ends, nodes = pack_proofs([account.proof for account in ordered])
    begins = iter(ends)
    return [_chunk(part, list(islice(begins, len(part)))) for part in _parts(ordered)], nodes


def pack_values(values: Sequence[Value]) -> bytes:
    """Return one entry per account as bytes that `unpack_values` reads."""
    return zlib.compress(msgspec.msgpack.encode(values), LEVEL)


def unpack_values(packed: bytes) -> list[Value]:
    """Return the entries of a chunk; `with_subject` makes an account's own value of one.

    Raises:
        zlib.error: damaged bytes.
        msgspec.DecodeError: likewise.
    """
    return _VALUES.decode(zlib.decompress(packed))


def with_subject(value: Value, subject: bytes) -> bytes | None:
    """Return an entry as the account had it."""
    return value.encode().replace(SUBJECT, _written(subject)) if isinstance(value, str) else value


def without_subject(value: bytes | None, subject: bytes) -> Value:
    """Replace the account's address in a text: nothing deflates twenty random bytes.

    What holds the replacement already, or is no text, stays as it is.
    """
    if value is None or SUBJECT in value:
        return value
    try:
        return value.replace(_written(subject), SUBJECT).decode()
    except UnicodeDecodeError:
        return value


def _written(subject: bytes) -> bytes:
    return b"0x" + subject.hex().encode()


def chunk_subjects(packed: bytes) -> list[bytes]:
    """Return the subjects of a chunk."""
    return [packed[start : start + ADDRESS_BYTES] for start in range(0, len(packed), ADDRESS_BYTES)]


def chunk_proofs(packed: bytes) -> tuple[int, ...]:
    """Return where the proofs of a chunk begin.

    Raises:
        struct.error: damaged bytes.
    """
    return struct.unpack(f"<{len(packed) // 4}I", packed)


def _chunk(accounts: Sequence[AccountRow], proofs: Sequence[int]) -> Chunk:
    return Chunk(
        subjects=b"".join(account.subject for account in accounts),
        proofs=struct.pack(f"<{len(proofs)}I", *proofs),
        leaves=pack_values([account.leaf for account in accounts]),
        assessments=pack_values([without_subject(account.assessment, account.subject) for account in accounts]),
        portfolios=pack_values([without_subject(account.portfolio, account.subject) for account in accounts]),
    )


def _parts(accounts: Sequence[AccountRow]) -> Iterator[Sequence[AccountRow]]:
    part: list[AccountRow] = []
    size = 0
    for account in accounts:
        size += len(account.assessment) + len(account.portfolio or b"")
        if part and (len(part) == ACCOUNTS_PER_CHUNK or size > CHUNK_BYTES):
            yield part
            part, size = [], len(account.assessment) + len(account.portfolio or b"")
        part.append(account)
    if part:
        yield part
