"""Leaves of the accounts tree and of the feeds tree.

A leaf's words begin with the type hash of its kind, so an account leaf can never be shown as a feed leaf. The leaf
hash is keccak(keccak(words)), as in OpenZeppelin's StandardMerkleTree: hashed twice, a leaf (a 32-byte preimage) can
never be shown as an inner node (a 64-byte preimage).
"""

import msgspec

from attest.encoding.abi_types import (
    Bytes32,
    Int128,
    Int256,
    Uint16,
    Uint32,
    Uint64,
    Uint128,
    decode_struct,
    encode_struct,
)
from attest.encoding.keccak import keccak256
from attest.encoding.typed_data import type_hash
from riskschema.assessment import MAX_SCORE
from riskschema.errors import InvalidData
from riskschema.units import Address

NO_DEBT = 2**128 - 1
"""`AccountLeaf.min_health` of a subject that owes nothing anywhere."""


class AccountLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """One subject's assessment. Amounts are US dollars with 8 decimals."""

    subject: Bytes32
    """An address padded on the left with zeros, or the id of linked addresses."""
    score: Uint16
    """0 (safest) to 1000."""
    liquidation_probability_ppm: Uint32
    insolvency_probability_ppm: Uint32
    expected_loss: Uint128
    equity: Int128
    initial_margin: Uint128
    maintenance_margin: Uint128
    worst_grid_loss: Uint128
    min_health: Uint128
    """The lowest health of any silo, 18 decimals; `NO_DEBT` where nothing is owed; 0: unknown, a venue was not read."""
    venue_coverage: Uint64
    """Bit i is set where the committee's venue i was read."""
    flags: Uint32
    positions_commitment: Bytes32


class FeedLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of one market. What it was before, and the update's id, are the contract's to know."""

    market: Bytes32
    parameter: Bytes32
    value: Int256
    confidence: Uint128
    impact: Int256


Leaf = AccountLeaf | FeedLeaf


def subject_of(address: Address) -> bytes:
    """Return the subject that stands for one plain address: 12 zero bytes and the address."""
    return address.to_bytes().rjust(32, b"\0")


def encode_leaf(leaf: Leaf) -> bytes:
    """Return the type hash of the leaf's kind and its words: ``abi.encode(TYPEHASH, leaf)``.

    Raises:
        InvalidData: a field is outside its type, or a score above 1000.
    """
    if isinstance(leaf, AccountLeaf) and leaf.score > MAX_SCORE:
        raise InvalidData(f"AccountLeaf.score: {leaf.score} is above {MAX_SCORE}", code="malformed")
    return type_hash(type(leaf)) + encode_struct(leaf)


def decode_leaf(data: bytes) -> Leaf:
    """Read what `encode_leaf` wrote; the kind is told by the first word.

    Raises:
        InvalidData: unknown kind, wrong length, or a word outside its type.
    """
    kinds: dict[bytes, type[Leaf]] = {type_hash(AccountLeaf): AccountLeaf, type_hash(FeedLeaf): FeedLeaf}
    kind = kinds.get(bytes(data[:32]))
    if kind is None:
        raise InvalidData(f"unknown kind of leaf: 0x{data[:32].hex()}", code="malformed")
    leaf = decode_struct(data[32:], kind)
    encode_leaf(leaf)
    return leaf


def leaf_hash(leaf: Leaf) -> bytes:
    """Return keccak(keccak(`encode_leaf`)), the leaf's place in the Merkle tree.

    Raises:
        InvalidData: a field is outside its type.
    """
    return keccak256(keccak256(encode_leaf(leaf)))
