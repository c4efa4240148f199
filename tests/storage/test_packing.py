"""Packed accounts come back byte for byte, from chunks that stay small whatever an account holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from attest.encoding.merkle import build_tree, prove
from storage.packing import (
    ACCOUNTS_PER_CHUNK,
    CHUNK_BYTES,
    AccountRow,
    chunk_proofs,
    chunk_subjects,
    pack_accounts,
    unpack_values,
    with_subject,
)
from storage.proofs import HASH_BYTES, pack_proofs, proof_from, unpack_nodes


def unpacked(rows: list[AccountRow]) -> list[AccountRow]:
    chunks, packed_nodes = pack_accounts(rows)
    nodes = unpack_nodes(packed_nodes)
    return [
        AccountRow(
            subject=subject,
            leaf=with_subject(leaf, subject) or b"",
            proof=proof_from(nodes, proof),
            assessment=with_subject(assessment, subject) or b"",
            portfolio=with_subject(portfolio, subject),
        )
        for chunk in chunks
        for subject, proof, leaf, assessment, portfolio in zip(
            chunk_subjects(chunk.subjects),
            chunk_proofs(chunk.proofs),
            unpack_values(chunk.leaves),
            unpack_values(chunk.assessments),
            unpack_values(chunk.portfolios),
            strict=True,
        )
    ]


hashes = st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES)
account_rows = st.builds(
    AccountRow,
    subject=st.binary(min_size=20, max_size=20),
    leaf=st.binary(max_size=40),
    proof=st.lists(hashes, max_size=5).map(b"".join),
    assessment=st.binary(max_size=200),
    portfolio=st.none() | st.binary(max_size=200),
)


@given(st.lists(account_rows, max_size=150, unique_by=lambda row: row.subject))
def test_any_accounts_come_back_by_subject(rows: list[AccountRow]) -> None:
    assert unpacked(rows) == sorted(rows, key=lambda row: row.subject)


@given(st.binary(min_size=20, max_size=20), st.lists(st.sampled_from(["text é", "\0", "0x", "address"])))
def test_texts_about_the_account_itself_come_back(subject: bytes, words: list[str]) -> None:
    text = "".join("0x" + subject.hex() if word == "address" else word for word in words).encode()
    kept = AccountRow(subject=subject, leaf=b"", proof=b"", assessment=text, portfolio=b"\xff" + text)
    assert unpacked([kept]) == [kept]


@given(st.lists(hashes, min_size=1, max_size=70, unique=True))
def test_the_proofs_of_a_tree_come_back_and_need_two_nodes_per_leaf(leaves: list[bytes]) -> None:
    tree = build_tree(leaves)
    proofs = [b"".join(prove(tree, leaf)) for leaf in leaves]
    begins, packed = pack_proofs(proofs)
    nodes = unpack_nodes(packed)
    assert [proof_from(nodes, begin) for begin in begins] == proofs
    assert len(nodes.before) == 2 * len(leaves) - 2


def row(number: int, size: int) -> AccountRow:
    subject = number.to_bytes(20, "big")
    return AccountRow(subject=subject, leaf=b"", proof=b"", assessment=b"a" * size, portfolio=b"p" * size)


def test_a_chunk_ends_where_its_accounts_or_their_bytes_are_too_many() -> None:
    small, _ = pack_accounts([row(number, 10) for number in range(ACCOUNTS_PER_CHUNK + 1)])
    assert [len(chunk_subjects(chunk.subjects)) for chunk in small] == [ACCOUNTS_PER_CHUNK, 1]
    large, _ = pack_accounts([row(number, CHUNK_BYTES // 4) for number in range(5)])
    assert [len(chunk_subjects(chunk.subjects)) for chunk in large] == [2, 2, 1]
    giants, _ = pack_accounts([row(number, CHUNK_BYTES) for number in range(3)])
    assert [len(chunk_subjects(chunk.subjects)) for chunk in giants] == [1, 1, 1]
