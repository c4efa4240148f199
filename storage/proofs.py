"""The Merkle proofs of a round with every hash kept once.

A proof names the siblings from a leaf to the root. Read from the root, the proofs of a round are the branches of one
tree: two accounts below the same node have the same siblings from there on. So n accounts need about 2n nodes (a hash
and the node before it) where their proofs name n·log2(n) hashes. Nothing here computes a hash.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise

import msgspec

HASH_BYTES = 32
ROOT = 0
"""The number before the first node; the empty proof ends here."""
_COUNT = struct.Struct("<I")


class ProofNodes(msgspec.Struct, frozen=True):
    """The nodes of a round's proofs, numbered from 1."""

    hashes: bytes
    """32 bytes each."""
    before: Sequence[int]
    """Of each node, the number of the next one on the way to the root."""


def pack_proofs(proofs: Sequence[bytes]) -> tuple[list[int], bytes]:
    """Return where each proof begins, as the number of its first node, and the packed nodes.

    Args:
        proofs: Hashes from the leaf's sibling on, joined.
    """
    ends = [ROOT] * len(proofs)
    nodes: list[tuple[int, bytes]] = []
    for level in range(1, max(map(len, proofs), default=0) // HASH_BYTES + 1):
        first = -level * HASH_BYTES
        reached = {
            index: (ends[index], proof[first : first + HASH_BYTES or None])
            for index, proof in enumerate(proofs)
            if len(proof) >= level * HASH_BYTES
        }
        added = sorted(set(reached.values()))
        numbers = {node: number for number, node in enumerate(added, start=len(nodes) + 1)}
        nodes += added
        for index, node in reached.items():
            ends[index] = numbers[node]
    # Level by level and sorted, the numbers never fall, and rise by one at most every second node: they all but vanish.
    steps = [later - earlier for earlier, later in pairwise([0, *(before for before, _ in nodes)])]
    packed_steps = zlib.compress(struct.pack(f"<{len(nodes)}I", *steps))
    return ends, _COUNT.pack(len(nodes)) + b"".join(hashed for _, hashed in nodes) + packed_steps


def unpack_nodes(packed: bytes) -> ProofNodes:
    """Read what `pack_proofs` packed.

    Raises:
        struct.error: damaged bytes.
        zlib.error: likewise.
    """
    (count,) = _COUNT.unpack_from(packed)
    end = _COUNT.size + count * HASH_BYTES
    steps = struct.unpack(f"<{count}I", zlib.decompress(packed[end:]))
    return ProofNodes(packed[_COUNT.size : end], tuple(accumulate(steps)))


def proof_from(nodes: ProofNodes, number: int) -> bytes:
    """Return the proof that begins at a node: its hashes, joined.

    Raises:
        IndexError: there is no such node.
    """
    hashes = []
    while number != ROOT:
        hashes.append(nodes.hashes[(number - 1) * HASH_BYTES : number * HASH_BYTES])
        number = nodes.before[number - 1]
    return b"".join(hashes)
