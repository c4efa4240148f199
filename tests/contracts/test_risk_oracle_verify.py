"""What RiskOracle.verifyAccount and verifyFeed answer and refuse, on a real chain."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from attest.encoding.keccak import keccak256
from attest.encoding.merkle import hash_pair
from attest.formats.leaf import AccountLeaf, FeedLeaf, encode_leaf, leaf_hash
from contracts.calls import encode_call

pytestmark = pytest.mark.chain

Refuses = Callable[..., Any]
Leaves = tuple[AccountLeaf, ...]
START = 1_800_000_000


def test_a_published_leaf_verifies(oracle: Any, account_leaf: AccountLeaf, other_leaves: Leaves) -> None:
    proofs = oracle.publish_leaves(1, account_leaf, *other_leaves)
    for leaf, proof in proofs.items():
        assert oracle.verify_account(1, leaf, proof) == START + 1


def test_a_report_of_one_account_has_an_empty_proof(oracle: Any, account_leaf: AccountLeaf) -> None:
    proofs = oracle.publish_leaves(1, account_leaf)
    assert proofs[account_leaf] == ()
    assert oracle.verify_account(1, account_leaf, ()) == START + 1


def test_a_published_feed_verifies(oracle: Any, feed_leaf: FeedLeaf) -> None:
    other = msgspec.structs.replace(feed_leaf, market=keccak256(b"WBTC"))
    proofs = oracle.publish_leaves(1, feed_leaf, other)
    assert oracle.verify_feed(1, feed_leaf, proofs[feed_leaf]) == START + 1


@pytest.mark.parametrize("field", AccountLeaf.__struct_fields__)
def test_a_leaf_forged_in_any_field_is_refused(
    oracle: Any, refuses: Refuses, account_leaf: AccountLeaf, other_leaves: Leaves, field: str
) -> None:
    proof = oracle.publish_leaves(1, account_leaf, *other_leaves)[account_leaf]
    value = getattr(account_leaf, field)
    forged = keccak256(value) if isinstance(value, bytes) else value + 1
    with refuses("ProofInvalid"):
        oracle.verify_account(1, msgspec.structs.replace(account_leaf, **{field: forged}), proof)


@pytest.mark.parametrize("field", FeedLeaf.__struct_fields__)
def test_a_feed_forged_in_any_field_is_refused(oracle: Any, refuses: Refuses, feed_leaf: FeedLeaf, field: str) -> None:
    proof = oracle.publish_leaves(1, feed_leaf)[feed_leaf]
    value = getattr(feed_leaf, field)
    forged = keccak256(value) if isinstance(value, bytes) else value + 1
    with refuses("ProofInvalid"):
        oracle.verify_feed(1, msgspec.structs.replace(feed_leaf, **{field: forged}), proof)


def test_a_wrong_proof_is_refused(
    oracle: Any, refuses: Refuses, account_leaf: AccountLeaf, other_leaves: Leaves
) -> None:
    proofs = oracle.publish_leaves(1, account_leaf, *other_leaves)
    proof = proofs[account_leaf]
    for wrong in (proof[1:], proof[:-1], (*proof, proof[0]), proof[::-1], proofs[other_leaves[0]], ()):
        with refuses("ProofInvalid"):
            oracle.verify_account(1, account_leaf, wrong)


def test_an_account_is_not_found_in_the_feeds_tree(
    oracle: Any, refuses: Refuses, account_leaf: AccountLeaf, feed_leaf: FeedLeaf
) -> None:
    root = leaf_hash(account_leaf)
    oracle.publish(oracle.certify(oracle.header(1, feeds_root=root)))
    with refuses("ProofInvalid"):
        oracle.verify_account(1, account_leaf, ())
    with refuses("ProofInvalid"):
        oracle.verify_feed(1, feed_leaf, ())


def test_an_inner_node_is_no_leaf(
    oracle: Any, refuses: Refuses, account_leaf: AccountLeaf, other_leaves: Leaves
) -> None:
    """A root that hashes the leaf only once, as an attacker would need, verifies nothing."""
    once = keccak256(encode_leaf(account_leaf))
    root = hash_pair(once, leaf_hash(other_leaves[0]))
    oracle.publish(oracle.certify(oracle.header(1, accounts_root=root)))
    with refuses("ProofInvalid"):
        oracle.verify_account(1, account_leaf, (leaf_hash(other_leaves[0]),))


def test_nothing_verifies_against_a_report_without_accounts(
    oracle: Any, refuses: Refuses, account_leaf: AccountLeaf
) -> None:
    oracle.publish(oracle.certify(oracle.header(1)))
    with refuses("ProofInvalid"):
        oracle.verify_account(1, account_leaf, ())


def test_values_outside_their_type_are_refused(oracle: Any, account_leaf: AccountLeaf) -> None:
    proof = oracle.publish_leaves(1, account_leaf)[account_leaf]
    call = bytearray(encode_call("RiskOracle", "verifyAccount", 1, account_leaf, proof, 3600, 0))
    score = 4 + 32 * 2
    call[score + 29] = 1
    with pytest.raises(Exception, match="Unknown"):
        oracle.chain.call(oracle.contracts.oracle, bytes(call))


def test_an_unknown_round_is_refused(oracle: Any, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    with refuses("UnknownRound", 1):
        oracle.verify_account(1, account_leaf, ())
    oracle.publish_leaves(5, account_leaf)
    oracle.publish_leaves(9, account_leaf)
    for never_landed in (0, 4, 6, 8, 10):
        with refuses("UnknownRound", never_landed):
            oracle.verify_account(never_landed, account_leaf, ())


def test_a_stale_leaf_is_refused(oracle: Any, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    oracle.publish_leaves(1, account_leaf)
    oracle.chain.anvil.mine_at(START + 61)
    assert oracle.verify_account(1, account_leaf, (), max_age=60) == START + 1
    with refuses("TooOld", START + 1, 59):
        oracle.verify_account(1, account_leaf, (), max_age=59)


def test_a_stale_feed_is_refused(oracle: Any, refuses: Refuses, feed_leaf: FeedLeaf) -> None:
    oracle.publish_leaves(1, feed_leaf)
    oracle.chain.anvil.mine_at(START + 61)
    with refuses("TooOld", START + 1, 59):
        oracle.verify_feed(1, feed_leaf, (), max_age=59)


def test_the_largest_age_does_not_overflow(oracle: Any, account_leaf: AccountLeaf) -> None:
    oracle.publish_leaves(1, account_leaf)
    assert oracle.verify_account(1, account_leaf, (), max_age=2**64 - 1) == START + 1


def test_an_observation_ahead_of_the_chain_has_age_zero(oracle: Any, account_leaf: AccountLeaf) -> None:
    header = oracle.header(20, accounts_root=leaf_hash(account_leaf))
    oracle.publish(oracle.certify(header), at=header.observed_at - 10)
    assert oracle.verify_account(20, account_leaf, (), max_age=0) == header.observed_at


def test_a_report_past_its_life_is_refused(oracle: Any, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    oracle.publish_leaves(1, account_leaf)
    oracle.chain.anvil.mine_at(START + 601)
    assert oracle.verify_account(1, account_leaf, ()) == START + 1
    oracle.chain.anvil.mine_at(START + 602)
    with refuses("Expired", 1, START + 601):
        oracle.verify_account(1, account_leaf, ())


def test_required_venues_must_have_been_read(oracle: Any, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    oracle.publish_leaves(1, account_leaf)
    for covered in (0, 0b1, 0b1010, 0b1011):
        oracle.verify_account(1, account_leaf, (), coverage=covered)
    with refuses("CoverageMissing", 0b100):
        oracle.verify_account(1, account_leaf, (), coverage=0b1111)
    with refuses("CoverageMissing", 1 << 63):
        oracle.verify_account(1, account_leaf, (), coverage=1 << 63)


def test_a_proof_outlives_the_next_round(oracle: Any, account_leaf: AccountLeaf, other_leaves: Leaves) -> None:
    proof = oracle.publish_leaves(1, account_leaf, *other_leaves)[account_leaf]
    oracle.publish_leaves(2, *other_leaves)
    assert oracle.verify_account(1, account_leaf, proof) == START + 1


def test_a_round_leaves_the_ring_after_as_many_as_it_holds(
    deploy_committee: Callable[..., Any], refuses: Refuses, account_leaf: AccountLeaf
) -> None:
    oracle = deploy_committee(1, ring_size=5)
    rounds = [3, 4, 8, 16, 21, 22, 40, 41, 47, 48, 53]
    for count, latest in enumerate(rounds, start=1):
        oracle.publish_leaves(latest, account_leaf)
        kept = rounds[max(0, count - 5) : count]
        for each in kept:
            assert oracle.verify_account(each, account_leaf, ()) == START + each
        for gone in set(range(55)) - set(kept):
            with refuses("UnknownRound", gone):
                oracle.verify_account(gone, account_leaf, ())


def test_the_recent_report_shows_the_published_roots(oracle: Any, account_leaf: AccountLeaf) -> None:
    oracle.publish_leaves(7, account_leaf)
    assert oracle.read("recentReport", 7) == ((7, START + 7, START + 607, leaf_hash(account_leaf), bytes(32)),)
