"""One subject's leaf: its assessment in the words that the contract reads, and the commitment to its positions."""

from __future__ import annotations

from attest.encoding.keccak import keccak256
from attest.formats.commitment import CommittedPosition, commit_positions
from attest.formats.leaf import NO_DEBT, AccountLeaf, subject_of
from riskschema.assessment import Assessment
from riskschema.codec import encode_json
from riskschema.flags import flag_bits
from riskschema.portfolio import Portfolio

UINT128 = 2**128 - 1
INT128 = 2**127 - 1
INT256 = 2**255 - 1


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
