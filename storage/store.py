"""The store of a node on a SQL database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from sqlalchemy import ColumnElement, and_, bindparam, delete, insert, select, union, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

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
from storage import rows
from storage.accounts import AccountReader, insert_accounts, pack
from storage.database import Database, open_database, open_database_to_read
from storage.tables import ADOPTED_REPORTS, EVIDENCE, HOURS, MESSAGES, REPORTS, TRANSACTIONS

MAX_MESSAGES = 4_096
"""Of one round: more than any committee can send; beyond it the oldest are returned."""
MAX_PENDING = 1_024
MAX_EVIDENCE = 10_000
MAX_HOURS = 24 * 366 * 50
UNSETTLED = ("pending", "landed")


@asynccontextmanager
async def open_store(location: str | Path) -> AsyncIterator[SqlStore]:
    """Open the store, its tables brought up to date; close it in the end.

    Args:
        location: Path of a SQLite file (made with mode 0600 if missing), or a SQLAlchemy URL with an async driver.

    Raises:
        FatalError: the database cannot be opened, or is of a newer version.
    """
    async with open_database(location) as database:
        yield SqlStore(database)


@asynccontextmanager
async def open_store_to_read(path: Path) -> AsyncIterator[SqlStore]:
    """Open the store that another process writes; whatever would write raises.

    Raises:
        TransientError: its node has not made it, or not brought it to this program's version yet.
        FatalError: the database cannot be opened, or is of a newer version.
    """
    async with open_database_to_read(path) as database:
        yield SqlStore(database)


class SqlStore:
    """`riskschema.ports.Store` on a SQL database.

    Args:
        database: An open database.

    Every method raises TransientError when the database fails; then nothing was written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accounts = AccountReader()

    async def put_message(self, config_digest: Hash32, message: StoredMessage) -> StoredMessage:
        """Keep `message` unless one of the same (round, kind, sender) exists; return the one that is kept."""
        same = and_(
            _of_round(MESSAGES, config_digest, message.round),
            MESSAGES.c.kind == message.kind,
            MESSAGES.c.sender == message.sender,
        )
        async with self._database.write() as connection:
            try:
                async with connection.begin_nested():
                    values = {"config_digest": config_digest, **msgspec.structs.asdict(message)}
                    await connection.execute(insert(MESSAGES).values(values))
            except IntegrityError:
                found = await connection.execute(select(MESSAGES).where(same))
                return rows.message(found.one())
        return message

    async def messages(self, config_digest: Hash32, round_number: int) -> tuple[StoredMessage, ...]:
        """Return the messages of a round in the order they were kept."""
        of_round = _of_round(MESSAGES, config_digest, round_number)
        query = select(MESSAGES).where(of_round).order_by(MESSAGES.c.id).limit(MAX_MESSAGES)
        async with self._database.read() as connection:
            return tuple(rows.message(row) for row in await connection.execute(query))

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
        packed = await pack(accounts)
        async with self._database.write() as connection:
            kept = await _report(connection, report.config_digest, report.round)
            if kept is not None:
                require_same_report(kept, report)
                return
            await connection.execute(
                insert(REPORTS).values({**rows.report_values(report), "market": market, "reading": reading})
            )
            await insert_accounts(connection, (report.config_digest, report.round), packed)

    async def certify(self, report: StoredReport) -> None:
        """Keep a certified report: with this node's own, if it computed the same, else beside it, without accounts."""
        key = (report.config_digest, report.round)
        async with self._database.write() as connection:
            own = await _report(connection, *key)
            if own is not None and own.report_hash == report.report_hash:
                if own.certificate is None:
                    certified = update(REPORTS).where(_of_round(REPORTS, *key)).values(certificate=report.certificate)
                    await connection.execute(certified)
            elif await _adopted(connection, *key, report.report_hash) is None:
                await connection.execute(insert(ADOPTED_REPORTS).values(rows.report_values(report)))

    async def report(self, config_digest: Hash32, round_number: int) -> StoredReport | None:
        """Return the report that this node computed for a round."""
        async with self._database.read() as connection:
            return await _report(connection, config_digest, round_number)

    async def report_of(self, config_digest: Hash32, round_number: int, report_hash: Hash32) -> StoredReport | None:
        """Return a report by its hash: computed here, or taken over because a quorum certified it."""
        async with self._database.read() as connection:
            own = await _report(connection, config_digest, round_number)
            if own is not None and own.report_hash == report_hash:
                return own
            return await _adopted(connection, config_digest, round_number, report_hash)

    async def latest_certified(self, config_digest: Hash32) -> StoredReport | None:
        """Return the certified report of the highest round among those that this node computed: with accounts."""
        async with self._database.read() as connection:
            return await _latest_certified(connection, config_digest)

    async def latest_adopted(self, config_digest: Hash32) -> StoredReport | None:
        """Return the certified report of the highest round, computed here or not: what the next builds on."""
        async with self._database.read() as connection:
            found = await _latest(connection, config_digest)
        return max(found, key=lambda each: each.round, default=None)

    async def put_evidence(self, config_digest: Hash32, evidence: StoredEvidence) -> None:
        """Keep two contradicting messages; of one sender, round and kind the first two stay."""
        values = {"config_digest": config_digest, **msgspec.structs.asdict(evidence)}
        async with self._database.write() as connection:
            with suppress(IntegrityError):
                async with connection.begin_nested():
                    await connection.execute(insert(EVIDENCE).values(values))

    async def evidence(self, config_digest: Hash32) -> tuple[StoredEvidence, ...]:
        """Return the kept evidence, by round, kind and sender."""
        columns = EVIDENCE.c
        query = (
            select(EVIDENCE)
            .where(columns.config_digest == config_digest)
            .order_by(columns.round, columns.kind, columns.sender)
            .limit(MAX_EVIDENCE)
        )
        async with self._database.read() as connection:
            return tuple(rows.evidence(row) for row in await connection.execute(query))

    async def market(self, config_digest: Hash32, round_number: int) -> bytes | None:
        """Return the JSON of a round's `AgreedMarket`; None: no such round, or its version did not store it."""
        return await self._kept(REPORTS.c.market, config_digest, round_number)

    async def reading(self, config_digest: Hash32, round_number: int) -> bytes | None:
        """Return the JSON of a round's `RoundReading`; None: no such round, or its version did not store it."""
        return await self._kept(REPORTS.c.reading, config_digest, round_number)

    async def _kept(self, column: ColumnElement[bytes], config_digest: Hash32, round_number: int) -> bytes | None:
        query = select(column).where(_of_round(REPORTS, config_digest, round_number))
        async with self._database.read() as connection:
            found = (await connection.execute(query)).scalar_one_or_none()
        return None if found is None else bytes(found)

    async def account(self, config_digest: Hash32, round_number: int, subject: Address) -> StoredAccount | None:
        """Return one account of a report.

        Raises:
            FatalError: what is kept is damaged.
        """
        async with self._database.read() as connection:
            return await self._accounts.one(connection, (config_digest, round_number), subject)

    async def accounts(
        self, config_digest: Hash32, round_number: int, *, after: Address | None = None, limit: int | None = None
    ) -> tuple[StoredAccount, ...]:
        """Return the accounts of a report, by subject: those above `after`, at most `limit`.

        Raises:
            FatalError: what is kept is damaged.
        """
        async with self._database.read() as connection:
            return await self._accounts.page(connection, (config_digest, round_number), after, limit)

    async def put_hours(self, config_digest: Hash32, hours: Sequence[StoredHour]) -> None:
        """Keep completed hours; one that is kept already is replaced."""
        if not hours:
            return
        same = and_(HOURS.c.config_digest == config_digest, HOURS.c.hour == bindparam("replaced"))
        async with self._database.write() as connection:
            await connection.execute(delete(HOURS).where(same), [{"replaced": each.hour} for each in hours])
            values = [{"config_digest": config_digest, **msgspec.structs.asdict(each)} for each in hours]
            await connection.execute(insert(HOURS), values)

    async def hours(self, config_digest: Hash32) -> tuple[StoredHour, ...]:
        """Return the kept hours, oldest first."""
        query = select(HOURS).where(HOURS.c.config_digest == config_digest).order_by(HOURS.c.hour).limit(MAX_HOURS)
        async with self._database.read() as connection:
            return tuple(rows.hour(row) for row in await connection.execute(query))

    async def put_transaction(self, transaction: StoredTransaction) -> None:
        """Insert or replace a transaction of (config_digest, chain, sender, nonce)."""
        same = and_(
            _of_sender(transaction.config_digest, transaction.chain_id, transaction.sender),
            TRANSACTIONS.c.nonce == transaction.nonce,
        )
        values = msgspec.structs.asdict(transaction)
        async with self._database.write() as connection:
            replaced = await connection.execute(update(TRANSACTIONS).where(same).values(values))
            if replaced.rowcount == 0:
                await connection.execute(insert(TRANSACTIONS).values(values))

    async def pending_transactions(
        self, config_digest: Hash32, chain_id: int, sender: Address
    ) -> tuple[StoredTransaction, ...]:
        """Return the transactions that are pending, or landed but not final, by nonce."""
        query = (
            select(TRANSACTIONS)
            .where(_of_sender(config_digest, chain_id, sender), TRANSACTIONS.c.status.in_(UNSETTLED))
            .order_by(TRANSACTIONS.c.nonce)
            .limit(MAX_PENDING)
        )
        async with self._database.read() as connection:
            return tuple(rows.transaction(row) for row in await connection.execute(query))

    async def sent_transactions(
        self, config_digest: Hash32, chain_id: int, sender: Address, *, from_round: int
    ) -> tuple[StoredTransaction, ...]:
        """Return all transactions for rounds from `from_round` on, whatever became of them, by nonce."""
        query = (
            select(TRANSACTIONS)
            .where(_of_sender(config_digest, chain_id, sender), TRANSACTIONS.c.round >= from_round)
            .order_by(TRANSACTIONS.c.nonce)
        )
        async with self._database.read() as connection:
            return tuple(rows.transaction(row) for row in await connection.execute(query))

    async def round_transaction(
        self, config_digest: Hash32, chain_id: int, round_number: int
    ) -> StoredTransaction | None:
        """Return the transaction of the highest nonce that publishes a round on a chain."""
        query = (
            select(TRANSACTIONS)
            .where(_of_round(TRANSACTIONS, config_digest, round_number), TRANSACTIONS.c.chain_id == chain_id)
            .order_by(TRANSACTIONS.c.nonce.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else rows.transaction(row)

    async def prune(
        self, config_digest: Hash32, *, below_round: int, at_most: int = 256, transactions_below: int | None = None
    ) -> int:
        """Delete the oldest rounds below `below_round` (never the latest certified); return how many.

        One call deletes at most so many rounds: a return of 0 says that nothing is left to delete. Transactions that
        are not settled stay, and those of `transactions_below` and later rounds, where that is given. Then the
        write-ahead log is cut, if it is long and its readers let go of it.
        """
        async with self._database.write() as connection:
            spared = [each.round for each in await _latest(connection, config_digest)]
            kept_from = below_round if transactions_below is None else min(below_round, transactions_below)
            doomed = await _oldest_rounds(
                connection, config_digest, below_round=below_round, kept_from=kept_from, spared=spared, at_most=at_most
            )
            for table in (MESSAGES, REPORTS, ADOPTED_REPORTS, TRANSACTIONS):
                condition = and_(table.c.config_digest == config_digest, table.c.round.in_(doomed))
                if table is TRANSACTIONS:
                    condition = and_(condition, _prunable(kept_from))
                await connection.execute(delete(table).where(condition))
        await self._database.cut_log()
        return len(doomed)

    async def config_digests(self) -> tuple[Hash32, ...]:
        """Return the digests of which reports are kept, in order."""
        query = select(REPORTS.c.config_digest).distinct().order_by(REPORTS.c.config_digest)
        async with self._database.read() as connection:
            return tuple((await connection.execute(query)).scalars())

    async def size(self) -> StoreSize:
        """Return the bytes of the pages in use and of those that wait to be used again."""
        return await self._database.size()


def require_same_report(kept: StoredReport, offered: StoredReport) -> None:
    """Refuse a second, different report of one round.

    Raises:
        FatalError: the two differ in anything that is signed or carried on.
    """
    if (kept.report_hash, kept.header, kept.state) != (offered.report_hash, offered.header, offered.state):
        raise FatalError(
            f"round {kept.round} has the report {kept.report_hash} already, now {offered.report_hash} was computed: "
            "keep the database and report this",
            code="store_conflict",
        )


def _of_round(table: object, config_digest: Hash32, round_number: int) -> ColumnElement[bool]:
    columns = table.c  # type: ignore[attr-defined]
    return and_(columns.config_digest == config_digest, columns.round == round_number)


def _of_sender(config_digest: Hash32, chain_id: int, sender: Address) -> ColumnElement[bool]:
    columns = TRANSACTIONS.c
    return and_(columns.config_digest == config_digest, columns.chain_id == chain_id, columns.sender == sender)


async def _report(connection: AsyncConnection, config_digest: Hash32, round_number: int) -> StoredReport | None:
    row = (
        await connection.execute(select(REPORTS).where(_of_round(REPORTS, config_digest, round_number)))
    ).one_or_none()
    return None if row is None else rows.report(row)


async def _adopted(
    connection: AsyncConnection, config_digest: Hash32, round_number: int, report_hash: Hash32
) -> StoredReport | None:
    same = and_(_of_round(ADOPTED_REPORTS, config_digest, round_number), ADOPTED_REPORTS.c.report_hash == report_hash)
    row = (await connection.execute(select(ADOPTED_REPORTS).where(same))).one_or_none()
    return None if row is None else rows.report(row)


async def _latest_certified(connection: AsyncConnection, config_digest: Hash32) -> StoredReport | None:
    query = (
        select(REPORTS)
        .where(REPORTS.c.config_digest == config_digest, REPORTS.c.certificate.is_not(None))
        .order_by(REPORTS.c.round.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else rows.report(row)


async def _latest(connection: AsyncConnection, config_digest: Hash32) -> list[StoredReport]:
    """Return the newest certified report that was computed here, and the newest that was taken over."""
    query = (
        select(ADOPTED_REPORTS)
        .where(ADOPTED_REPORTS.c.config_digest == config_digest)
        .order_by(ADOPTED_REPORTS.c.round.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    own = await _latest_certified(connection, config_digest)
    return [*([own] if own else []), *([] if row is None else [rows.report(row)])]


def _prunable(kept_from: int) -> ColumnElement[bool]:
    return and_(TRANSACTIONS.c.status.not_in(UNSETTLED), TRANSACTIONS.c.round < kept_from)


async def _oldest_rounds(
    connection: AsyncConnection,
    config_digest: Hash32,
    *,
    below_round: int,
    kept_from: int,
    spared: Sequence[int],
    at_most: int,
) -> list[int]:
    parts = []
    for table in (MESSAGES, REPORTS, ADOPTED_REPORTS, TRANSACTIONS):
        part = select(table.c.round).where(table.c.config_digest == config_digest, table.c.round < below_round)
        if table is TRANSACTIONS:  # one that settles after its round was pruned
            part = part.where(_prunable(kept_from))
        parts.append(part.where(table.c.round.not_in(spared)))
    rounds = union(*parts).subquery()
    query = select(rounds.c.round).order_by(rounds.c.round).limit(at_most)
    return list((await connection.execute(query)).scalars())
