"""Joining a committee: an operator proves with each of its keys that it holds it, and for which draft it does so.

Without the proofs somebody could enter a key that is not its own, or a good one into a draft that its owner never saw.
"""

from collections.abc import Callable, Sequence

import msgspec

from attest.encoding.canonical_json import encode_canonical
from attest.encoding.keccak import keccak256
from attest.formats.committee import Committee, Operator, check_committee
from attest.formats.eip712 import recover_signer
from attest.keys.certificates import check_operator_certificate
from attest.keys.identity import verify_identity
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.units import Address

DOMAIN = keccak256(b"plimsoll join")
"""First bytes of every signed preimage: these signatures mean nothing anywhere else."""


class Draft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A committee without operators yet, and how its contract will be initialised."""

    committee: Committee
    verifier: Address
    guardian: Address
    """May pause the contract for a bounded time; zero: nobody."""


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator hands to all others."""

    draft: bytes
    """Hash of the draft that it saw."""
    operator: Operator
    certificate: str
    """PEM: under which it connects to brokers."""
    identity_proof: bytes
    attestation_proof: bytes


def draft_hash(draft: Draft) -> bytes:
    """Return what operators sign for: chains with genesis, contract, venues, interval, and all else."""
    return keccak256(encode_canonical(draft))


def make_join_request(
    draft: Draft,
    operator: Operator,
    certificate: bytes,
    *,
    sign_identity: Callable[[bytes], bytes],
    sign_attestation: Callable[[bytes], bytes],
) -> JoinRequest:
    """Return a request with a proof of possession by each key."""
    seen = draft_hash(draft)
    statement = _statement(seen, operator, certificate)
    return JoinRequest(
        draft=seen,
        operator=operator,
        certificate=certificate.decode(),
        identity_proof=sign_identity(statement),
        attestation_proof=sign_attestation(statement),
    )


def assemble_committee(draft: Draft, requests: Sequence[JoinRequest]) -> Committee:
    """Return the committee of all who joined, in the order of their attestation addresses.

    Raises:
        InvalidData: a request is for another draft, a proof is not by its key, or together they are no committee.
    """
    for request in requests:
        _check(draft, request)
    operators = sorted((request.operator for request in requests), key=lambda operator: operator.signer)
    committee = msgspec.structs.replace(draft.committee, operators=tuple(operators))
    check_committee(committee)
    return committee


def _check(draft: Draft, request: JoinRequest) -> None:
    who = f"join request of {request.operator.signer}"
    if request.draft != draft_hash(draft):
        raise _refused(f"{who}: it is for another draft, 0x{request.draft.hex()}")
    check_operator_certificate(request.certificate.encode(), request.operator.identity)
    statement = _statement(request.draft, request.operator, request.certificate.encode())
    if not verify_identity(request.operator.identity, statement, request.identity_proof):
        raise _refused(f"{who}: the identity's proof is not by its key")
    try:
        signer = recover_signer(statement, request.attestation_proof)
    except (ProtocolViolation, InvalidData) as error:
        raise _refused(f"{who}: {error.message}") from error
    if signer != request.operator.signer:
        raise _refused(f"{who}: the attestation key's proof is by {signer}")


def _statement(draft: bytes, operator: Operator, certificate: bytes) -> bytes:
    keys = operator.signer.to_bytes() + operator.identity
    return keccak256(DOMAIN + draft + keys + keccak256(certificate))


def _refused(reason: str) -> InvalidData:
    return InvalidData(reason, code="forged")
