"""The database under the store: no lost update, no half round, no stranger's file, no open permissions."""

from __future__ import annotations

import asyncio
import importlib.resources
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from riskschema.errors import FatalError, TransientError
from riskschema.rounds import StoredAccount, StoredReport
from riskschema.units import Address, Hash32
from storage import database as database_module
from storage.database import Database, open_database
from storage.store import SqlStore, open_store
from storage.tables import METADATA

NETWORK = Hash32("0x" + "a1" * 32)


def report(round_number: int) -> StoredReport:
    return StoredReport(
        config_digest=NETWORK,
        round=round_number,
        report_hash=Hash32(round_number.to_bytes(32, "big")),
        header=b"header",
        state=b"state",
        certificate=None,
    )


def accounts(count: int) -> list[StoredAccount]:
    return [
        StoredAccount(subject=Address(f"0x{number:040x}"), leaf=b"leaf", proof=(NETWORK,) * 3, assessment=b"{}")
        for number in range(count)
    ]


async def test_400_concurrent_increments_from_two_connections_of_two_pools_all_count(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with open_database(path) as one, open_database(path) as two:
        async with one.write() as connection:
            await connection.execute(text("CREATE TABLE counter (value INTEGER NOT NULL)"))
            await connection.execute(text("INSERT INTO counter VALUES (0)"))

        async def increment(number: int) -> None:
            async with (one, two)[number % 2].write() as connection:
                value = (await connection.execute(text("SELECT value FROM counter"))).scalar_one()
                await asyncio.sleep(0)
                await connection.execute(text("UPDATE counter SET value = :value"), {"value": value + 1})

        await asyncio.gather(*(increment(number) for number in range(400)))
        async with two.read() as connection:
            assert (await connection.execute(text("SELECT value FROM counter"))).scalar_one() == 400


async def test_a_reader_sees_one_state_while_a_round_is_written(tmp_path: Path) -> None:
    async with open_database(tmp_path / "node.db") as database:
        async with database.read() as reader:
            count = text("SELECT count(*) FROM messages")
            assert (await reader.execute(count)).scalar_one() == 0
            async with database.write() as writer:
                columns = "config_digest, round, kind, sender, payload"
                await writer.execute(text(f"INSERT INTO messages ({columns}) VALUES (x'00', 1, 'k', 's', x'00')"))
            assert (await reader.execute(count)).scalar_one() == 0
        async with database.read() as reader:
            assert (await reader.execute(count)).scalar_one() == 1


async def test_a_report_that_does_not_fit_on_the_disk_leaves_nothing_and_fits_later(tmp_path: Path) -> None:
    async with open_database(tmp_path / "node.db") as database:
        store = SqlStore(database)
        large = [msgspec.structs.replace(each, assessment=os.urandom(2_000)) for each in accounts(500)]
        await limit_pages(database, 100)
        with pytest.raises(TransientError, match="database or disk is full"):
            await store.put_report(report(1), large, b"market")
        assert await store.report(NETWORK, 1) is None
        assert await store.accounts(NETWORK, 1) == ()
        await limit_pages(database, 10_000)
        await store.put_report(report(1), large, b"market")
        assert await store.accounts(NETWORK, 1) == tuple(large)


async def limit_pages(database: Database, pages: int) -> None:
    """Let the file have at most so many pages: the limit holds for each connection of the pool."""
    async with database.write() as connection:
        await connection.execute(text(f"PRAGMA max_page_count = {pages}"))


async def test_two_accounts_of_one_subject_are_refused(tmp_path: Path) -> None:
    async with open_store(tmp_path / "node.db") as store:
        with pytest.raises(ValueError, match="two accounts of one subject"):
            await store.put_report(report(1), [*accounts(3), accounts(1)[0]])
        assert await store.report(NETWORK, 1) is None


async def test_damaged_accounts_are_named_and_not_served(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with open_store(path) as store:
        await store.put_report(report(1), accounts(2))
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE account_chunks SET leaves = x'00'")
        connection.close()
        with pytest.raises(FatalError, match="the accounts of round 1 in the database are damaged") as refusal:
            await store.account(NETWORK, 1, accounts(1)[0].subject)
        assert refusal.value.code == "store_unusable"


async def test_commits_are_on_the_disk_when_they_return(tmp_path: Path) -> None:
    async with open_database(tmp_path / "node.db") as database, database.read() as connection:
        settings = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    path = tmp_path / "data" / "node.db"
    path.parent.mkdir()
    path.touch(mode=0o644)
    async with open_store(path) as store:
        await store.put_report(report(1), accounts(1))
        files = list(path.parent.iterdir())
        assert {file.name for file in files} == {"node.db", "node.db-wal", "node.db-shm"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("name", ["what?.db", "50%41.db", "a#b;c.db"])
async def test_the_file_has_exactly_the_given_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    async with open_store(path) as store:
        await store.put_report(report(1), accounts(1))
        files = list(path.parent.iterdir())
        assert {file.name for file in files} == {name, f"{name}-wal", f"{name}-shm"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with open_store(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(FatalError, match="9999, newer than this program") as refusal:
        async with open_store(path):
            pass
    assert refusal.value.code == "store_unusable"
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    connection.close()


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE reports (id INTEGER)")
    connection.close()
    with pytest.raises(FatalError, match="tables reports but no version"):
        async with open_store(path):
            pass


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at " * 100)
    with pytest.raises(FatalError, match=r"node\.db cannot be opened: file is not a database") as refusal:
        async with open_store(path):
            pass
    assert refusal.value.code == "store_unusable"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("sqlite+aiosqlite:///:memory:", "would forget"),
        ("oracle://host/db", "database URL"),
        ("nosuch+driver://host/db", "database URL"),
        ("postgresql+nosuchdriver://user:hidden@host/db", "database URL"),
        ("postgresql://user@host:hidden/db", "its port is no number"),
    ],
)
async def test_a_location_that_cannot_keep_anything_is_refused(location: str, message: str) -> None:
    with pytest.raises(FatalError, match=message) as refusal:
        async with open_store(location):
            pass
    assert "hidden" not in refusal.value.message


async def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="Is a directory"):
        async with open_store(tmp_path):
            pass


async def test_opening_again_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with open_store(path) as store:
        await store.put_report(report(1), accounts(2))
        await store.certify(msgspec.structs.replace(report(1), certificate=b"certificate"))
    async with open_store(f"sqlite+aiosqlite:///{path}") as store:
        latest = await store.latest_certified(NETWORK)
        assert latest is not None
        assert latest.certificate == b"certificate"
        assert await store.accounts(NETWORK, 1) == tuple(accounts(2))


async def test_first_starts_at_once_make_one_database(tmp_path: Path) -> None:
    path = tmp_path / "node.db"

    async def start(number: int) -> None:
        async with open_store(path) as store:
            await store.put_report(report(number), accounts(1))

    await asyncio.gather(*(start(number) for number in range(4)))
    async with open_store(path) as store:
        assert [await store.report(NETWORK, number) for number in range(4)] == [report(number) for number in range(4)]


async def test_a_database_held_by_another_process_is_a_passing_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pragmas = (*database_module.PRAGMAS[:-1], "PRAGMA busy_timeout=50")
    monkeypatch.setattr(database_module, "PRAGMAS", pragmas)
    path = tmp_path / "node.db"
    async with open_store(path) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError, match="database is locked") as failure:
            await store.put_report(report(1), [])
        assert failure.value.code == "store_failed"
        holder.execute("ROLLBACK")
        holder.close()
        await store.put_report(report(1), [])
        assert await store.report(NETWORK, 1) == report(1)


async def test_the_migrated_tables_are_those_the_program_uses(tmp_path: Path) -> None:
    async with open_database(tmp_path / "node.db") as database, database.read() as connection:
        differences = await connection.run_sync(
            lambda plain: compare_metadata(MigrationContext.configure(plain), METADATA)
        )
    assert differences == []


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda table: table.name)
def test_the_tables_are_ready_for_postgresql(table: Table) -> None:
    written = str(CreateTable(table).compile(dialect=postgresql.dialect()))
    types = set(re.findall(r"^\t\w+ ([A-Z]+)", written, flags=re.MULTILINE)) - {"KEY"}
    assert types <= {"BIGSERIAL", "BIGINT", "BYTEA", "VARCHAR"}
    assert ("id BIGSERIAL" in written) == (table.name == "messages")


def test_the_migrations_are_inside_the_package() -> None:
    folder = importlib.resources.files("storage") / "migrations"
    assert (folder / "env.py").is_file()
    assert any(file.name.endswith(".py") for file in (folder / "versions").iterdir())


WRITER = """
    import asyncio, sys
    from riskschema.rounds import StoredAccount, StoredMessage, StoredReport
    from msgspec import structs
    from riskschema.units import Address, Hash32
    from storage.store import open_store

    NETWORK = Hash32("0x" + "a1" * 32)
    LEAVES = [
        StoredAccount(subject=Address(f"0x{n:040x}"), leaf=b"leaf", proof=(NETWORK,), assessment=b"x" * 2000)
        for n in range(800)
    ]

    async def write():
        async with open_store(sys.argv[1]) as store:
            number = int(sys.argv[2])
            while True:
                number += 1
                message = StoredMessage(round=number, kind="observation", sender="me", payload=b"said")
                await store.put_message(NETWORK, message)
                hash = Hash32(number.to_bytes(32, "big"))
                report = StoredReport(config_digest=NETWORK, round=number, report_hash=hash, header=b"h", state=b"s",
                                      certificate=None)
                await store.put_report(report, LEAVES)
                await store.certify(structs.replace(report, certificate=b"certificate"))
                print(number, flush=True)

    asyncio.run(write())
"""


def test_kill_9_while_writing_never_leaves_half_a_round(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    kept = 0
    for attempt in range(4):
        reported = write_and_be_killed(path, after_round=kept, lines=attempt + 1, pause=0.004 * attempt)
        kept = asyncio.run(last_whole_round(path))
        assert kept >= reported, "a round that was said to be kept is gone"
    assert kept >= 10


def write_and_be_killed(path: Path, *, after_round: int, lines: int, pause: float) -> int:
    """Return the last round the writer said was kept; it is killed in the middle of the next."""
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path), str(after_round)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    with writer.stdout as output:
        said = [int(output.readline()) for _ in range(lines)]
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in output if line.endswith("\n")]
    assert writer.wait() == -signal.SIGKILL
    return said[-1]


async def last_whole_round(path: Path) -> int:
    """Open what the killed writer left and return its highest round, after checking that every round is whole."""
    async with open_store(path) as store:
        number = 1
        while (found := await store.report(NETWORK, number)) is not None:
            assert found.report_hash == Hash32(number.to_bytes(32, "big"))
            assert len(await store.accounts(NETWORK, number)) == 800
            number += 1
        assert await store.accounts(NETWORK, number) == ()
        return number - 1
