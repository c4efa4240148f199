"""The report header: what a quorum signs. Its struct hash is the identity of the report."""

import msgspec

from attest.encoding.abi_types import Bytes32, Uint32, Uint64, decode_struct, encode_struct
from attest.encoding.typed_data import hash_struct


class ReportHeader(msgspec.Struct, frozen=True, kw_only=True):
    """One round's result, as roots. Solidity holds the same struct in the same order."""

    config_digest: Bytes32
    round: Uint64
    parent: Bytes32
    """Report hash of the parent; zero for the first report."""
    state_root: Bytes32
    observed_at: Uint64
    """Median of the operators' clocks, Unix seconds."""
    valid_until: Uint64
    """Unix seconds; the last second at which the report may be used."""
    pins_root: Bytes32
    market_root: Bytes32
    arrays_root: Bytes32
    parameters_hash: Bytes32
    model_version: Uint32
    accounts_root: Bytes32
    """Merkle root of the account leaves; zero where there is none."""
    feeds_root: Bytes32
    """Merkle root of the feed leaves; zero where there is none."""
    account_count: Uint32
    feed_count: Uint32
    coverage_ppm: Uint32
    """Share of (account, venue) reads that succeeded, in parts per million."""
    breaker_flags: Uint32


def report_hash(header: ReportHeader) -> bytes:
    """Return the identity of a report: EIP-712's struct hash of its header, 32 bytes.

    Raises:
        InvalidData: a field is outside its type.
    """
    return hash_struct(header)


def encode_header(header: ReportHeader) -> bytes:
    """Return Solidity's ``abi.encode(header)``: 17 words, 544 bytes.

    Raises:
        InvalidData: a field is outside its type.
    """
    return encode_struct(header)


def decode_header(data: bytes) -> ReportHeader:
    """Read the 544 bytes of a header; nothing but the canonical encoding is accepted.

    Raises:
        InvalidData: wrong length or a word outside its type.
    """
    return decode_struct(data, ReportHeader)
