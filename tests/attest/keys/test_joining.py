"""An operator joins a committee with keys that it holds, for the draft that it saw, and not otherwise."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attest.encoding.keccak import keccak256
from attest.formats.committee import Operator
from attest.formats.eip712 import sign_digest
from attest.keys.certificates import operator_certificate
from attest.keys.identity import IdentityKey
from attest.keys.joining import Draft, JoinRequest, assemble_committee, make_join_request
from riskschema.errors import InvalidData
from riskschema.units import ZERO_ADDRESS, Address
from tests.builders.reports import committee, signer_of

DRAFT = Draft(committee=committee(), verifier=Address("0x" + "22" * 20), guardian=ZERO_ADDRESS)


def keys(index: int) -> tuple[IdentityKey, bytes]:
    identity = IdentityKey(Ed25519PrivateKey.from_private_bytes(keccak256(b"identity%d" % index)))
    return identity, keccak256(b"attestation%d" % index)


def request(index: int, draft: Draft = DRAFT) -> JoinRequest:
    identity, private = keys(index)
    return make_join_request(
        draft,
        Operator(signer=signer_of(private), identity=identity.public_key),
        operator_certificate(identity),
        sign_identity=identity.sign,
        sign_attestation=lambda digest: sign_digest(digest, private),
    )


def test_whoever_gathers_the_requests_gets_the_same_committee() -> None:
    requests = [request(index) for index in range(4)]
    founded = assemble_committee(DRAFT, requests)
    assert founded == assemble_committee(DRAFT, requests[::-1])
    assert msgspec.structs.replace(founded, operators=()) == DRAFT.committee
    assert list(founded.signers) == sorted(founded.signers)


OTHER = msgspec.structs.replace(DRAFT, committee=committee(round_interval_seconds=13))
STRANGER = keys(9)[0]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (request(0, OTHER), "another draft"),
        (msgspec.structs.replace(request(0, OTHER), draft=request(0).draft), "identity's proof"),
        (msgspec.structs.replace(request(0), identity_proof=request(1).identity_proof), "identity's proof"),
        (
            msgspec.structs.replace(request(0), attestation_proof=request(1).attestation_proof),
            "attestation key's proof",
        ),
        (msgspec.structs.replace(request(0), attestation_proof=bytes(65)), "join request"),
        (msgspec.structs.replace(request(0), certificate=request(1).certificate), "certificate refused"),
        (
            msgspec.structs.replace(
                request(0),
                operator=msgspec.structs.replace(request(0).operator, signer=request(1).operator.signer),
            ),
            "identity's proof",
        ),
    ],
)
def test_a_request_without_its_proofs_is_refused(wrong: JoinRequest, reason: str) -> None:
    with pytest.raises(InvalidData, match=reason):
        assemble_committee(DRAFT, [wrong, *(request(index) for index in (1, 2, 3))])


def test_nobody_joins_twice_and_three_are_no_committee() -> None:
    with pytest.raises(InvalidData, match="share a key"):
        assemble_committee(DRAFT, [request(0), request(0), request(1), request(2)])
    with pytest.raises(InvalidData, match="1 or 4 to 31"):
        assemble_committee(DRAFT, [request(0), request(1), request(2)])
