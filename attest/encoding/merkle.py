"""Merkle trees laid out as OpenZeppelin's StandardMerkleTree: sorted leaves, nodes hash their sorted children.

The tree of n leaves is an array of 2n - 1 hashes: the root first, the children of i at 2i + 1 and 2i + 2, the leaves
at the end in descending order. Proofs check with OpenZeppelin's ``MerkleProof``.
"""

from collections.abc import Sequence

import msgspec

from attest.encoding.abi_types import WORD
from attest.encoding.keccak import keccak256
from riskschema.errors import InvalidData

EMPTY_ROOT = bytes(32)
"""The root of no leaves. No proof leads to it."""

MAX_PROOF_LENGTH = 64


class MerkleTree(msgspec.Struct, frozen=True):
    """All hashes of a tree, root first."""

    nodes: tuple[bytes, ...]
    positions: dict[bytes, int]
    """Index in `nodes` of each leaf hash."""

    @property
    def root(self) -> bytes:
        """The root: `EMPTY_ROOT` for a tree without leaves."""
        return self.nodes[0] if self.nodes else EMPTY_ROOT


def build_tree(leaf_hashes: Sequence[bytes]) -> MerkleTree:
    """Return the tree over leaf hashes given in any order."""
    count = len(leaf_hashes)
    nodes = [b""] * max(count - 1, 0) + sorted(leaf_hashes, reverse=True)
    for index in range(count - 2, -1, -1):
        nodes[index] = hash_pair(nodes[2 * index + 1], nodes[2 * index + 2])
    positions = {nodes[index]: index for index in range(max(count - 1, 0), len(nodes))}
    return MerkleTree(tuple(nodes), positions)


def prove(tree: MerkleTree, leaf_hash: bytes) -> tuple[bytes, ...]:
    """Return the siblings on the way from a leaf to the root.

    Raises:
        InvalidData: the leaf is not in the tree.
    """
    index = tree.positions.get(leaf_hash)
    if index is None:
        raise InvalidData(f"leaf 0x{leaf_hash.hex()} is not in the tree", code="malformed")
    proof = []
    while index:
        proof.append(tree.nodes[index + 1 if index % 2 else index - 1])
        index = (index - 1) // 2
    return tuple(proof)


def verify_proof(leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether `proof` leads from the leaf to the root. Nothing is in the empty tree."""
    if root == EMPTY_ROOT or len(proof) > MAX_PROOF_LENGTH:
        return False
    if any(len(node) != WORD for node in (leaf_hash, *proof)):
        return False  # a sibling of another length would show the parts of a leaf as a node
    node = leaf_hash
    for sibling in proof:
        node = hash_pair(node, sibling)
    return node == root


def hash_pair(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over its two children, in ascending order."""
    return keccak256(left + right if left < right else right + left)
