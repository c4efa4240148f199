"""From assessments to a report: account leaves, their proofs, and the header that the quorum signs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from attest.agreement.outcome import Outcome, pins_root, values_root
from attest.agreement.state import AgreedState
from attest.agreement.state_format import state_root
from attest.encoding.keccak import keccak256
from attest.encoding.merkle import EMPTY_ROOT, build_tree, prove
from attest.formats.commitment import CommittedPosition, commit_positions
from attest.formats.header import ReportHeader, report_hash
from attest.formats.leaf import NO_DEBT, AccountLeaf, encode_leaf, leaf_hash, subject_of
from node.round.reading import Reading
from riskschema.assessment import Assessment
from riskschema.codec import encode_json
from riskschema.portfolio import Portfolio
from riskschema.rounds import StoredLeaf
from riskschema.units import Hash32

UINT128 = 2**128 - 1
INT128 = 2**127 - 1
INT256 = 2**255 - 1

FLAG_BITS = {
    "history_simulated": 0,
    "history_short": 1,
    "history_filled": 2,
    "quote_stale": 3,
    "venue_unread": 4,
    "unpriced": 5,
    "saturated": 6,
}
"""Bit of each flag in `AccountLeaf.flags`; an unlisted flag sets bit 31."""
OTHER_FLAG = 31


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one round says, before anyone signed it."""

    header: ReportHeader
    leaves: tuple[StoredLeaf, ...]

    @property
    def hash(self) -> bytes:
        """The report's identity."""
        return report_hash(self.header)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Which parameters and version of the model made the arrays."""

    parameters_hash: Hash32
    """Of the model's and the agreement's parameters together."""
    version: int


def build_report(
    *,
    config_digest: bytes,
    outcome: Outcome,
    state: AgreedState,
    reading: Reading,
    assessments: Sequence[Assessment],
    array_rows: Sequence[bytes],
    model: Model,
    breakers: int = 0,
) -> Report:
    """Return header and leaves; equal inputs give equal bytes.

    Args:
        config_digest: The committee's.
        outcome: The round's agreed input.
        state: The state after the round.
        reading: Portfolios and coverage, in the order of `assessments`.
        assessments: One per portfolio.
        array_rows: Canonical bytes of every row of the risk arrays.
        model: Parameters and version used.
        breakers: The header's bitmap of circuit breakers.
    """
    leaves = [
        account_leaf(config_digest, outcome.round, portfolio, assessment, coverage)
        for portfolio, assessment, coverage in zip(reading.portfolios, assessments, reading.coverage, strict=True)
    ]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    tree = build_tree(hashes)
    header = ReportHeader(
        config_digest=config_digest,
        round=outcome.round,
        parent=outcome.parent.report_hash,
        state_root=state_root(state),
        observed_at=outcome.observed_at,
        valid_until=outcome.valid_until,
        pins_root=pins_root(outcome.pins),
        market_root=values_root(outcome.values),
        arrays_root=arrays_root(array_rows),
        parameters_hash=model.parameters_hash.to_bytes(),
        model_version=model.version,
        accounts_root=tree.root,
        feeds_root=EMPTY_ROOT,
        account_count=len(leaves),
        feed_count=0,
        coverage_ppm=reading.coverage_ppm,
        breaker_flags=breakers,
    )
    stored = [
        StoredLeaf(
            subject=assessment.subject,
            leaf=encode_leaf(leaf),
            proof=tuple(Hash32(node) for node in prove(tree, hashed)),
            assessment=encode_json(assessment),
        )
        for leaf, hashed, assessment in zip(leaves, hashes, assessments, strict=True)
    ]
    return Report(header=header, leaves=tuple(stored))


def account_leaf(
    config_digest: bytes, round_number: int, portfolio: Portfolio, assessment: Assessment, coverage: int
) -> AccountLeaf:
    """Return the leaf of one subject. Amounts beyond their word are capped, never wrapped."""
    subject = subject_of(assessment.subject)
    return AccountLeaf(
        subject=subject,
        score=assessment.score,
        liquidation_probability_ppm=int(assessment.liquidation_probability),
        insolvency_probability_ppm=int(assessment.insolvency_probability),
        expected_loss=min(int(assessment.expected_loss), UINT128),
        equity=max(-INT128, min(int(assessment.equity), INT128)),
        initial_margin=min(int(assessment.initial_margin), UINT128),
        maintenance_margin=min(int(assessment.maintenance_margin), UINT128),
        worst_grid_loss=min(max(int(assessment.worst_grid_loss), 0), UINT128),
        min_health=_least_health(assessment),
        venue_coverage=coverage,
        flags=flag_bits(assessment.flags),
        positions_commitment=positions_commitment(config_digest, round_number, subject, portfolio),
    )


def _least_health(assessment: Assessment) -> int:
    """Return the lowest health; 0 where none is known and a venue is unread: the debts there are not zero."""
    if assessment.min_health is None:
        return 0 if assessment.unread else NO_DEBT
    return min(int(assessment.min_health), NO_DEBT - 1)


def flag_bits(flags: Sequence[str]) -> int:
    """Return the leaf's bitmap of an assessment's flags."""
    bits = 0
    for flag in flags:
        bits |= 1 << FLAG_BITS.get(flag, OTHER_FLAG)
    return bits


def positions_commitment(config_digest: bytes, round_number: int, subject: bytes, portfolio: Portfolio) -> bytes:
    """Return the root over all positions, silo by silo in the portfolio's order.

    A position's key is keccak of the silo's id, a zero byte and the instrument's JSON. A quantity beyond its word is
    capped: a token may tell any balance, and must not stop the report.
    """
    positions = [
        CommittedPosition(
            position=keccak256(silo.id.encode() + b"\0" + encode_json(position.instrument)),
            quantity=max(-INT256, min(int(position.quantity), INT256)),
        )
        for silo in portfolio.silos
        for position in silo.positions
    ]
    tree = commit_positions(
        config_digest=config_digest, round_number=round_number, subject=subject, positions=positions
    )
    return tree.root


def arrays_root(rows: Sequence[bytes]) -> bytes:
    """Return the Merkle root over keccak(keccak(row)) of the canonical row bytes."""
    return build_tree([keccak256(keccak256(row)) for row in rows]).root
