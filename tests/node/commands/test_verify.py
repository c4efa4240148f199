"""`plimsoll verify`: what a node serves is true, and whatever was changed on the way is noticed."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from attest.reports.attestation import certified_report
from node.api.documents import account_document
from riskschema.codec import encode_json
from riskschema.units import Address
from tests.node.commands.conftest import Plimsoll, answering
from tests.node.local_node import LocalNode

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def answer(network: LocalNode) -> dict[str, Any]:
    """What the node answers about one account."""

    async def look_up() -> bytes:
        subject = Address(network.devnet.deployment.user("edge-ether").address)
        async with network.open() as node:
            report = await node.store.latest_certified(node.config_digest)
            assert report is not None
            leaf = await node.store.account(node.config_digest, report.round, subject)
            market = await node.store.market(node.config_digest, report.round)
            certified = certified_report(report)
            assert leaf is not None
            assert certified is not None
            return encode_json(account_document(certified, leaf, market, node.rules.committee))

    document: dict[str, Any] = json.loads(asyncio.run(look_up()))
    return document


@pytest.fixture
def verify(plimsoll: Plimsoll, network: LocalNode, tmp_path: Path):
    """A function that verifies a document at the local chain."""

    def run(document: Any, *options: object, rpc: str | None = None):
        path = tmp_path / "attestation.json"
        path.write_text(json.dumps(document))
        return plimsoll("verify", path, "--rpc", rpc or network.devnet.url, *options)

    return run


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the attestation inside an answer with some fields changed."""
    attestation: dict[str, Any] = document["attestation"] | changes
    return attestation


def test_what_the_node_serves_is_valid(verify, answer: dict[str, Any], network: LocalNode) -> None:
    found = verify(answer, "--json").document
    assert found["subject"] == answer["subject"]
    assert found["score"] == answer["assessment"]["score"]
    assert found["oracle"] == network.network.oracle
    assert found["signers"] == 1
    assert verify(answer["attestation"], "--json").document == found


def test_the_verdict_is_said_in_words(verify, answer: dict[str, Any], network: LocalNode) -> None:
    ended = verify(answer)
    assert ended.output.startswith(f"valid: {answer['subject']} has score {answer['assessment']['score']}")
    assert "compare it with the one you trust" in ended.messages
    assert verify(answer, "--oracle", network.network.oracle).messages == ""


def test_an_answer_comes_from_standard_input(plimsoll: Plimsoll, network: LocalNode, answer: dict[str, Any]) -> None:
    content = json.dumps(answer).encode()
    assert plimsoll("verify", "-", "--rpc", network.devnet.url, stdin=content).output.startswith("valid")


def test_another_contract_than_the_trusted_one_is_refused(verify, answer: dict[str, Any]) -> None:
    message = verify(answer, "--oracle", "0x" + "12" * 20).refused()
    assert "is not for 0x1212" in message
    assert message.endswith("[foreign]")


def test_a_node_that_had_no_attestation_is_quoted(verify) -> None:
    detail = "0x12 is not in the report of round 7"
    message = verify({"type": "urn:plimsoll:problem:account_unknown", "status": 404, "detail": detail}).refused()
    assert f"the node refused: '{detail}'" in message


def test_an_answer_that_shows_another_score_than_it_proves_is_refused(verify, answer: dict[str, Any]) -> None:
    message = verify(answer | {"assessment": answer["assessment"] | {"score": 1}}).refused()
    assert "the assessment is not the attested one" in message
    assert message.endswith("[forged]")


def test_a_forged_leaf_is_refused(verify, answer: dict[str, Any]) -> None:
    leaf = bytearray.fromhex(answer["attestation"]["leaf"][2:])
    leaf[32 * 2 + 31] ^= 1  # the score
    message = verify(changed(answer, leaf="0x" + leaf.hex())).refused()
    assert "the proof does not lead to the accounts root" in message
    assert message.endswith("[forged]")


def test_a_tampered_proof_is_refused(verify, answer: dict[str, Any]) -> None:
    proof = answer["attestation"]["proof"]
    assert "proof" in verify(changed(answer, proof=["0x" + "00" * 32, *proof[1:]])).refused()
    assert "proof" in verify(changed(answer, proof=proof[1:])).refused()


def test_a_leaf_of_somebody_else_is_refused(verify, answer: dict[str, Any]) -> None:
    assert "another subject" in verify(changed(answer, subject="0x" + "ab" * 20)).refused()


def test_a_changed_header_is_refused(verify, answer: dict[str, Any]) -> None:
    certificate = answer["attestation"]["certificate"]
    header = certificate["header"] | {"coverage_ppm": "1"}
    assert verify(changed(answer, certificate=certificate | {"header": header})).refused().endswith("[forged]")


def test_a_node_of_another_chain_says_nothing(verify, answer: dict[str, Any]) -> None:
    elsewhere = [{"chain_id": 5, "oracle": answer["attestation"]["destinations"][0]["oracle"]}]
    # the signatures name their destinations, so this is noticed before the endpoint is asked
    assert verify(changed(answer, destinations=elsewhere)).refused().endswith("[forged]")


def test_an_endpoint_of_another_chain_is_refused(verify, answer: dict[str, Any]) -> None:
    body = b'[{"jsonrpc":"2.0","id":0,"result":"0x5"}]'
    with answering(body) as url:
        assert f"{url} serves chain 5, not 31337" in verify(answer, rpc=url).refused()


def test_an_endpoint_that_is_down_says_nothing(verify, answer: dict[str, Any], closed_port: int) -> None:
    message = verify(answer, rpc=f"http://127.0.0.1:{closed_port}").refused()
    assert f"http://127.0.0.1:{closed_port}: cannot be reached" in message


@pytest.mark.parametrize("url", ["not a url", "ftp://host", "http://"])
def test_what_is_no_endpoint_is_refused(verify, answer: dict[str, Any], url: str) -> None:
    assert "http" in verify(answer, rpc=url).refused()


def test_a_chain_without_the_contract_is_told(verify, answer: dict[str, Any], network: LocalNode) -> None:
    anvil = network.devnet.anvil
    snapshot = anvil.snapshot()
    anvil.rpc.request("anvil_setCode", network.network.oracle, "0x")
    message = verify(answer).refused()
    anvil.revert(snapshot)
    assert "there is no such contract at this address" in message


def test_a_round_that_is_over_is_told(verify, answer: dict[str, Any], network: LocalNode) -> None:
    anvil = network.devnet.anvil
    snapshot = anvil.snapshot()
    anvil.advance_time(7_200)
    message = verify(answer).refused()
    anvil.revert(snapshot)
    assert "no longer holds this round (Expired" in message
    assert message.endswith("[stale]")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"leaf": "0x12"}, "leaf"),
        ({"leaf": "zz"}, "$.leaf"),
        ({"proof": ["0x12"]}, "$.proof[0]"),
        ({"round": -1}, "$.round"),
        ({"format": "something"}, "format"),
        ({"colour": "red"}, "colour"),
        ({"certificate": {}}, "$.certificate"),
        ({"operators": []}, "operators"),
    ],
)
def test_what_is_no_attestation_is_refused_by_the_field(
    verify, answer: dict[str, Any], change: Any, names: str
) -> None:
    assert names in verify(changed(answer, **change)).refused()


def test_a_missing_file_is_refused_by_its_path(plimsoll: Plimsoll, tmp_path: Path) -> None:
    message = plimsoll("verify", tmp_path / "nowhere.json", "--rpc", "http://127.0.0.1:1").refused()
    assert "nowhere.json: No such file" in message
