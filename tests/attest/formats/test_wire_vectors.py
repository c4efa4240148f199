"""The published vectors, produced by other libraries, are reproduced byte for byte."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from attest.encoding.abi_types import word_fields
from attest.encoding.canonical_json import decode_canonical, encode_canonical
from attest.encoding.keccak import keccak256
from attest.encoding.merkle import build_tree, prove, verify_proof
from attest.encoding.typed_data import encode_type, type_hash
from attest.formats.certificate import (
    assemble_certificate,
    decode_certificate,
    decode_certificate_json,
    encode_certificate,
    encode_certificate_json,
    signer_indices,
    verify_certificate,
)
from attest.formats.commitment import CommittedPosition, PositionScope, commit_positions, position_leaf, position_salt
from attest.formats.committee import Committee, config_digest
from attest.formats.eip712 import Destination, encode_destinations, sign_digest, signing_digest
from attest.formats.header import ReportHeader, decode_header, encode_header, report_hash
from attest.formats.leaf import AccountLeaf, FeedLeaf, decode_leaf, encode_leaf, leaf_hash
from riskschema.errors import PlimsollError
from riskschema.units import Address

FOLDER = Path(__file__).parents[2] / "vectors"
KINDS: dict[str, type[msgspec.Struct]] = {"AccountLeaf": AccountLeaf, "FeedLeaf": FeedLeaf}


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def struct(kind: type[msgspec.Struct], shown: dict[str, str]) -> Any:
    return decode_canonical(json.dumps(shown, separators=(",", ":")).encode(), kind, what="vector")


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in load(name)["cases"]]


def test_type_hashes() -> None:
    header = load("header")
    assert encode_type(ReportHeader) == header["type"]
    assert type_hash(ReportHeader) == raw(header["type_hash"])
    assert [encode_type(AccountLeaf), encode_type(FeedLeaf)] == load("leaf")["types"]


@pytest.mark.parametrize("case", cases("header"))
def test_headers(case: dict[str, Any]) -> None:
    header = struct(ReportHeader, case["header"])
    assert encode_header(header) == raw(case["encoding"])
    assert decode_header(raw(case["encoding"])) == header
    assert report_hash(header) == raw(case["report_hash"])


@pytest.mark.parametrize("case", cases("leaf"))
def test_leaves(case: dict[str, Any]) -> None:
    leaf = struct(KINDS[case["kind"]], case["leaf"])
    assert encode_leaf(leaf) == raw(case["encoding"])
    assert decode_leaf(raw(case["encoding"])) == leaf
    assert leaf_hash(leaf) == raw(case["leaf_hash"])


@pytest.mark.parametrize("case", load("merkle")["cases"], ids=lambda case: f"{len(case['leaves'])} leaves")
def test_trees_are_openzeppelins(case: dict[str, Any]) -> None:
    hashes = [leaf_hash(struct(FeedLeaf, leaf)) for leaf in case["leaves"]]
    tree = build_tree(hashes)
    assert tree.nodes == tuple(raw(node) for node in case["nodes"])
    assert tree.root == raw(case["root"])
    for leaf, proof in zip(hashes, case["proofs"], strict=True):
        assert prove(tree, leaf) == tuple(raw(step) for step in proof)
        assert verify_proof(leaf, prove(tree, leaf), tree.root)


def test_positions_commitment() -> None:
    case = load("commitment")
    digest, number, subject = raw(case["config_digest"]), int(case["round"]), raw(case["subject"])
    positions = [struct(CommittedPosition, position) for position in case["positions"]]
    salts = [
        position_salt(PositionScope(config_digest=digest, round=number, subject=subject, index=index))
        for index in range(len(positions))
    ]
    assert salts == [raw(salt) for salt in case["salts"]]
    leaves = [position_leaf(salt, position) for salt, position in zip(salts, positions, strict=True)]
    assert leaves == [raw(leaf) for leaf in case["leaf_hashes"]]
    tree = commit_positions(config_digest=digest, round_number=number, subject=subject, positions=positions)
    assert tree.root == raw(case["root"])


def test_committee() -> None:
    case = load("committee")
    committee = struct(Committee, case["committee"])
    assert config_digest(committee) == raw(case["config_digest"])
    head, *members = (f"{name}({fields})" for name, fields in case["types"].items())
    assert encode_type(Committee) == head + "".join(sorted(members))


def test_certificate() -> None:
    case = load("certificate")
    destinations = [struct(Destination, each) for each in case["destinations"]]
    certificate = decode_certificate(raw(case["encoding"]))
    digest = signing_digest(certificate.header, destinations)
    assert keccak256(encode_destinations(destinations)) == raw(case["salt"])
    assert certificate.report_hash == raw(case["report_hash"])
    assert digest == raw(case["signing_digest"])
    signatures = {index: sign_digest(digest, raw(case["private_keys"][index])) for index in signer_indices(certificate)}
    assert assemble_certificate(certificate.header, signatures) == certificate
    assert encode_certificate(certificate) == raw(case["encoding"])
    assert encode_certificate_json(certificate).decode() == case["json"]
    assert decode_certificate_json(case["json"].encode()) == certificate


def verify(case: dict[str, Any], encoding: bytes) -> None:
    verify_certificate(
        decode_certificate(encoding),
        config_digest=raw(case["config_digest"]),
        operators=[Address(each) for each in case["operators"]],
        destinations=[struct(Destination, each) for each in case["destinations"]],
    )


def test_the_certificate_verifies() -> None:
    case = load("certificate")
    verify(case, raw(case["encoding"]))


@pytest.mark.parametrize("refused", load("certificate")["refused"], ids=lambda refused: refused["name"])
def test_certificates_that_must_be_refused(refused: dict[str, str]) -> None:
    with pytest.raises(PlimsollError) as caught:
        verify(load("certificate"), raw(refused["encoding"]))
    assert caught.value.code == refused["code"]


@pytest.mark.parametrize("kind", [ReportHeader, AccountLeaf, FeedLeaf, CommittedPosition, PositionScope])
def test_every_hashed_field_is_one_word(kind: type[msgspec.Struct]) -> None:
    assert [field for field, _ in word_fields(kind)] == list(kind.__struct_fields__)


def test_canonical_json_of_the_committee_is_stable() -> None:
    shown = load("committee")["committee"]
    committee = struct(Committee, shown)
    assert json.loads(encode_canonical(committee)) == shown
