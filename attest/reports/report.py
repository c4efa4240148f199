"""From assessments to a report: account leaves, their proofs, and the header that the quorum signs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from attest.agreement.outcome import Outcome, pins_root, values_root
from attest.agreement.state import AgreedState
from attest.agreement.state_format import state_root
from attest.encoding.keccak import keccak256
from attest.encoding.merkle import EMPTY_ROOT, build_tree, prove
from attest.formats.header import ReportHeader, report_hash
from attest.formats.leaf import encode_leaf, leaf_hash
from attest.reports.leaves import account_leaf
from riskschema.assessment import Assessment
from riskschema.codec import encode_json
from riskschema.portfolio import Portfolio
from riskschema.rounds import StoredAccount
from riskschema.units import Hash32


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one round says, before anyone signed it."""

    header: ReportHeader
    accounts: tuple[StoredAccount, ...]

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
    portfolios: Sequence[Portfolio],
    coverage: Sequence[int],
    coverage_ppm: int,
    assessments: Sequence[Assessment],
    array_rows: Sequence[bytes],
    model: Model,
    breakers: int = 0,
) -> Report:
    """Return header and accounts; equal inputs give equal bytes.

    Args:
        config_digest: The committee's.
        outcome: The round's agreed input.
        state: The state after the round.
        portfolios: As read at the pins, sorted by subject.
        coverage: Per portfolio, the bitmap of the committee's venues that were read completely.
        coverage_ppm: Share of (account, venue) reads that succeeded, in parts per million.
        assessments: One per portfolio.
        array_rows: Canonical bytes of every row of the risk arrays.
        model: Parameters and version used.
        breakers: The header's bitmap of circuit breakers.
    """
    leaves = [
        account_leaf(config_digest, outcome.round, portfolio, assessment, covered)
        for portfolio, assessment, covered in zip(portfolios, assessments, coverage, strict=True)
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
        coverage_ppm=coverage_ppm,
        breaker_flags=breakers,
    )
    stored = [
        StoredAccount(
            subject=assessment.subject,
            leaf=encode_leaf(leaf),
            proof=tuple(Hash32(node) for node in prove(tree, hashed)),
            assessment=encode_json(assessment),
            portfolio=encode_json(portfolio),
        )
        for leaf, hashed, assessment, portfolio in zip(leaves, hashes, assessments, portfolios, strict=True)
    ]
    return Report(header=header, accounts=tuple(stored))


def arrays_root(rows: Sequence[bytes]) -> bytes:
    """Return the Merkle root over keccak(keccak(row)) of the canonical row bytes."""
    return build_tree([keccak256(keccak256(row)) for row in rows]).root
