"""The positions commitment of a leaf: a Merkle root over salted positions.

The salt is recomputable by everyone, so the commitment binds but does not hide: a single position can be shown with a
proof, and anyone who knows the positions can recompute the root.
"""

from collections.abc import Sequence

import msgspec

from attest.encoding.abi_types import Bytes32, Int256, Uint32, Uint64, encode_struct
from attest.encoding.keccak import keccak256
from attest.encoding.merkle import MerkleTree, build_tree


class PositionScope(msgspec.Struct, frozen=True, kw_only=True):
    """Where a committed position belongs; its ABI words are the preimage of the salt."""

    config_digest: Bytes32
    round: Uint64
    subject: Bytes32
    index: Uint32
    """Place of the position in the subject's list."""


class CommittedPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position as committed."""

    position: Bytes32
    """Key of venue, silo and instrument."""
    quantity: Int256


def position_salt(scope: PositionScope) -> bytes:
    """Return keccak of the scope's words: config digest, round, subject, index.

    Raises:
        InvalidData: a field is outside its type.
    """
    return keccak256(encode_struct(scope))


def position_leaf(salt: bytes, position: CommittedPosition) -> bytes:
    """Return keccak(salt ‖ position ‖ quantity), a preimage of three words and so never an inner node.

    Raises:
        InvalidData: a field is outside its type.
    """
    return keccak256(salt + encode_struct(position))


def commit_positions(
    *, config_digest: bytes, round_number: int, subject: bytes, positions: Sequence[CommittedPosition]
) -> MerkleTree:
    """Return the tree whose root is the leaf's ``positions_commitment``; zero for no positions.

    Args:
        config_digest: The committee's, 32 bytes.
        round_number: The report's round.
        subject: As in the account leaf, 32 bytes.
        positions: In the subject's canonical order.

    Raises:
        InvalidData: a field is outside its type.
    """
    leaves = []
    for index, position in enumerate(positions):
        scope = PositionScope(config_digest=config_digest, round=round_number, subject=subject, index=index)
        leaves.append(position_leaf(position_salt(scope), position))
    return build_tree(leaves)
