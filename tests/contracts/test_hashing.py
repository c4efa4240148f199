"""Python and Solidity hash the same bytes, for any values."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from eth_abi.abi import encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attest.encoding.abi_types import integer_range, word_fields
from attest.encoding.keccak import keccak256
from attest.encoding.merkle import build_tree, prove
from attest.formats.eip712 import Destination, domain_separator, signing_digest
from attest.formats.header import ReportHeader, encode_header, report_hash
from attest.formats.leaf import AccountLeaf, FeedLeaf, leaf_hash
from attest.formats.quorums import byzantine
from contracts.deployment import deploy
from riskschema.errors import InvalidData
from riskschema.units import Address

pytestmark = pytest.mark.chain

PROPERTY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _values(abi_type: str) -> st.SearchStrategy[Any]:
    if abi_type == "bytes32":
        return st.binary(min_size=32, max_size=32)
    if abi_type == "address":
        return st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex()))
    lowest, highest = integer_range(abi_type)
    return st.one_of(st.integers(lowest, highest), st.sampled_from([lowest, highest, 0]))


def structs(kind: type[msgspec.Struct], **limits: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = {field: limits.get(field, _values(abi_type)) for field, abi_type in word_fields(kind)}
    return st.builds(kind, **fields)


HEADERS = structs(ReportHeader)
ACCOUNTS = structs(AccountLeaf, score=st.integers(0, 1000))
FEEDS = structs(FeedLeaf)
DESTINATIONS = st.lists(structs(Destination), min_size=1, max_size=5, unique=True).map(
    lambda many: sorted(many, key=lambda each: (each.chain_id, each.oracle))
)


@pytest.fixture
def solidity(bare_chain: Any, compiled: dict[str, Any]) -> Callable[..., bytes]:
    """Return a function that calls the harness: signature, argument types, arguments."""
    harness = deploy(bare_chain.create_or_send, bytes.fromhex(compiled["HashingHarness"]["bytecode"][2:]))

    def call(function: str, *arguments: Any) -> bytes:
        types = _argument_types(function)
        plain = [_plain(argument) for argument in arguments]
        data = keccak256(function.encode())[:4] + encode(types, plain)
        return bytes(bare_chain.call(harness, data))

    return call


def _argument_types(function: str) -> list[str]:
    inside = function[function.index("(") + 1 : -1]
    parts, depth, current = [], 0, ""
    for character in inside:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.astuple(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _tuple(kind: type[msgspec.Struct]) -> str:
    return "(" + ",".join(abi_type for _, abi_type in word_fields(kind)) + ")"


@PROPERTY
@given(header=HEADERS)
def test_report_hashes_agree(solidity: Callable[..., bytes], header: ReportHeader) -> None:
    assert solidity(f"hashHeader({_tuple(ReportHeader)})", header) == report_hash(header)


@PROPERTY
@given(header=HEADERS)
def test_header_bytes_agree(solidity: Callable[..., bytes], header: ReportHeader) -> None:
    answer = solidity(f"encodeHeader({_tuple(ReportHeader)})", header)
    assert answer[64:] == encode_header(header)


@PROPERTY
@given(leaf=ACCOUNTS)
def test_account_leaf_hashes_agree(solidity: Callable[..., bytes], leaf: AccountLeaf) -> None:
    assert solidity(f"hashAccount({_tuple(AccountLeaf)})", leaf) == leaf_hash(leaf)


@PROPERTY
@given(leaf=FEEDS)
def test_feed_leaf_hashes_agree(solidity: Callable[..., bytes], leaf: FeedLeaf) -> None:
    assert solidity(f"hashFeed({_tuple(FeedLeaf)})", leaf) == leaf_hash(leaf)


@PROPERTY
@given(destinations=DESTINATIONS, header=HEADERS)
def test_domains_and_digests_agree(
    solidity: Callable[..., bytes], destinations: list[Destination], header: ReportHeader
) -> None:
    separator = solidity(f"domain({_tuple(Destination)}[])", destinations)
    assert separator == domain_separator(destinations)
    digest = solidity("digest(bytes32,bytes32)", separator, report_hash(header))
    assert digest == signing_digest(header, destinations)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 64, 100])
def test_proofs_lead_to_the_root_by_openzeppelins_own_code(solidity: Callable[..., bytes], count: int) -> None:
    leaves = [keccak256(index.to_bytes(4, "big")) for index in range(count)]
    tree = build_tree(leaves)
    for leaf in leaves[:: max(1, count // 5)]:
        assert solidity("processProof(bytes32[],bytes32)", list(prove(tree, leaf)), leaf) == tree.root


def test_quorums_agree(solidity: Callable[..., bytes], refuses: Callable[..., Any]) -> None:
    for operators in range(34):
        try:
            expected = byzantine(operators)
        except InvalidData:
            with refuses("InvalidCommitteeSize", operators):
                solidity("quorum(uint256)", operators)
        else:
            assert int.from_bytes(solidity("quorum(uint256)", operators), "big") == expected
