"""What holds for all values: one encoding each, and nothing but it is read."""

from typing import Any

import msgspec
import pytest
from eth_abi.abi import encode as abi_encode
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from attest.encoding.abi_types import decode_struct, encode_struct, integer_range, word_fields
from attest.encoding.canonical_json import MAX_DOCUMENT_BYTES, decode_canonical, encode_canonical
from attest.encoding.keccak import keccak256
from attest.encoding.merkle import EMPTY_ROOT, MAX_PROOF_LENGTH, build_tree, hash_pair, prove, verify_proof
from attest.formats.commitment import CommittedPosition, PositionScope, position_leaf, position_salt
from attest.formats.eip712 import CURVE_ORDER, Destination, address_of, encode_destinations, recover_signer, sign_digest
from attest.formats.header import ReportHeader, decode_header, encode_header
from attest.formats.leaf import AccountLeaf, FeedLeaf, decode_leaf, encode_leaf, leaf_hash, subject_of
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.units import Address

HASHES = st.binary(min_size=32, max_size=32)
LEAF_HASHES = HASHES.map(keccak256)


def _values(abi_type: str) -> st.SearchStrategy[Any]:
    if abi_type == "bytes32":
        return HASHES
    if abi_type == "address":
        return st.binary(min_size=20, max_size=20).map(lambda some: Address("0x" + some.hex()))
    lowest, highest = integer_range(abi_type)
    return st.integers(lowest, highest) | st.sampled_from([lowest, highest])


def structs(kind: type[msgspec.Struct], **limits: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{field: limits.get(field, _values(name)) for field, name in word_fields(kind)})


HEADERS = structs(ReportHeader)
LEAVES = structs(AccountLeaf, score=st.integers(0, 1000)) | structs(FeedLeaf)


def plain(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {field: bytes(32) if name == "bytes32" else 1 for field, name in word_fields(kind)}


HEADER = ReportHeader(**plain(ReportHeader))
ACCOUNT = AccountLeaf(**plain(AccountLeaf))


@given(header=HEADERS)
def test_header_bytes_are_what_eth_abi_writes_and_are_read_back(header: ReportHeader) -> None:
    types = [name for _, name in word_fields(ReportHeader)]
    assert encode_header(header) == abi_encode(types, msgspec.structs.astuple(header))
    assert decode_header(encode_header(header)) == header


@given(leaf=LEAVES)
def test_leaves_are_read_back(leaf: AccountLeaf | FeedLeaf) -> None:
    assert decode_leaf(encode_leaf(leaf)) == leaf


@given(data=st.binary(min_size=544, max_size=544))
def test_a_header_has_one_encoding(data: bytes) -> None:
    try:
        header = decode_header(data)
    except InvalidData:
        return
    assert encode_header(header) == data


@given(header=HEADERS)
def test_canonical_json_is_read_back(header: ReportHeader) -> None:
    assert decode_canonical(encode_canonical(header), ReportHeader, what="header") == header


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("round", -1),
        ("round", 2**64),
        ("round", True),
        ("round", 1.0),
        ("round", "1"),
        ("parent", b"short"),
        ("parent", "0x" + "00" * 32),
        ("coverage_ppm", 2**32),
    ],
)
def test_a_field_outside_its_type_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidData, match=f"ReportHeader.{field}"):
        encode_header(msgspec.structs.replace(HEADER, **{field: value}))


def test_a_score_above_a_thousand_has_no_encoding() -> None:
    leaf = msgspec.structs.replace(ACCOUNT, score=1001)
    with pytest.raises(InvalidData, match="score"):
        encode_leaf(leaf)
    with pytest.raises(InvalidData, match="score"):
        decode_leaf(encode_leaf(ACCOUNT)[:32] + encode_struct(leaf))


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(480), keccak256(b"another kind") + bytes(416)])
def test_a_leaf_of_no_known_kind_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidData, match="unknown kind of leaf"):
        decode_leaf(data)


def test_an_account_leaf_is_no_feed_leaf() -> None:
    account = encode_leaf(ACCOUNT)
    with pytest.raises(InvalidData):
        decode_struct(account[32:], FeedLeaf)
    assert (
        account[:32]
        != encode_leaf(FeedLeaf(market=b"\0" * 32, parameter=b"\0" * 32, value=0, confidence=0, impact=0))[:32]
    )


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        encode_canonical(HEADER) + b" ",
        encode_canonical(HEADER).replace(b'"round":"1"', b'"round":1'),
        encode_canonical(HEADER).replace(b'"round":"1"', b'"round":"01"'),
        encode_canonical(HEADER).replace(b'"round":"1"', b'"round":"1_0"'),
        encode_canonical(HEADER).replace(b'"round":"1"', b'"round":"one"'),
        encode_canonical(HEADER).replace(b'"round":"1"', b'"round":"' + b"9" * 5000 + b'"'),
        encode_canonical(HEADER).replace(b'"round":"1"', b'"round":"1","round":"1"'),
        encode_canonical(HEADER).replace(b'"round":"1",', b""),
        encode_canonical(HEADER).replace(b'"round":"1"', b'"round":"1","more":"1"'),
        encode_canonical(HEADER).replace(b"0x", b"0X"),
        encode_canonical(HEADER).replace(b"0x", b""),
    ],
    ids=range(16),
)
def test_any_other_text_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidData, match="a peer"):
        decode_canonical(document, ReportHeader, what="a peer")


def test_a_huge_document_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(InvalidData, match="larger than"):
        decode_canonical(b"[" + b"0," * (MAX_DOCUMENT_BYTES // 2) + b"0]", ReportHeader, what="a peer")


@given(leaves=st.lists(LEAF_HASHES, min_size=1, max_size=40, unique=True), seed=st.randoms(use_true_random=False))
def test_the_root_does_not_depend_on_the_order_of_leaves(leaves: list[bytes], seed: Any) -> None:
    tree = build_tree(leaves)
    shuffled = list(leaves)
    seed.shuffle(shuffled)
    assert build_tree(shuffled).root == tree.root
    for leaf in leaves:
        assert verify_proof(leaf, prove(tree, leaf), tree.root)


@given(leaves=st.lists(LEAF_HASHES, min_size=2, max_size=20, unique=True), stranger=HASHES)
def test_a_leaf_outside_the_tree_has_no_proof(leaves: list[bytes], stranger: bytes) -> None:
    tree = build_tree(leaves)
    if stranger in leaves:
        return
    with pytest.raises(InvalidData, match="not in the tree"):
        prove(tree, stranger)
    assert not any(verify_proof(stranger, prove(tree, leaf), tree.root) for leaf in leaves)


def test_nothing_is_in_the_empty_tree() -> None:
    assert build_tree([]).root == EMPTY_ROOT
    assert not verify_proof(EMPTY_ROOT, (), EMPTY_ROOT)
    with pytest.raises(InvalidData):
        prove(build_tree([]), EMPTY_ROOT)


def test_a_proof_longer_than_any_tree_is_deep_is_refused() -> None:
    leaf, proof = keccak256(b"leaf"), [keccak256(b"step")] * (MAX_PROOF_LENGTH + 1)
    root = leaf
    for step in proof:
        root = hash_pair(root, step)
    assert not verify_proof(leaf, proof, root)
    assert verify_proof(leaf, proof[:-1], _climb(leaf, proof[:-1]))


@given(hidden=HASHES, scope=structs(PositionScope), key=HASHES)
def test_the_quantity_of_a_position_is_no_node(hidden: bytes, scope: PositionScope, key: bytes) -> None:
    """Whoever chooses a quantity would else prove any leaf, with salt and position as one sibling of 64 bytes."""
    salt, quantity = position_salt(scope), int.from_bytes(hidden, "big", signed=True)
    root = position_leaf(salt, CommittedPosition(position=key, quantity=quantity))
    assert not verify_proof(hidden, (salt + key,), root)
    assert not verify_proof(hidden[:-1], (hidden[-1:],), keccak256(hidden))


def _climb(node: bytes, proof: list[bytes]) -> bytes:
    for step in proof:
        node = hash_pair(node, step)
    return node


def test_a_leaf_is_hashed_twice() -> None:
    assert leaf_hash(ACCOUNT) == keccak256(keccak256(encode_leaf(ACCOUNT)))


def test_a_plain_address_is_a_subject() -> None:
    assert subject_of(Address("0x" + "Ab" * 20)) == bytes(12) + b"\xab" * 20


@given(digest=HASHES, key=st.integers(1, CURVE_ORDER - 1))
def test_a_signature_is_low_s_and_recovers_its_signer(digest: bytes, key: int) -> None:
    private = key.to_bytes(32, "big")
    signature = sign_digest(digest, private)
    assert int.from_bytes(signature[32:64], "big") <= CURVE_ORDER // 2
    assert recover_signer(digest, signature) == Account.from_key(private).address.lower()


@given(digest=HASHES)
def test_the_mirrored_signature_is_refused(digest: bytes) -> None:
    signature = sign_digest(digest, b"\x01" * 32)
    mirrored = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    with pytest.raises(ProtocolViolation, match="half the curve order"):
        recover_signer(digest, signature[:32] + mirrored.to_bytes(32, "big") + bytes([55 - signature[64]]))


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(64),
        bytes(66),
        bytes(65),
        bytes(64) + b"\x1b",
        b"\xff" * 32 + b"\x01" * 32 + b"\x1b",
        b"\x01" * 64 + b"\x1d",
    ],
    ids=range(7),
)
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="signature refused"):
        recover_signer(bytes(32), signature)


def test_the_address_of_a_known_key() -> None:
    """Key 1, whose public key is the generator of the curve."""
    generator = bytes.fromhex(
        "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
    )
    assert address_of(generator) == "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"


@given(many=st.lists(structs(Destination), min_size=1, max_size=6, unique=True))
def test_destinations_are_encoded_as_an_abi_array(many: list[Destination]) -> None:
    ordered = sorted(many, key=lambda each: (each.chain_id, each.oracle))
    plain = [(each.chain_id, each.oracle) for each in ordered]
    assert encode_destinations(ordered) == abi_encode(["(uint64,address)[]"], [plain])
    if len(many) > 1:
        with pytest.raises(InvalidData, match="sorted"):
            encode_destinations(ordered[::-1])


@pytest.mark.parametrize("count", [0, 65])
def test_a_senseless_number_of_destinations_is_refused(count: int) -> None:
    many = [Destination(chain_id=index, oracle=Address("0x" + "11" * 20)) for index in range(count)]
    with pytest.raises(InvalidData, match="destinations"):
        encode_destinations(many)


def test_a_destination_named_twice_is_refused() -> None:
    one = Destination(chain_id=1, oracle=Address("0x" + "11" * 20))
    with pytest.raises(InvalidData, match="named once"):
        encode_destinations([one, one])
