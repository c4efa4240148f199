"""What the HTTP API answers: accounts, explained and proved, and rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar, cast

from msgspec import Meta

from attest.formats.certificate import signer_indices
from attest.formats.committee import MAX_VENUES, Committee, config_digest
from attest.formats.leaf import NO_DEBT
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
from node.api.holdings import (
    PositionDocument,
    PriceDocument,
    RestrictionDocument,
    held_factors,
    position_documents,
    price_documents,
    restriction_documents,
)
from riskschema.assessment import Assessment, Grade, Score
from riskschema.codec import decode_json
from riskschema.errors import InvalidData
from riskschema.flags import flags_of
from riskschema.instruments import ChainId, Timestamp, VenueId, protocol_of
from riskschema.market import AgreedMarket
from riskschema.portfolio import Aside, Portfolio
from riskschema.rounds import RoundReading, StoredAccount, StoredTransaction
from riskschema.units import Address, Hash32, Probability, Usd, Wad

T = TypeVar("T")


class TransactionDocument(Document, frozen=True, kw_only=True):
    """The transaction that published a round on one chain."""

    chain_id: ChainId
    """Where it was sent."""
    hash: Hash32
    """Its hash."""
    status: str
    """``pending``, ``landed`` (may still be reorganised away), ``final``, ``failed``, ``abandoned``."""
    block_number: int | None
    """In which block it landed; null until then."""
    gas_used: int | None
    """What it used; null until it landed."""


class CoverageDocument(Document, frozen=True, kw_only=True):
    """Whether one venue was read completely for the account: a bit of the leaf's `venue_coverage`, by name."""

    venue: VenueId
    """The protocol deployment."""
    bit: Annotated[int, Meta(ge=0, lt=MAX_VENUES)]
    """Place in `venue_coverage`: what a contract asks for is the sum of 2^bit."""
    read: bool
    """False: part of the account there could not be read (see `assessment.unread`); unknown, not zero."""


class AccountDocument(Document, frozen=True, kw_only=True, tag_field="format", tag="plimsoll-account-1"):
    """An account's attested assessment in one round, explained and proved."""

    subject: Address
    """The account."""
    round: RoundNumber
    """The round; the latest certified one unless another was asked for."""
    report_hash: Hash32
    """What the committee signed."""
    observed_at: Timestamp
    """Unix seconds of prices and positions."""
    valid_until: Timestamp
    """Unix seconds after which contracts refuse the report."""
    leaf: LeafDocument
    """The account in the report, as the contract takes it."""
    assessment: Assessment | None
    """The leaf in units that people read, with its explanation. Null: the round was kept by a version whose assessments
    have another form; the leaf is what it always was."""
    coverage: tuple[CoverageDocument, ...]
    """Every venue of the committee, in the order of the bits."""
    aside: tuple[Aside, ...] | None
    """What is held besides, whose worth nobody can tell and that backs no debt: counted nowhere. Null likewise."""
    restrictions: tuple[RestrictionDocument, ...] | None
    """What venues let nobody do with it now; no figure depends on it. Null likewise."""
    positions: tuple[PositionDocument, ...] | None
    """What the account holds and owes. Null: the round was kept by a version that did not store positions so."""
    prices: tuple[PriceDocument, ...] | None
    """The agreed prices that these positions follow. Null: the round was kept by a version that did not store them."""
    attestation: AttestationDocument
    """What proves the leaf: the input of ``plimsoll verify``."""


class AccountSummary(Document, frozen=True, kw_only=True):
    """One account of a list, without explanation and proof."""

    subject: Address
    """The account: ask ``/v1/accounts/{subject}`` for the rest."""
    score: Score
    """0 is safest, 1000 certain to be liquidated within 24 hours."""
    grade: Grade | None
    """The score in words. Null: the round was kept by a version whose assessments have another form."""
    liquidation_probability: Probability
    """Of any silo within 24 hours; an upper bound."""
    equity: Usd
    """What is held minus what is owed."""
    initial_margin: Usd
    """What the portfolio needs to be opened."""
    maintenance_margin: Usd
    """Below it the portfolio should be closed."""
    min_health: Wad | None
    """The lowest health of a silo, as its venue computes it; null where nothing is owed, or it is not known."""
    flags: tuple[str, ...]
    """Reasons to read the result with care."""


class AccountsDocument(Document, frozen=True, kw_only=True):
    """A page of the accounts of a round, by address."""

    round: RoundNumber
    """The round of all pages."""
    report_hash: Hash32
    """What the committee signed."""
    observed_at: Timestamp
    """Unix seconds of prices and positions."""
    total: int
    """How many accounts the round has on all pages."""
    accounts: tuple[AccountSummary, ...]
    """This page."""
    next: str | None
    """Path of the next page, of the same round; null on the last one."""


class MarketDocument(Document, frozen=True, kw_only=True):
    """The market that the assessments of a round are based on."""

    round: RoundNumber
    """The round."""
    report_hash: Hash32
    """What the committee signed."""
    observed_at: Timestamp
    """Unix seconds at which the round looked at the market."""
    prices: tuple[PriceDocument, ...]
    """By factor."""


class VenueDocument(Document, frozen=True, kw_only=True):
    """A protocol deployment that the committee reads."""

    venue: VenueId
    """Its name, `protocol:chain id:deployment`."""
    bit: Annotated[int, Meta(ge=0, lt=MAX_VENUES)]
    """Place in a leaf's `venue_coverage`."""
    protocol: str
    """What is deployed there."""
    chain_id: ChainId
    """On which chain."""
    start_block: int
    """Accounts are those that an event of this block or a later one names."""
    account_cap: int
    """Most accounts that this venue contributes."""
    unproved: tuple[str, ...] | None
    """Lists of its holders that nobody can prove complete, in the latest certified round. Null: not known."""


class VenuesDocument(Document, frozen=True, kw_only=True):
    """Where the committee looks for accounts."""

    config_digest: Hash32
    """The committee's hash; another committee may read other venues."""
    venues: tuple[VenueDocument, ...]
    """In the order of the bits."""


class RoundDocument(Document, frozen=True, kw_only=True):
    """A certified round."""

    round: RoundNumber
    """The round."""
    report_hash: Hash32
    """What the committee signed."""
    observed_at: Timestamp
    """Unix seconds of prices and positions."""
    valid_until: Timestamp
    """Unix seconds after which contracts refuse the report."""
    accounts: int
    """How many account leaves it has."""
    feeds: int
    """How many feed leaves it has."""
    coverage: Probability
    """Share of (account, venue) reads that succeeded."""
    signers: tuple[Address, ...]
    """Attestation addresses of the operators that signed."""
    reading: RoundReading | None
    """What the report leaves out, and whose word it is. Null: the round was kept by a version that did not store it."""
    transactions: tuple[TransactionDocument, ...]
    """Those that published it, one per chain at most."""
    certificate: SignedHeader
    """The header with its signatures."""
    destinations: tuple[DestinationDocument, ...]
    """The contracts that accept it."""


def account_document(
    certified: CertifiedReport, account: StoredAccount, market: bytes | None, committee: Committee
) -> AccountDocument:
    """Put together what is known of one account in a certified report.

    Args:
        certified: The report.
        account: As it was kept.
        market: The round's market as it was kept; None: an earlier version did not.
        committee: Names operators and venues.

    Raises:
        InvalidData: what is kept is damaged.
    """
    header = certified.certificate.header
    leaf = decode_account_leaf(account.leaf)
    assessment = read_kept(account.assessment, Assessment)
    portfolio = None if account.portfolio is None else read_kept(account.portfolio, Portfolio)
    agreed = None if market is None else decode_json(market, AgreedMarket, what="market")
    return AccountDocument(
        subject=account.subject,
        round=certified.report.round,
        report_hash=certified.report.report_hash,
        observed_at=header.observed_at,
        valid_until=header.valid_until,
        leaf=leaf_document(leaf),
        assessment=assessment,
        coverage=tuple(
            CoverageDocument(venue=rule.venue, bit=bit, read=bool(leaf.venue_coverage >> bit & 1))
            for bit, rule in enumerate(committee.venues)
        ),
        aside=None if portfolio is None else portfolio.aside,
        restrictions=None if portfolio is None else restriction_documents(portfolio),
        positions=None if portfolio is None else position_documents(portfolio, assessment, agreed),
        prices=None if portfolio is None or agreed is None else price_documents(agreed, held_factors(portfolio)),
        attestation=attestation_document(certified, account, committee),
    )


def accounts_document(
    certified: CertifiedReport, page: Sequence[StoredAccount], following: str | None
) -> AccountsDocument:
    """Put together a page of accounts.

    Raises:
        InvalidData: a kept leaf or assessment is damaged.
    """
    header = certified.certificate.header
    return AccountsDocument(
        round=certified.report.round,
        report_hash=certified.report.report_hash,
        observed_at=header.observed_at,
        total=header.account_count,
        accounts=tuple(map(_summary, page)),
        next=following,
    )


def market_document(certified: CertifiedReport, market: bytes) -> MarketDocument:
    """Put together the market of a certified round.

    Raises:
        InvalidData: what is kept does not decode.
    """
    return MarketDocument(
        round=certified.report.round,
        report_hash=certified.report.report_hash,
        observed_at=certified.certificate.header.observed_at,
        prices=price_documents(decode_json(market, AgreedMarket, what="market")),
    )


def venues_document(committee: Committee, reading: bytes | None) -> VenuesDocument:
    """Put together what the committee reads, and what is known of it since the latest round."""
    kept = None if reading is None else decode_json(reading, RoundReading, what="reading")
    unproved = {} if kept is None else {each.venue: each.books for each in kept.unproved}
    return VenuesDocument(
        config_digest=Hash32(config_digest(committee)),
        venues=tuple(
            VenueDocument(
                venue=rule.venue,
                bit=bit,
                protocol=protocol_of(rule.venue),
                chain_id=rule.chain_id,
                start_block=rule.start_block,
                account_cap=rule.account_cap,
                unproved=None if kept is None else unproved.get(rule.venue, ()),
            )
            for bit, rule in enumerate(committee.venues)
        ),
    )


def round_document(
    certified: CertifiedReport,
    transactions: Sequence[StoredTransaction],
    reading: bytes | None,
    committee: Committee,
) -> RoundDocument:
    """Put together what is known of a certified round.

    Raises:
        InvalidData: what is kept does not decode.
    """
    header = certified.certificate.header
    return RoundDocument(
        round=certified.report.round,
        report_hash=certified.report.report_hash,
        observed_at=header.observed_at,
        valid_until=header.valid_until,
        accounts=header.account_count,
        feeds=header.feed_count,
        coverage=Probability(header.coverage_ppm),
        reading=None if reading is None else decode_json(reading, RoundReading, what="reading"),
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
    if shown is None:
        return
    read = (shown.subject, shown.score, shown.liquidation_probability, shown.insolvency_probability)
    attested = (attestation.subject, leaf.score, leaf.liquidation_probability_ppm, leaf.insolvency_probability_ppm)
    refuse_unless(read == attested, "the assessment is not the attested one")


def _summary(account: StoredAccount) -> AccountSummary:
    """Return an account in a line; all but the grade is in the leaf, whatever form the assessment has."""
    leaf, assessment = decode_account_leaf(account.leaf), read_kept(account.assessment, Assessment)
    return AccountSummary(
        subject=account.subject,
        score=leaf.score,
        grade=None if assessment is None else assessment.grade,
        liquidation_probability=Probability(leaf.liquidation_probability_ppm),
        equity=Usd(leaf.equity),
        initial_margin=Usd(leaf.initial_margin),
        maintenance_margin=Usd(leaf.maintenance_margin),
        min_health=None if leaf.min_health in (0, NO_DEBT) else Wad(leaf.min_health),
        flags=flags_of(leaf.flags),
    )


def read_kept(document: bytes, kind: type[T]) -> T | None:
    """Read what a round kept; None where it is whole, but in the form of another version.

    Raises:
        InvalidData: it is damaged.
    """
    try:
        return decode_json(document, kind, what=kind.__name__)
    except InvalidData:
        decode_json(document, dict, what=kind.__name__)
        return None


def _transaction(transaction: StoredTransaction) -> TransactionDocument:
    return TransactionDocument(
        chain_id=transaction.chain_id,
        hash=transaction.hash,
        status=transaction.status,
        block_number=transaction.block_number,
        gas_used=transaction.gas_used,
    )
