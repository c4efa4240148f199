"""What the HTTP API answers, and the attestation that a stranger checks without trusting this node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import msgspec
from msgspec import Meta

from attest.encoding.canonical_json import encode_canonical
from attest.encoding.merkle import verify_proof
from attest.formats.certificate import (
    Certificate,
    decode_certificate,
    decode_certificate_json,
    encode_certificate_json,
    signer_indices,
    verify_certificate,
)
from attest.formats.committee import Committee
from attest.formats.eip712 import Destination
from attest.formats.header import report_hash
from attest.formats.leaf import AccountLeaf, decode_leaf, leaf_hash, subject_of
from riskschema.assessment import Assessment
from riskschema.codec import decode_json, encode_json, from_builtins
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.instruments import ChainId, Timestamp
from riskschema.rounds import StoredLeaf, StoredReport, StoredTransaction
from riskschema.units import Address, Hash32, Probability

RoundNumber = Annotated[int, Meta(ge=0, le=2**53)]
Integer = Annotated[str, Meta(pattern="^(0|-?[1-9][0-9]{0,77})$", description="an integer as a decimal string")]
Hexadecimal = Annotated[str, Meta(pattern="^0x([0-9a-f]{2})*$", max_length=8192)]
Signature = Annotated[str, Meta(pattern="^0x[0-9a-f]{130}$", description="r, s, v: 65 bytes")]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object of the API."""


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


class TransactionDocument(Document, frozen=True, kw_only=True):
    """The transaction that published a round on one chain."""

    chain_id: ChainId
    hash: Hash32
    status: str
    """``pending``, ``landed`` (may still be reorganised away), ``final``, ``failed``, ``abandoned``."""
    block_number: int | None
    gas_used: int | None


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


class AccountDocument(Document, frozen=True, kw_only=True, tag_field="format", tag="plimsoll-account-1"):
    """The latest attested assessment of an account, explained and proved."""

    subject: Address
    round: RoundNumber
    report_hash: Hash32
    observed_at: Timestamp
    valid_until: Timestamp
    leaf: LeafDocument
    assessment: Assessment
    attestation: AttestationDocument


class RoundDocument(Document, frozen=True, kw_only=True):
    """A certified round."""

    round: RoundNumber
    report_hash: Hash32
    observed_at: Timestamp
    valid_until: Timestamp
    accounts: int
    feeds: int
    coverage: Probability
    """Share of (account, venue) reads that succeeded."""
    signers: tuple[Address, ...]
    transactions: tuple[TransactionDocument, ...]
    certificate: SignedHeader
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


def attestation_document(certified: CertifiedReport, leaf: StoredLeaf, committee: Committee) -> AttestationDocument:
    """Put together what proves one leaf of a certified report."""
    return AttestationDocument(
        subject=leaf.subject,
        round=certified.report.round,
        report_hash=certified.report.report_hash,
        leaf="0x" + leaf.leaf.hex(),
        proof=leaf.proof,
        certificate=certified.signed_header,
        operators=committee.signers,
        destinations=_destinations(committee),
    )


def account_document(certified: CertifiedReport, leaf: StoredLeaf, committee: Committee) -> AccountDocument:
    """Put together what is known of one account in a certified report.

    Raises:
        InvalidData: the kept leaf or assessment does not decode.
    """
    header = certified.certificate.header
    return AccountDocument(
        subject=leaf.subject,
        round=certified.report.round,
        report_hash=certified.report.report_hash,
        observed_at=header.observed_at,
        valid_until=header.valid_until,
        leaf=_leaf_document(_account_leaf(leaf.leaf)),
        assessment=decode_json(leaf.assessment, Assessment, what="assessment"),
        attestation=attestation_document(certified, leaf, committee),
    )


def round_document(
    certified: CertifiedReport, transactions: Sequence[StoredTransaction], committee: Committee
) -> RoundDocument:
    """Put together what is known of a certified round."""
    header = certified.certificate.header
    return RoundDocument(
        round=certified.report.round,
        report_hash=certified.report.report_hash,
        observed_at=header.observed_at,
        valid_until=header.valid_until,
        accounts=header.account_count,
        feeds=header.feed_count,
        coverage=Probability(header.coverage_ppm),
        signers=tuple(committee.signers[index] for index in signer_indices(certified.certificate)),
        transactions=tuple(_transaction(transaction) for transaction in transactions),
        certificate=certified.signed_header,
        destinations=_destinations(committee),
    )


def read_attestation(document: bytes, *, what: str) -> AttestationDocument:
    """Read a saved answer of ``/v1/accounts/{address}`` or of its ``/attestation``.

    Raises:
        InvalidData: naming the field that is wrong.
        ProtocolViolation: an account's answer shows other values than its attestation holds.
    """
    kinds = cast("type[AttestationDocument | AccountDocument]", AttestationDocument | AccountDocument)
    answer = decode_json(document, kinds, what=what)
    if isinstance(answer, AttestationDocument):
        return answer
    _check_what_is_shown(answer)
    return answer.attestation


def _check_what_is_shown(answer: AccountDocument) -> None:
    """Compare what people read with what is proved; of the assessment, only this much is in the leaf."""
    attestation, shown = answer.attestation, answer.assessment
    leaf = _account_leaf(bytes.fromhex(attestation.leaf[2:]))
    _agree(answer.leaf == _leaf_document(leaf), "the leaf that is shown is not the attested one")
    for name in ("subject", "round", "report_hash"):
        _agree(getattr(answer, name) == getattr(attestation, name), f"{name} is not that of the attestation")
    read = (shown.subject, shown.score, shown.liquidation_probability, shown.insolvency_probability)
    attested = (attestation.subject, leaf.score, leaf.liquidation_probability_ppm, leaf.insolvency_probability_ppm)
    _agree(read == attested, "the assessment is not the attested one")


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
    leaf = _account_leaf(bytes.fromhex(attestation.leaf[2:]))
    _agree(Hash32(report_hash(header)) == attestation.report_hash, "report_hash is not that of the certified header")
    _agree(header.round == attestation.round, "round is not that of the certified header")
    _agree(leaf.subject == subject_of(attestation.subject), "the leaf is about another subject")
    proof = [node.to_bytes() for node in attestation.proof]
    _agree(verify_proof(leaf_hash(leaf), proof, header.accounts_root), "the proof does not lead to the accounts root")
    return leaf


def _leaf_document(leaf: AccountLeaf) -> LeafDocument:
    return from_builtins(msgspec.json.decode(encode_canonical(leaf)), LeafDocument, what="leaf")


def _account_leaf(encoded: bytes) -> AccountLeaf:
    leaf = decode_leaf(encoded)
    if not isinstance(leaf, AccountLeaf):
        raise InvalidData("attestation: the leaf is no account leaf", code="malformed")
    return leaf


def _agree(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ProtocolViolation(f"attestation refused: {otherwise}", code="forged")


def _destinations(committee: Committee) -> tuple[DestinationDocument, ...]:
    return tuple(DestinationDocument(chain_id=each.chain_id, oracle=each.oracle) for each in committee.destinations)


def _transaction(transaction: StoredTransaction) -> TransactionDocument:
    return TransactionDocument(
        chain_id=transaction.chain_id,
        hash=transaction.hash,
        status=transaction.status,
        block_number=transaction.block_number,
        gas_used=transaction.gas_used,
    )
