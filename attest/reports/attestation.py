"""The attestation document: all that a stranger needs to check one account's leaf without trusting who served it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from attest.encoding.canonical_json import encode_canonical
from attest.encoding.merkle import verify_proof
from attest.formats.certificate import (
    Certificate,
    decode_certificate,
    decode_certificate_json,
    encode_certificate_json,
    verify_certificate,
)
from attest.formats.committee import Committee
from attest.formats.eip712 import Destination
from attest.formats.header import report_hash
from attest.formats.leaf import AccountLeaf, decode_leaf, leaf_hash, subject_of
from riskschema.codec import encode_json, from_builtins
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.instruments import ChainId
from riskschema.rounds import StoredAccount, StoredReport
from riskschema.units import Address, Hash32

RoundNumber = Annotated[int, Meta(ge=0, le=2**53)]
Integer = Annotated[str, Meta(pattern="^(0|-?[1-9][0-9]{0,77})$", description="an integer as a decimal string")]
Hexadecimal = Annotated[str, Meta(pattern="^0x([0-9a-f]{2})*$", max_length=8192)]
Signature = Annotated[str, Meta(pattern="^0x[0-9a-f]{130}$", description="r, s, v: 65 bytes")]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object that people and programs read."""


class HeaderDocument(Document, frozen=True, kw_only=True):
    """A report header in its canonical JSON: integers are decimal strings (attest.formats.header.ReportHeader)."""

    config_digest: Hash32
    round: Integer
    parent: Hash32
    state_root: Hash32
    observed_at: Integer
    valid_until: Integer
    pins_root: Hash32
    market_root: Hash32
    arrays_root: Hash32
    parameters_hash: Hash32
    model_version: Integer
    accounts_root: Hash32
    feeds_root: Hash32
    account_count: Integer
    feed_count: Integer
    coverage_ppm: Integer
    breaker_flags: Integer


class SignedHeader(Document, frozen=True, kw_only=True):
    """A certificate in its canonical JSON (attest.formats.certificate.Certificate)."""

    version: Integer
    header: HeaderDocument
    bitmap: Integer
    """Bit i is set where operator i signed."""
    signatures: tuple[Signature, ...]
    """In increasing operator index."""


class LeafDocument(Document, frozen=True, kw_only=True):
    """An account leaf as the contract takes it: the fields of the Solidity struct in its order, as decimal strings.

    Dollar amounts have 8 decimals, the health has 18; a health of 2^128 - 1 says that nothing is owed.
    """

    subject: Hash32
    score: Integer
    liquidation_probability_ppm: Integer
    insolvency_probability_ppm: Integer
    expected_loss: Integer
    equity: Integer
    initial_margin: Integer
    maintenance_margin: Integer
    worst_grid_loss: Integer
    min_health: Integer
    venue_coverage: Integer
    flags: Integer
    positions_commitment: Hash32


class DestinationDocument(Document, frozen=True, kw_only=True):
    """A contract that accepts the certificate."""

    chain_id: ChainId
    oracle: Address


class AttestationDocument(Document, frozen=True, kw_only=True, tag_field="format", tag="plimsoll-attestation-1"):
    """All that a stranger needs to check one account's leaf; input of ``plimsoll verify``.

    The operators and destinations are this node's word: the contract's own list decides (`check_attestation` checks
    that the document is consistent, the contract that it is true).
    """

    subject: Address
    round: RoundNumber
    report_hash: Hash32
    leaf: Hexadecimal
    """ABI encoding of the leaf: type hash and words."""
    proof: tuple[Hash32, ...]
    """Siblings from the leaf to the accounts root."""
    certificate: SignedHeader
    operators: tuple[Address, ...]
    """Attestation addresses of the committee, in the order of the bitmap."""
    destinations: tuple[DestinationDocument, ...]


class CertifiedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A kept report whose certificate is decoded."""

    report: StoredReport
    certificate: Certificate
    signed_header: SignedHeader


def certified_report(report: StoredReport) -> CertifiedReport | None:
    """Decode the certificate of a kept report; None if no quorum signed it (yet).

    Raises:
        InvalidData: the kept bytes are no certificate.
    """
    if report.certificate is None:
        return None
    certificate = decode_certificate(report.certificate)
    canonical = msgspec.json.decode(encode_certificate_json(certificate))
    signed_header = from_builtins(canonical, SignedHeader, what="certificate")
    return CertifiedReport(report=report, certificate=certificate, signed_header=signed_header)


def attestation_document(
    certified: CertifiedReport, account: StoredAccount, committee: Committee
) -> AttestationDocument:
    """Put together what proves one leaf of a certified report."""
    return AttestationDocument(
        subject=account.subject,
        round=certified.report.round,
        report_hash=certified.report.report_hash,
        leaf="0x" + account.leaf.hex(),
        proof=account.proof,
        certificate=certified.signed_header,
        operators=committee.signers,
        destinations=destination_documents(committee),
    )


def attested_certificate(attestation: AttestationDocument) -> Certificate:
    """Return the certificate inside an attestation.

    Raises:
        InvalidData: a value outside its type.
    """
    return decode_certificate_json(encode_json(attestation.certificate))


def check_attestation(attestation: AttestationDocument) -> AccountLeaf:
    """Check that signatures, header, proof and leaf belong together; return the leaf.

    This proves what the *named* operators said; whether they are the committee is for the contract to say.

    Raises:
        ProtocolViolation: a signature or proof does not verify, or parts are of different reports or subjects.
        InvalidData: a part cannot be decoded.
    """
    certificate = attested_certificate(attestation)
    header = certificate.header
    verify_certificate(
        certificate,
        config_digest=header.config_digest,
        operators=attestation.operators,
        destinations=[Destination(chain_id=each.chain_id, oracle=each.oracle) for each in attestation.destinations],
    )
    leaf = decode_account_leaf(bytes.fromhex(attestation.leaf[2:]))
    refuse_unless(
        Hash32(report_hash(header)) == attestation.report_hash, "report_hash is not that of the certified header"
    )
    refuse_unless(header.round == attestation.round, "round is not that of the certified header")
    refuse_unless(leaf.subject == subject_of(attestation.subject), "the leaf is about another subject")
    proof = [node.to_bytes() for node in attestation.proof]
    refuse_unless(
        verify_proof(leaf_hash(leaf), proof, header.accounts_root), "the proof does not lead to the accounts root"
    )
    return leaf


def leaf_document(leaf: AccountLeaf) -> LeafDocument:
    """Return a leaf as people read it."""
    return from_builtins(msgspec.json.decode(encode_canonical(leaf)), LeafDocument, what="leaf")


def decode_account_leaf(encoded: bytes) -> AccountLeaf:
    """Read an account's leaf.

    Raises:
        InvalidData: it is malformed, or a feed's.
    """
    leaf = decode_leaf(encoded)
    if not isinstance(leaf, AccountLeaf):
        raise InvalidData("attestation: the leaf is no account leaf", code="malformed")
    return leaf


def refuse_unless(condition: bool, otherwise: str) -> None:
    """Require that two parts of an attestation belong together.

    Raises:
        ProtocolViolation: they do not; `otherwise` says which.
    """
    if not condition:
        raise ProtocolViolation(f"attestation refused: {otherwise}", code="forged")


def destination_documents(committee: Committee) -> tuple[DestinationDocument, ...]:
    """Return the contracts that accept the committee's certificates."""
    return tuple(DestinationDocument(chain_id=each.chain_id, oracle=each.oracle) for each in committee.destinations)
