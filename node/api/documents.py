"""What the HTTP API answers: accounts, explained and proved, and rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from attest.formats.certificate import signer_indices
from attest.formats.committee import Committee
from attest.reports.attestation import (
    AttestationDocument,
    CertifiedReport,
    DestinationDocument,
    Document,
    LeafDocument,
    RoundNumber,
    SignedHeader,
    attestation_document,
    decode_account_leaf,
    destination_documents,
    leaf_document,
    refuse_unless,
)
from riskschema.assessment import Assessment
from riskschema.codec import decode_json
from riskschema.instruments import ChainId, Timestamp
from riskschema.rounds import StoredAccount, StoredTransaction
from riskschema.units import Address, Hash32, Probability


class TransactionDocument(Document, frozen=True, kw_only=True):
    """The transaction that published a round on one chain."""

    chain_id: ChainId
    hash: Hash32
    status: str
    """``pending``, ``landed`` (may still be reorganised away), ``final``, ``failed``, ``abandoned``."""
    block_number: int | None
    gas_used: int | None


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


def account_document(certified: CertifiedReport, account: StoredAccount, committee: Committee) -> AccountDocument:
    """Put together what is known of one account in a certified report.

    Raises:
        InvalidData: the kept leaf or assessment does not decode.
    """
    header = certified.certificate.header
    return AccountDocument(
        subject=account.subject,
        round=certified.report.round,
        report_hash=certified.report.report_hash,
        observed_at=header.observed_at,
        valid_until=header.valid_until,
        leaf=leaf_document(decode_account_leaf(account.leaf)),
        assessment=decode_json(account.assessment, Assessment, what="assessment"),
        attestation=attestation_document(certified, account, committee),
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
        destinations=destination_documents(committee),
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
    leaf = decode_account_leaf(bytes.fromhex(attestation.leaf[2:]))
    refuse_unless(answer.leaf == leaf_document(leaf), "the leaf that is shown is not the attested one")
    for name in ("subject", "round", "report_hash"):
        refuse_unless(getattr(answer, name) == getattr(attestation, name), f"{name} is not that of the attestation")
    read = (shown.subject, shown.score, shown.liquidation_probability, shown.insolvency_probability)
    attested = (attestation.subject, leaf.score, leaf.liquidation_probability_ppm, leaf.insolvency_probability_ppm)
    refuse_unless(read == attested, "the assessment is not the attested one")


def _transaction(transaction: StoredTransaction) -> TransactionDocument:
    return TransactionDocument(
        chain_id=transaction.chain_id,
        hash=transaction.hash,
        status=transaction.status,
        block_number=transaction.block_number,
        gas_used=transaction.gas_used,
    )
