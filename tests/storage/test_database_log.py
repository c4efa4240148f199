"""The write-ahead log is cut between rounds, however many read; who only reads cannot write or migrate."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from riskschema.errors import FatalError, TransientError
from riskschema.rounds import StoredMessage
from riskschema.units import Hash32
from storage import database as database_module
from storage.database import Database, open_database_to_read
from storage.store import SqlStore, open_store, open_store_to_read

NETWORK = Hash32("0x" + "a1" * 32)
ROUND_BYTES = 2_000_000
KEPT_BYTES = 1_000_000
COUNT = text("SELECT count(*), max(length(payload)) FROM messages")


@pytest.fixture(autouse=True)
def _small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "JOURNAL_BYTES", KEPT_BYTES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node ?.db"


def files_of(path: Path) -> list[Path]:
    return list(path.parent.iterdir())


def log_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


async def write_round(store: SqlStore, number: int) -> None:
    """Write as a round does, and make room after it."""
    payload = secrets.token_bytes(ROUND_BYTES)
    await store.put_message(NETWORK, StoredMessage(round=number, kind="k", sender="s", payload=payload))
    await store.prune(NETWORK, below_round=number - 2)


async def read_on(database: Database, ended: asyncio.Event) -> int:
    """Read without a pause, as for a crowd; return how often."""
    times = 0
    while not ended.is_set():
        async with database.read() as connection:
            await connection.execute(COUNT)
        times += 1
    return times


@asynccontextmanager
async def crowd(path: Path, readers: int) -> AsyncIterator[None]:
    """Readers of another process' kind, at least one of whom reads at any time."""
    async with open_database_to_read(path) as database:
        ended = asyncio.Event()
        reading = [asyncio.create_task(read_on(database, ended)) for _ in range(readers)]
        try:
            yield
        finally:
            ended.set()
            assert min(await asyncio.gather(*reading)) > 0


async def test_the_log_is_cut_after_each_round_though_somebody_always_reads(path: Path) -> None:
    async with open_store(path) as store:
        await write_round(store, 0)
        async with crowd(path, 3):
            sizes = []
            for number in range(1, 12):
                await write_round(store, number)
                sizes.append(log_bytes(path))
    assert max(sizes) <= KEPT_BYTES


async def test_a_reader_that_holds_its_transaction_stops_no_round_and_the_log_is_cut_when_it_is_gone(
    path: Path,
) -> None:
    async with open_store(path) as store, open_database_to_read(path) as database:
        await write_round(store, 0)
        async with database.read() as connection:
            before = (await connection.execute(COUNT)).one()
            for number in range(1, 4):
                await write_round(store, number)
            assert log_bytes(path) > KEPT_BYTES
            assert (await connection.execute(COUNT)).one() == before, "it sees the state it began with"
        await write_round(store, 4)
        assert log_bytes(path) <= KEPT_BYTES


async def test_a_connection_that_is_open_and_reads_nothing_does_not_keep_the_log(path: Path) -> None:
    async with open_store(path) as store, open_database_to_read(path) as database:
        async with database.read() as connection:
            await connection.execute(COUNT)
        await write_round(store, 1)  # the connection waits in the pool, as between two requests
        assert log_bytes(path) <= KEPT_BYTES


async def test_who_only_reads_sees_what_is_written_and_cannot_write(path: Path) -> None:
    async with open_store(path) as store, open_store_to_read(path) as reader:
        message = StoredMessage(round=1, kind="k", sender="s", payload=b"said")
        await store.put_message(NETWORK, message)
        assert await reader.messages(NETWORK, 1) == (message,)
        with pytest.raises(TransientError, match="readonly"):
            await reader.put_message(NETWORK, StoredMessage(round=2, kind="k", sender="s", payload=b""))
        assert await store.messages(NETWORK, 2) == ()


async def test_a_database_that_is_not_there_is_neither_made_nor_a_matter_for_a_person(path: Path) -> None:
    with pytest.raises(TransientError, match="plimsoll run") as refusal:
        async with open_store_to_read(path):
            pass
    assert refusal.value.code == "store_not_ready"
    assert files_of(path) == []


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("DROP TABLE alembic_version", TransientError, "is empty, this program reads version"),
        ("UPDATE alembic_version SET version_num = '0001'", TransientError, "is of version 0001, this program reads"),
        ("UPDATE alembic_version SET version_num = '9999'", FatalError, "9999, newer than this program"),
    ],
)
async def test_a_database_of_another_version_is_left_as_it_is(
    path: Path, statement: str, kind: type[Exception], message: str
) -> None:
    async with open_store(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    before = list(connection.iterdump())
    with pytest.raises(kind, match=message):
        async with open_store_to_read(path):
            pass
    assert list(connection.iterdump()) == before
    connection.close()


@pytest.fixture
def nonsense(path: Path) -> Path:
    path.write_bytes(b"not a database at all, but long enough to be looked at " * 100)
    return path


async def test_a_file_that_is_no_database_is_refused(nonsense: Path) -> None:
    with pytest.raises(FatalError, match="file is not a database"):
        async with open_store_to_read(nonsense):
            pass
