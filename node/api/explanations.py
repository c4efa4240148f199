"""An account in sentences, and what would earn it a better grade: computed when it is asked for, a few at a time."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from attest.reports.attestation import CertifiedReport, Document, RoundNumber
from node.api.documents import read_kept
from node.api.problems import Problem
from riskschema.assessment import Assessment, Grade, Improvement, Score
from riskschema.codec import decode_json
from riskschema.instruments import Timestamp
from riskschema.market import AgreedMarket
from riskschema.portfolio import Portfolio
from riskschema.rounds import StoredAccount, StoredReport
from riskschema.units import Address, Hash32

MAX_WAITING = 8
"""Explanations that wait for the one under way; who comes then is told to come again."""


class Explained(Protocol):
    """What is said of an account besides its assessment."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What `plimsoll explain` prints."""
        ...

    @property
    def improvements(self) -> tuple[Improvement, ...]:
        """Cheapest first."""
        ...


class Explains(Protocol):
    """Assesses an account of a round again."""

    def ready(self) -> Awaitable[bool]:
        """Return whether it can, after waiting some seconds for what it takes."""
        ...

    def explain(
        self, report: StoredReport, portfolio: Portfolio, kept: Assessment, agreed: AgreedMarket
    ) -> Awaitable[Explained | None]:
        """Return what is said of it; None where this program computes another assessment than the one kept."""
        ...


class ExplanationDocument(Document, frozen=True, kw_only=True):
    """An account's assessment in sentences, and the smallest changes that would earn a better grade."""

    subject: Address
    """The account."""
    round: RoundNumber
    """The round; the latest certified one unless another was asked for."""
    report_hash: Hash32
    """What the committee signed."""
    observed_at: Timestamp
    """Unix seconds of prices and positions."""
    score: Score
    """As attested: 0 is safest, 1000 certain to be liquidated within 24 hours."""
    grade: Grade
    """The score in words, as attested."""
    sentences: tuple[str, ...]
    """How likely a liquidation is and where, what oracles do not see, what the margin is for, and what helps."""
    improvements: tuple[Improvement, ...]
    """Of each kind of action the cheapest that earns a better grade, cheapest first. Computed by this node from the
    round's own prices and positions, and attested by nobody; none where the grade is the best or nothing helps."""


class Explaining:
    """Explains accounts, bounded: one at a time, and few waiting."""

    def __init__(self, explains: Explains | None) -> None:
        self._explains = explains
        self._waiting = 0

    async def document(
        self, certified: CertifiedReport, account: StoredAccount, market: bytes | None
    ) -> ExplanationDocument:
        """Explain an account of a certified report.

        Raises:
            Problem: too many wait, the engine is not loaded yet, or the round was kept by another version.
            PlimsollError: what is kept cannot be read.
        """
        number = certified.report.round
        if self._explains is None or account.portfolio is None or market is None:
            raise _not_kept(number, "what it would take to assess it again is not kept")
        if self._waiting >= MAX_WAITING:
            raise Problem(503, "overloaded", "other accounts are being explained", headers={"Retry-After": "2"})
        assessment, portfolio = read_kept(account.assessment, Assessment), read_kept(account.portfolio, Portfolio)
        if assessment is None or portfolio is None:
            raise _not_kept(number, "it was kept by a version whose assessments have another form")
        self._waiting += 1
        try:
            if not await self._explains.ready():
                detail = "what accounts are assessed with is being loaded, for the first explanation of this process"
                raise Problem(503, "overloaded", detail, headers={"Retry-After": "5"})
            agreed = decode_json(market, AgreedMarket, what="market")
            found = await self._explains.explain(certified.report, portfolio, assessment, agreed)
        finally:
            self._waiting -= 1
        if found is None:
            raise _not_kept(number, "it was computed by another version, or with other parameters")
        return ExplanationDocument(
            subject=account.subject,
            round=number,
            report_hash=certified.report.report_hash,
            observed_at=certified.certificate.header.observed_at,
            score=assessment.score,
            grade=assessment.grade,
            sentences=found.sentences,
            improvements=found.improvements,
        )


def _not_kept(round_number: int, why: str) -> Problem:
    return Problem(404, "not_kept", f"round {round_number} cannot be explained: {why}", round_number=round_number)
