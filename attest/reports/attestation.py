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
    """Hash of the committee."""
    round: Integer
    """The round."""
    parent: Hash32
    """Report hash of the certified report that this one builds on."""
    state_root: Hash32
    """Hash of the agreed state after the round."""
    observed_at: Integer
    """Unix seconds of prices and positions."""
    valid_until: Integer
    """Unix seconds after which contracts refuse the report."""
    pins_root: Hash32
    """Merkle root over the pinned blocks."""
    market_root: Hash32
    """Hash of the agreed market."""
    arrays_root: Hash32
    """Merkle root over the risk arrays."""
    parameters_hash: Hash32
    """Hash of the parameters of risk model and agreement."""
    model_version: Integer
    """Version of the risk model."""
    accounts_root: Hash32
    """Merkle root over the account leaves: where a proof leads."""
    feeds_root: Hash32
    """Merkle root over the feed leaves."""
    account_count: Integer
    """How many account leaves there are."""
    feed_count: Integer
    """How many feed leaves there are."""
    coverage_ppm: Integer
    """Share of (account, venue) reads that succeeded, in parts per million."""
    breaker_flags: Integer
    """Bitmap of circuit breakers: bit 0 says that the market is in its stressed regime."""


class SignedHeader(Document, frozen=True, kw_only=True):
    """A certificate in its canonical JSON (attest.formats.certificate.Certificate)."""

    version: Integer
    """Version of the certificate's format."""
    header: HeaderDocument
    """What was signed."""
    bitmap: Integer
    """Bit i is set where operator i signed."""
    signatures: tuple[Signature, ...]
    """In increasing operator index."""


class LeafDocument(Document, frozen=True, kw_only=True):
    """An account leaf as the contract takes it: the fields of the Solidity struct in its order, as decimal strings.

    Dollar amounts have 8 decimals, the health has 18; a health of 2^128 - 1 says that nothing is owed.
    """

    subject: Hash32
    """The account, as the last 20 bytes of a word."""
    score: Integer
    """0 is safest, 1000 certain to be liquidated within 24 hours."""
    liquidation_probability_ppm: Integer
    """Of any silo within 24 hours, in parts per million."""
    insolvency_probability_ppm: Integer
    """Of debts exceeding collateral after a liquidation, in parts per million."""
    expected_loss: Integer
    """US dollars with 8 decimals."""
    equity: Integer
    """What is held minus what is owed, US dollars with 8 decimals."""
    initial_margin: Integer
    """Needed to open the portfolio, US dollars with 8 decimals."""
    maintenance_margin: Integer
    """Below it the portfolio should be closed, US dollars with 8 decimals."""
    worst_grid_loss: Integer
    """Largest loss in the deterministic scenarios, US dollars with 8 decimals."""
    min_health: Integer
    """Lowest health of a silo with 18 decimals; 2^128 - 1 where nothing is owed."""
    venue_coverage: Integer
    """Bit i is set where venue i was read completely; by name in the account's `coverage`."""
    flags: Integer
    """Bitmap of reasons to read the result with care (docs/attestation-format.md)."""
    positions_commitment: Hash32
    """Merkle root over the salted positions: single ones can be shown without the rest."""


class DestinationDocument(Document, frozen=True, kw_only=True):
    """A contract that accepts the certificate."""

    chain_id: ChainId
    """On which chain."""
    oracle: Address
    """Address of the RiskOracle."""


class AttestationDocument(Document, frozen=True, kw_only=True, tag_field="format", tag="plimsoll-attestation-1"):
    """All that a stranger needs to check one account's leaf; input of ``plimsoll verify``.

    The operators and destinations are this node's word: the contract's own list decides (`check_attestation` checks
    that the document is consistent, the contract that it is true).
    """

    subject: Address
    """The account."""
    round: RoundNumber
    """The round."""
    report_hash: Hash32
    """EIP-712 struct hash of the header."""
    leaf: Hexadecimal
    """ABI encoding of the leaf: type hash and words."""
    proof: tuple[Hash32, ...]
    """Siblings from the leaf to the accounts root."""
    certificate: SignedHeader
    """The header with the signatures of a quorum."""
    operators: tuple[Address, ...]
    """Attestation addresses of the committee, in the order of the bitmap."""
    destinations: tuple[DestinationDocument, ...]
    """The contracts that accept the certificate."""


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
