"""From the store to the bytes of an answer, encoded once per (account, round) and kept within bounds."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from attest.formats.committee import Committee, config_digest
from attest.reports.attestation import CertifiedReport, attestation_document, certified_report
from node.api.documents import (
    account_document,
    accounts_document,
    market_document,
    round_document,
    venues_document,
)
from node.api.explanations import Explaining, Explains
from node.api.problems import Problem
from node.status import CertifiedRound, NodeStatus
from riskschema.codec import encode_json
from riskschema.errors import PlimsollError
from riskschema.ports import Clock, Store
from riskschema.rounds import StoredAccount
from riskschema.units import Address, Hash32

T = TypeVar("T")

MAX_ANSWERS = 8192
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_REPORTS = 64
LATEST_SECONDS = 1.0
"""How long an answer may be old that another process could change: the latest round, a pending transaction."""
DATABASE = "database reads"
MAX_DETAIL = 1_000


class Answer(msgspec.Struct, frozen=True):
    """The bytes of an answer and how long they hold."""

    body: bytes
    etag: str
    expires: float | None
    """Unix seconds after which it is made anew; None if it never changes."""
    observed_at: int
    """Unix seconds of the round's prices and positions."""


class AnswerCache:
    """The most recently used answers, bounded in number and bytes."""

    def __init__(self, *, max_answers: int, max_bytes: int) -> None:
        self._answers: OrderedDict[tuple[Any, ...], Answer] = OrderedDict()
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: tuple[Any, ...], now: float) -> Answer | None:
        """Return a kept answer that still holds."""
        answer = self._answers.get(key)
        if answer is None or (answer.expires is not None and now >= answer.expires):
            return None
        self._answers.move_to_end(key)
        return answer

    def put(self, key: tuple[Any, ...], answer: Answer) -> None:
        """Keep an answer; the longest unused ones make room."""
        replaced = self._answers.pop(key, None)
        self.bytes += len(answer.body) - (len(replaced.body) if replaced else 0)
        self._answers[key] = answer
        while len(self._answers) > self._max_answers or self.bytes > self._max_bytes:
            _, dropped = self._answers.popitem(last=False)
            self.bytes -= len(dropped.body)


class Answers:
    """Every answer about rounds and accounts.

    Args:
        store: Read only.
        committee: Whose reports are shown.
        status: Tells of new rounds; learns of failing reads.
        clock: Time.
        explains: Assesses accounts again; None: nothing is explained.
        max_answers: Most answers kept.
        max_bytes: Most bytes kept.
    """

    def __init__(
        self,
        *,
        store: Store,
        committee: Committee,
        status: NodeStatus,
        clock: Clock,
        explains: Explains | None = None,
        max_answers: int = MAX_ANSWERS,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._store = store
        self._committee = committee
        self._network = Hash32(config_digest(committee))
        self._status = status
        self._clock = clock
        self._explaining = Explaining(explains)
        self._cache = AnswerCache(max_answers=max_answers, max_bytes=max_bytes)
        self._reports: OrderedDict[int, CertifiedReport] = OrderedDict()
        self._latest: CertifiedReport | None = None
        self._latest_at = 0.0
        self._latest_known: CertifiedRound | None = None
        self._looking = asyncio.Lock()

    async def account(self, subject: Address, round_number: int | None) -> Answer:
        """Return assessment, leaf, proof and certificate of an account.

        Args:
            subject: The account.
            round_number: Which round; None for the latest certified one.

        Raises:
            Problem: no such round, or the account is not in it.
            PlimsollError: the store failed.
        """
        certified = await self._certified(round_number)
        key = ("account", subject, certified.report.round)
        answer = self._cache.get(key, 0.0)
        if answer is None:
            account = await self._account(certified, subject)
            market = await self._market(certified)
            answer = self._keep(key, account_document(certified, account, market, self._committee), certified)
        return answer

    async def attestation(self, subject: Address, round_number: int | None) -> Answer:
        """Return only what ``plimsoll verify`` reads; arguments and errors as `account`."""
        certified = await self._certified(round_number)
        key = ("attestation", subject, certified.report.round)
        answer = self._cache.get(key, 0.0)
        if answer is None:
            account = await self._account(certified, subject)
            answer = self._keep(key, attestation_document(certified, account, self._committee), certified)
        return answer

    async def explanation(self, subject: Address, round_number: int | None) -> Answer:
        """Return an account in sentences, and what would earn it a better grade; arguments and errors as `account`."""
        certified = await self._certified(round_number)
        key = ("explanation", subject, certified.report.round)
        answer = self._cache.get(key, 0.0)
        if answer is None:
            account = await self._account(certified, subject)
            market = await self._market(certified)
            answer = self._keep(key, await self._explaining.document(certified, account, market), certified)
        return answer

    async def accounts(self, round_number: int | None, after: Address | None, limit: int) -> Answer:
        """Return a page of a round's accounts.

        Args:
            round_number: Which round; None for the latest certified one.
            after: Only addresses above this one; None from the beginning.
            limit: Most accounts of the page.

        Raises:
            Problem: no such round.
            PlimsollError: the store failed.
        """
        certified = await self._certified(round_number)
        number = certified.report.round
        key = ("accounts", after, limit, number)
        answer = self._cache.get(key, 0.0)
        if answer is None:
            found = await self._read(self._store.accounts(self._network, number, after=after, limit=limit + 1))
            page = found[:limit]
            more = f"/v1/accounts?round={number}&after={page[-1].subject}&limit={limit}" if len(found) > limit else None
            answer = self._keep(key, accounts_document(certified, page, more), certified)
        return answer

    async def market(self, round_number: int | None) -> Answer:
        """Return the agreed prices of a round.

        Raises:
            Problem: no such round, or it was kept without its market.
            PlimsollError: the store failed.
        """
        certified = await self._certified(round_number)
        key = ("market", certified.report.round)
        answer = self._cache.get(key, 0.0)
        if answer is None:
            market = await self._market(certified)
            if market is None:
                number = certified.report.round
                detail = f"round {number} was kept by a version that did not store the market"
                raise Problem(404, "not_kept", detail, round_number=number)
            answer = self._keep(key, market_document(certified, market), certified)
        return answer

    async def round(self, round_number: int | None) -> Answer:
        """Return a certified round with its transactions.

        Raises:
            Problem: no such round.
            PlimsollError: the store failed.
        """
        certified = await self._certified(round_number)
        key = ("round", certified.report.round)
        answer = self._cache.get(key, self._clock.now())
        if answer is None:
            chains = sorted({destination.chain_id for destination in self._committee.destinations})
            found = [await self._read(self._transaction(chain, certified.report.round)) for chain in chains]
            transactions = [transaction for transaction in found if transaction is not None]
            settled = len(transactions) == len(chains) and all(each.status == "final" for each in transactions)
            expires = None if settled else self._clock.now() + LATEST_SECONDS
            document = round_document(certified, transactions, await self._reading(certified), self._committee)
            answer = self._keep(key, document, certified, expires=expires)
        return answer

    async def venues(self) -> bytes:
        """Return what the committee reads, with what the latest round says of it; without that where it cannot be read.

        Raises:
            PlimsollError: the store failed.
        """
        try:
            certified = await self._latest_certified()
        except Problem:
            return encode_json(venues_document(self._committee, None))
        key = ("venues", certified.report.round)
        answer = self._cache.get(key, 0.0)
        if answer is None:
            answer = self._keep(key, venues_document(self._committee, await self._reading(certified)), certified)
        return answer.body

    async def _certified(self, round_number: int | None) -> CertifiedReport:
        if round_number is None:
            return await self._latest_certified()
        kept = self._reports.get(round_number)
        if kept is None:
            report = await self._read(self._store.report(self._network, round_number))
            kept = certified_report(report) if report is not None else None
            if kept is None:
                raise _round_unknown(round_number)
            self._remember(kept)
        return kept

    async def _latest_certified(self) -> CertifiedReport:
        if latest := self._fresh_latest():
            return latest
        async with self._looking:
            if latest := self._fresh_latest():
                return latest
            known = self._status.certified
            report = await self._read(self._store.latest_certified(self._network))
            found = certified_report(report) if report is not None else None
            if found is None:
                raise Problem(404, "round_unknown", "no round is certified yet", headers={"Retry-After": "5"})
            self._latest, self._latest_known, self._latest_at = found, known, self._clock.now()
            self._remember(found)
            return found

    def _fresh_latest(self) -> CertifiedReport | None:
        is_newest = self._latest_known is self._status.certified
        is_recent = 0 <= self._clock.now() - self._latest_at < LATEST_SECONDS
        return self._latest if is_newest and is_recent else None

    def _remember(self, certified: CertifiedReport) -> None:
        self._reports[certified.report.round] = certified
        if len(self._reports) > MAX_REPORTS:
            self._reports.popitem(last=False)

    async def _account(self, certified: CertifiedReport, subject: Address) -> StoredAccount:
        round_number = certified.report.round
        account = await self._read(self._store.account(self._network, round_number, subject))
        if account is None:
            if await self._read(self._store.report(self._network, round_number)) is None:  # pruned since it was kept
                self._reports.pop(round_number, None)
                raise _round_unknown(round_number)
            venues = ", ".join(rule.venue for rule in self._committee.venues)
            detail = (
                f"{subject} is not in the report of round {round_number}: no event of these venues names it, "
                f"or a cap on accounts leaves it out: {venues}"
            )[:MAX_DETAIL]
            raise Problem(404, "account_unknown", detail, field="path.address", round_number=round_number)
        return account

    def _market(self, certified: CertifiedReport) -> Awaitable[bytes | None]:
        return self._read(self._store.market(self._network, certified.report.round))

    def _reading(self, certified: CertifiedReport) -> Awaitable[bytes | None]:
        return self._read(self._store.reading(self._network, certified.report.round))

    def _transaction(self, chain_id: int, round_number: int) -> Awaitable[Any]:
        return self._store.round_transaction(self._network, chain_id, round_number)

    async def _read(self, reading: Awaitable[T]) -> T:
        try:
            result = await reading
        except PlimsollError as error:
            self._status.fail(DATABASE, error.code, at=self._clock.now(), detail=error.message)
            raise
        self._status.recover(DATABASE, at=self._clock.now())
        return result

    def _keep(
        self,
        key: tuple[Any, ...],
        document: msgspec.Struct,
        certified: CertifiedReport,
        *,
        expires: float | None = None,
    ) -> Answer:
        body = encode_json(document)
        answer = Answer(
            body, blake2b(body, digest_size=16).hexdigest(), expires, certified.certificate.header.observed_at
        )
        self._cache.put(key, answer)
        return answer


def _round_unknown(round_number: int) -> Problem:
    detail = f"no certified report of round {round_number} is kept here"
    return Problem(404, "round_unknown", detail, round_number=round_number)
