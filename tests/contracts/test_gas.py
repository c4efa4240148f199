"""Gas of the two calls that matter, within the limits the design promises."""

from typing import Any

import msgspec
import pytest

from attest.encoding.keccak import keccak256
from attest.encoding.merkle import build_tree, prove
from attest.formats.leaf import AccountLeaf, leaf_hash
from contracts.calls import verify_account_call

pytestmark = pytest.mark.chain

PUBLISH_LIMIT = 95_000
VERIFY_LIMIT = 30_000
RING = 16


def _leaves(typical: AccountLeaf) -> list[AccountLeaf]:
    return [
        msgspec.structs.replace(typical, subject=keccak256(index.to_bytes(2, "big")), score=index % 1001)
        for index in range(1024)
    ]


def _steady_state(oracle: Any, root: bytes) -> int:
    """Publish until every slot of the ring has been written twice; return the last receipt's gas."""
    gas = 0
    for number in range(350_000_001, 350_000_001 + 2 * RING):
        header = oracle.header(number - 350_000_000, accounts_root=root, feeds_root=keccak256(b"feeds"))
        header = msgspec.structs.replace(header, round=number, state_root=keccak256(number.to_bytes(8, "big")))
        gas = int(oracle.publish(oracle.certify(header))["gasUsed"], 16)
    return gas


def test_publishing_at_five_of_seven_and_proving_at_depth_ten_stay_within_their_limits(
    oracle: Any, account_leaf: AccountLeaf
) -> None:
    leaves = _leaves(account_leaf)
    tree = build_tree([leaf_hash(leaf) for leaf in leaves])
    assert _steady_state(oracle, tree.root) <= PUBLISH_LIMIT

    proof = prove(tree, leaf_hash(leaves[0]))
    assert len(proof) == 10
    for number in range(350_000_001 + RING, 350_000_001 + 2 * RING):
        call = verify_account_call(round_number=number, leaf=leaves[0], proof=proof, max_age=3600, min_coverage=0b1011)
        assert _execution_gas(oracle, call) <= VERIFY_LIMIT


def _execution_gas(oracle: Any, call: bytes) -> int:
    """Gas of a transaction that calls the view, less what any transaction with this calldata costs."""
    receipt = oracle.chain.send(oracle.contracts.oracle, call)
    return int(receipt["gasUsed"], 16) - 21_000 - sum(16 if byte else 4 for byte in call)
