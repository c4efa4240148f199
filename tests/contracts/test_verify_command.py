"""`plimsoll verify` against a real contract: what a forger can put into an attestation, and what is found."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from attest.formats.certificate import encode_certificate
from attest.formats.eip712 import Destination
from attest.formats.leaf import AccountLeaf, encode_leaf, leaf_hash
from attest.reports.attestation import AttestationDocument, attestation_document, certified_report
from node.commands.verify import verify_attestation
from riskschema.codec import encode_json
from riskschema.errors import ProtocolViolation
from riskschema.rounds import StoredAccount, StoredReport
from riskschema.units import Address, Hash32

pytestmark = pytest.mark.chain


@pytest.fixture
def published(oracle: Any, account_leaf: AccountLeaf) -> Any:
    """The certificate of a round with one account, as it landed."""
    certificate = oracle.certify(oracle.header(1, accounts_root=leaf_hash(account_leaf)))
    oracle.publish(certificate)
    return certificate


def attestation(certificate: Any, leaf: AccountLeaf, committee: Any) -> AttestationDocument:
    report = StoredReport(
        config_digest=Hash32(certificate.header.config_digest),
        round=certificate.header.round,
        report_hash=Hash32(certificate.report_hash),
        header=b"",
        state=b"",
        certificate=encode_certificate(certificate),
    )
    certified = certified_report(report)
    assert certified is not None
    subject = Address("0x" + leaf.subject[12:].hex())
    stored = StoredAccount(subject=subject, leaf=encode_leaf(leaf), proof=(), assessment=b"{}")
    return attestation_document(certified, stored, committee)


def verify(oracle: Any, folder: Path, document: AttestationDocument) -> None:
    file = folder / "attestation.json"
    file.write_bytes(encode_json(document))
    verify_attestation(file, rpc_url=oracle.chain.anvil.url, oracle=oracle.contracts.oracle, as_json=True)


def test_a_published_account_is_verified(
    oracle: Any,
    published: Any,
    account_leaf: AccountLeaf,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verify(oracle, tmp_path, attestation(published, account_leaf, oracle.committee))
    found = json.loads(capsys.readouterr().out)
    assert (found["report_hash"], found["score"], found["signers"]) == ("0x" + published.report_hash.hex(), 250, 5)


def test_another_quorum_of_the_same_report_is_verified(
    oracle: Any, published: Any, account_leaf: AccountLeaf, tmp_path: Path
) -> None:
    others = oracle.certify(published.header, signers=[0, 2, 4, 5, 6])
    verify(oracle, tmp_path, attestation(others, account_leaf, oracle.committee))


def test_operators_that_only_the_file_names_certify_nothing(
    oracle: Any, published: Any, account_leaf: AccountLeaf, tmp_path: Path
) -> None:
    """The forger takes leaf and root from the chain, changes the rest of the header, and signs it himself."""
    forged = msgspec.structs.replace(published.header, coverage_ppm=1_000_000, breaker_flags=0)
    one = msgspec.structs.replace(oracle.committee, operators=oracle.committee.operators[:1])
    with pytest.raises(ProtocolViolation, match=r"refuses the signatures: QuorumMissing\(1, 5\)") as refusal:
        verify(oracle, tmp_path, attestation(oracle.certify(forged, signers=[0]), account_leaf, one))
    assert refusal.value.code == "forged"


def test_signatures_for_destinations_that_only_the_file_names_certify_nothing(
    oracle: Any, published: Any, account_leaf: AccountLeaf, tmp_path: Path
) -> None:
    more = (Destination(chain_id=1, oracle=Address("0x" + "12" * 20)), *oracle.committee.destinations)
    elsewhere = msgspec.structs.replace(oracle.committee, destinations=more)
    certificate = oracle.certify(published.header, destinations=more)
    with pytest.raises(ProtocolViolation, match="refuses the signatures: WrongSigner"):
        verify(oracle, tmp_path, attestation(certificate, account_leaf, elsewhere))


def test_a_round_that_never_landed_is_told(oracle: Any, account_leaf: AccountLeaf, tmp_path: Path) -> None:
    certificate = oracle.certify(oracle.header(7, accounts_root=leaf_hash(account_leaf)))
    with pytest.raises(ProtocolViolation, match="no longer holds this round") as refusal:
        verify(oracle, tmp_path, attestation(certificate, account_leaf, oracle.committee))
    assert refusal.value.code == "stale"


def test_a_leaf_that_is_not_in_the_published_round_is_refused(
    oracle: Any, published: Any, account_leaf: AccountLeaf, tmp_path: Path
) -> None:
    better = msgspec.structs.replace(account_leaf, score=1)
    root = oracle.header(1, accounts_root=leaf_hash(better))
    with pytest.raises(ProtocolViolation, match="holds another root for round 1"):
        verify(oracle, tmp_path, attestation(oracle.certify(root), better, oracle.committee))
