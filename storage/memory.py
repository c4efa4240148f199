"""A store that forgets when the process ends: for tests and simulations, under the same contract as the real one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from riskschema.errors import FatalError
from riskschema.rounds import (
    StoredAccount,
    StoredEvidence,
    StoredHour,
    StoredMessage,
    StoredReport,
    StoredTransaction,
    StoreSize,
)
from riskschema.units import Address, Hash32

UNSETTLED = ("pending", "landed")
RoundKey = tuple[Hash32, int]


class MemoryStore:
    """`riskschema.ports.Store` in dictionaries."""

    def __init__(self) -> None:
        self._messages: dict[RoundKey, dict[tuple[str, str], StoredMessage]] = {}
        self._reports: dict[RoundKey, StoredReport] = {}
        self._adopted: dict[RoundKey, dict[Hash32, StoredReport]] = {}
        self._evidence: dict[Hash32, dict[tuple[int, str, str], StoredEvidence]] = {}
        self._accounts: dict[RoundKey, dict[Address, StoredAccount]] = {}
        self._markets: dict[RoundKey, bytes | None] = {}
        self._readings: dict[RoundKey, bytes | None] = {}
        self._hours: dict[Hash32, dict[int, StoredHour]] = {}
        self._transactions: dict[tuple[Hash32, int, Address, int], StoredTransaction] = {}

    async def put_message(self, config_digest: Hash32, message: StoredMessage) -> StoredMessage:
        """Keep `message` unless one of the same (round, kind, sender) exists; return the one that is kept."""
        of_round = self._messages.setdefault((config_digest, message.round), {})
        return of_round.setdefault((message.kind, message.sender), message)

    async def messages(self, config_digest: Hash32, round_number: int) -> tuple[StoredMessage, ...]:
        """Return the messages of a round in the order they were kept."""
        return tuple(self._messages.get((config_digest, round_number), {}).values())

    async def put_report(
        self,
        report: StoredReport,
        accounts: Sequence[StoredAccount],
        market: bytes | None = None,
        reading: bytes | None = None,
    ) -> None:
        """Keep a report with all that belongs to it; the same report again changes nothing.

        Raises:
            FatalError: another report of the same round is kept already.
        """
        key = (report.config_digest, report.round)
        kept = self._reports.get(key)
        if kept is None:
            self._reports[key] = report
            self._accounts[key] = {account.subject: account for account in accounts}
            self._markets[key] = market
            self._readings[key] = reading
        elif (kept.report_hash, kept.header, kept.state) != (report.report_hash, report.header, report.state):
            raise FatalError(f"round {report.round} has the report {kept.report_hash} already", code="store_conflict")

    async def certify(self, report: StoredReport) -> None:
        """Keep a certified report: with this node's own, if it computed the same, else beside it, without accounts."""
        key = (report.config_digest, report.round)
        own = self._reports.get(key)
        if own is None or own.report_hash != report.report_hash:
            self._adopted.setdefault(key, {}).setdefault(report.report_hash, report)
        elif own.certificate is None:
            self._reports[key] = msgspec.structs.replace(own, certificate=report.certificate)

    async def report(self, config_digest: Hash32, round_number: int) -> StoredReport | None:
        """Return the report that this node computed for a round."""
        return self._reports.get((config_digest, round_number))

    async def report_of(self, config_digest: Hash32, round_number: int, report_hash: Hash32) -> StoredReport | None:
        """Return a report by its hash: computed here, or taken over because a quorum certified it."""
        own = self._reports.get((config_digest, round_number))
        if own is not None and own.report_hash == report_hash:
            return own
        return self._adopted.get((config_digest, round_number), {}).get(report_hash)

    async def latest_certified(self, config_digest: Hash32) -> StoredReport | None:
        """Return the certified report of the highest round among those that this node computed: with accounts."""
        certified = [
            report
            for (digest, _), report in self._reports.items()
            if digest == config_digest and report.certificate is not None
        ]
        return max(certified, key=lambda report: report.round, default=None)

    async def latest_adopted(self, config_digest: Hash32) -> StoredReport | None:
        """Return the certified report of the highest round, computed here or not: what the next builds on."""
        own = await self.latest_certified(config_digest)
        adopted = [
            report for key, reports in self._adopted.items() if key[0] == config_digest for report in reports.values()
        ]
        return max([*([own] if own else []), *adopted], key=lambda report: report.round, default=None)

    async def put_evidence(self, config_digest: Hash32, evidence: StoredEvidence) -> None:
        """Keep two contradicting messages; of one sender, round and kind the first two stay."""
        key = (evidence.round, evidence.kind, evidence.sender)
        self._evidence.setdefault(config_digest, {}).setdefault(key, evidence)

    async def evidence(self, config_digest: Hash32) -> tuple[StoredEvidence, ...]:
        """Return the kept evidence, by round, kind and sender."""
        kept = self._evidence.get(config_digest, {})
        return tuple(kept[key] for key in sorted(kept))

    async def market(self, config_digest: Hash32, round_number: int) -> bytes | None:
        """Return the JSON of a round's `AgreedMarket`; None: no such round, or it was kept without."""
        return self._markets.get((config_digest, round_number))

    async def reading(self, config_digest: Hash32, round_number: int) -> bytes | None:
        """Return the JSON of a round's `RoundReading`; None: no such round, or it was kept without."""
        return self._readings.get((config_digest, round_number))

    async def account(self, config_digest: Hash32, round_number: int, subject: Address) -> StoredAccount | None:
        """Return one account of a report."""
        return self._accounts.get((config_digest, round_number), {}).get(subject)

    async def accounts(
        self, config_digest: Hash32, round_number: int, *, after: Address | None = None, limit: int | None = None
    ) -> tuple[StoredAccount, ...]:
        """Return the accounts of a report, by subject: those above `after`, at most `limit`."""
        of_round = self._accounts.get((config_digest, round_number), {})
        subjects = [subject for subject in sorted(of_round) if after is None or subject > after]
        return tuple(of_round[subject] for subject in subjects[:limit])

    async def put_hours(self, config_digest: Hash32, hours: Sequence[StoredHour]) -> None:
        """Keep completed hours; one that is kept already is replaced."""
        self._hours.setdefault(config_digest, {}).update({each.hour: each for each in hours})

    async def hours(self, config_digest: Hash32) -> tuple[StoredHour, ...]:
        """Return the kept hours, oldest first."""
        kept = self._hours.get(config_digest, {})
        return tuple(kept[hour] for hour in sorted(kept))

    async def put_transaction(self, transaction: StoredTransaction) -> None:
        """Insert or replace a transaction of (config_digest, chain, sender, nonce)."""
        key = (transaction.config_digest, transaction.chain_id, transaction.sender, transaction.nonce)
        self._transactions[key] = transaction

    async def pending_transactions(
        self, config_digest: Hash32, chain_id: int, sender: Address
    ) -> tuple[StoredTransaction, ...]:
        """Return the transactions that are pending, or landed but not final, by nonce."""
        unsettled = [
            transaction
            for key, transaction in self._transactions.items()
            if key[:3] == (config_digest, chain_id, sender) and transaction.status in UNSETTLED
        ]
        return tuple(sorted(unsettled, key=lambda transaction: transaction.nonce))

    async def sent_transactions(
        self, config_digest: Hash32, chain_id: int, sender: Address, *, from_round: int
    ) -> tuple[StoredTransaction, ...]:
        """Return all transactions for rounds from `from_round` on, whatever became of them, by nonce."""
        sent = [
            transaction
            for key, transaction in self._transactions.items()
            if key[:3] == (config_digest, chain_id, sender) and transaction.round >= from_round
        ]
        return tuple(sorted(sent, key=lambda transaction: transaction.nonce))

    async def round_transaction(
        self, config_digest: Hash32, chain_id: int, round_number: int
    ) -> StoredTransaction | None:
        """Return the transaction of the highest nonce that publishes a round on a chain."""
        of_round = [
            transaction
            for key, transaction in self._transactions.items()
            if key[:2] == (config_digest, chain_id) and transaction.round == round_number
        ]
        return max(of_round, key=lambda transaction: transaction.nonce, default=None)

    async def prune(
        self, config_digest: Hash32, *, below_round: int, at_most: int = 256, transactions_below: int | None = None
    ) -> int:
        """Delete at most so many of the oldest rounds, never the latest certified; return how many."""
        latest = (await self.latest_certified(config_digest), await self.latest_adopted(config_digest))
        spared = {each.round for each in latest if each is not None}
        kept_from = below_round if transactions_below is None else min(below_round, transactions_below)
        settled = [
            (each.config_digest, each.round)
            for each in self._transactions.values()
            if each.status not in UNSETTLED and each.round < kept_from
        ]
        old = {
            key
            for key in (*self._messages, *self._reports, *self._adopted, *settled)
            if key[0] == config_digest and key[1] < below_round and key[1] not in spared
        }
        doomed = sorted(old)[:at_most]
        for key in doomed:
            self._messages.pop(key, None)
            self._reports.pop(key, None)
            self._adopted.pop(key, None)
            self._accounts.pop(key, None)
            self._markets.pop(key, None)
            self._readings.pop(key, None)
        self._transactions = {
            key: transaction
            for key, transaction in self._transactions.items()
            if (transaction.config_digest, transaction.round) not in doomed
            or transaction.status in UNSETTLED
            or transaction.round >= kept_from
        }
        return len(doomed)

    async def config_digests(self) -> tuple[Hash32, ...]:
        """Return the digests of which reports are kept, in order."""
        return tuple(sorted({digest for digest, _ in self._reports}))

    async def size(self) -> StoreSize:
        """Return the bytes of what is kept, nothing packed."""
        messages = sum(len(message.payload) for of_round in self._messages.values() for message in of_round.values())
        reports = sum(len(report.header) + len(report.state) for report in self._reports.values())
        accounts = sum(
            len(account.leaf) + len(account.assessment) + len(account.portfolio or b"")
            for of_round in self._accounts.values()
            for account in of_round.values()
        )
        return StoreSize(used=messages + reports + accounts, free=0)
