"""One database: how it is opened, how transactions begin, and what its failures become.

SQLite runs in WAL mode, so that the API reads while the round writes, and with ``synchronous=FULL``: a commit is on
the disk when it returns. With NORMAL a power failure may take back the last commits, among them a message that peers
have already seen; a round commits a few times only, so the price is a few milliseconds.

One process writes. Others open the file read only (``mode=ro``), and whatever they do, they can neither change nor
migrate it. While readers overlap without a gap SQLite's own checkpoints never come to the end of the write-ahead log,
so the writer cuts it itself between rounds (`Database.cut_log`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from riskschema.errors import FatalError, TransientError
from riskschema.rounds import StoreSize
from storage.migration import alone, migrate, require_current

BUSY_TIMEOUT_MILLISECONDS = 20_000
JOURNAL_BYTES = 16 * 1024 * 1024
"""A longer write-ahead log is cut between rounds; one round may write more."""
CUT_MILLISECONDS = 500
"""Longest wait for readers of the log while it is cut; nobody writes meanwhile."""
CONNECTIONS = 4
CONNECTION_WAIT_SECONDS = 60
WRITES = "plimsoll_writes"
AUTOCOMMIT = "plimsoll_autocommit"
PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA journal_size_limit={JOURNAL_BYTES}",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MILLISECONDS}",
)
READER_PRAGMAS = ("PRAGMA query_only=ON", f"PRAGMA busy_timeout={BUSY_TIMEOUT_MILLISECONDS}")


@asynccontextmanager
async def open_database(location: str | Path) -> AsyncIterator[Database]:
    """Open a database, bring its tables up to date, and close it in the end.

    Args:
        location: Path of a SQLite file (made with mode 0600 if missing), or a SQLAlchemy URL with an async driver.

    Raises:
        FatalError: it cannot be opened, is no database, or is of a newer version.
    """
    name, engine = _engine(location)
    database = Database(name, engine)
    try:
        with _opening(name):
            async with engine.execution_options(**{WRITES: True}).begin() as connection, alone():
                await connection.run_sync(migrate)
        yield database
    finally:
        await engine.dispose()


@asynccontextmanager
async def open_database_to_read(path: Path) -> AsyncIterator[Database]:
    """Open the database file of another process; it is neither made nor migrated, and cannot be written.

    Raises:
        TransientError: it is not there yet, or of an older version that its node has still to migrate.
        FatalError: it cannot be opened, is no database, or is of a newer version.
    """
    engine = _sqlite_reader(path)
    try:
        with _opening(str(path)):
            async with engine.begin() as connection:
                await connection.run_sync(require_current)
        yield Database(str(path), engine)
    finally:
        await engine.dispose()


class Database:
    """Read and write transactions on one database.

    Args:
        name: How error messages call the database.
        engine: Its engine, listeners attached.
    """

    def __init__(self, name: str, engine: AsyncEngine) -> None:
        self._name = name
        self._reader = engine
        self._writer = engine.execution_options(**{WRITES: True})
        # writers of this process take turns here, in order; BEGIN IMMEDIATE keeps out those of other processes
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction that sees one state of the database throughout.

        Raises:
            TransientError: the database failed.
        """
        with self._translated():
            async with self._reader.begin() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction that may write; what it reads cannot change before it commits.

        Raises:
            TransientError: the database failed, or another process held it too long; nothing was written.
        """
        with self._translated():
            async with self._turn, self._writer.begin() as connection:
                yield connection

    async def size(self) -> StoreSize:
        """Return the bytes of the pages in use and of the free ones; the write-ahead log is not counted.

        Raises:
            TransientError: the database failed.
        """
        async with self.read() as connection:
            numbers = [
                int((await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one())
                for name in ("page_size", "page_count", "freelist_count")
            ]
        page, pages, free = numbers
        return StoreSize(used=(pages - free) * page, free=free * page)

    async def cut_log(self) -> bool:
        """Move the write-ahead log into the file and cut it, if it is long; a bounded wait for those who read it.

        Returns:
            False where a reader held it too long: it is cut another time.

        Raises:
            TransientError: the database failed.
        """
        if self._reader.dialect.name != "sqlite" or not _is_longer(f"{self._reader.url.database}-wal", JOURNAL_BYTES):
            return True
        plain = self._reader.execution_options(**{AUTOCOMMIT: True})
        with self._translated():
            async with self._turn, plain.connect() as connection:
                await connection.exec_driver_sql(f"PRAGMA busy_timeout={CUT_MILLISECONDS}")
                try:
                    result = await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                    busy, *_ = result.one()
                finally:
                    await connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MILLISECONDS}")
        return not busy

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, ProgrammingError):
            raise  # a bug of ours, which no retry mends
        except (DBAPIError, PoolTimeout) as error:
            raise TransientError(f"database {self._name}: {_reason(error)}", code="store_failed") from error


def _engine(location: str | Path) -> tuple[str, AsyncEngine]:
    if "://" not in str(location):
        path = Path(location)
        _prepare_file(path)
        return str(path), _sqlite_engine(path)
    try:
        url = make_url(str(location))
        name = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite":
            if not url.database or url.database == ":memory:":
                raise FatalError(
                    "a database in memory would forget what was signed: give a file", code="store_unusable"
                )
            _prepare_file(Path(url.database))
            return name, _sqlite_engine(Path(url.database))
        return name, create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0, isolation_level="SERIALIZABLE")
    except (ArgumentError, ImportError) as error:
        raise FatalError(f"database URL: {error}; give a file path or an async URL", code="store_unusable") from error
    except ValueError:  # its text holds what stands where the port should be: a password with a colon, for example
        raise FatalError("database URL: its port is no number", code="store_unusable") from None


def _prepare_file(path: Path) -> None:
    """Make the file readable by its owner only; the journal files beside it inherit its mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise FatalError(f"database {path}: {error.strerror or error}", code="store_unusable") from error


def _sqlite_engine(path: Path) -> AsyncEngine:
    # not as text: a path may hold signs that mean something in a URL
    return _configured(URL.create("sqlite+aiosqlite", database=str(path)), PRAGMAS)


def _sqlite_reader(path: Path) -> AsyncEngine:
    if not path.exists():
        raise TransientError(
            f"database {path} is not there yet: its node makes it (plimsoll run)", code="store_not_ready"
        )
    url = URL.create("sqlite+aiosqlite", database=path.absolute().as_uri(), query={"mode": "ro", "uri": "true"})
    return _configured(url, READER_PRAGMAS)


def _configured(url: URL, pragmas: Sequence[str]) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0, pool_timeout=CONNECTION_WAIT_SECONDS)
    event.listen(engine.sync_engine, "connect", partial(_configure_sqlite, pragmas))
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(pragmas: Sequence[str], connection: Any, record: object) -> None:
    connection.isolation_level = None  # the driver would begin late, and only before a write
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # a transaction that reads first and writes later would lose the update, or fail, if another wrote in between
    options = connection.get_execution_options()
    if not options.get(AUTOCOMMIT, False):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITES, False) else "BEGIN")


def _is_longer(path: str, size: int) -> bool:
    try:
        return Path(path).stat().st_size > size
    except OSError:
        return False


@contextmanager
def _opening(name: str) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, OSError) as error:
        raise FatalError(f"database {name} cannot be opened: {_reason(error)}", code="store_unusable") from error


def _reason(error: Exception) -> str:
    """Return the driver's words alone: SQLAlchemy's text carries the statement and its values."""
    return str(getattr(error, "orig", None) or error)[:300]
