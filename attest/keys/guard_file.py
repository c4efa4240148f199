"""The guard's file: SQLite, synchronous to the disk, mode 0600, locked by one process, and aware of being copied.

How a copy is noticed: every opening touches the lock file beside the guard, and the guard keeps the time of that change
and its own inode. No tool sets a change time, so whatever was copied back, the guard, the lock or both, disagrees with
it. (A snapshot of a whole machine cannot be noticed; docs/agreement.md says what to do.)
"""

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from attest.keys.secret_files import check_private, sync_directory
from riskschema.errors import FatalError
from riskschema.units import Address

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE guard (address TEXT NOT NULL, complete INTEGER NOT NULL, inode INTEGER NOT NULL, touched INTEGER NOT NULL);
CREATE TABLE marks (
    config_digest BLOB PRIMARY KEY,
    round INTEGER NOT NULL,
    report_hash BLOB,
    signature BLOB,
    certain INTEGER NOT NULL
) WITHOUT ROWID;
"""
_FORMAT = 1


class MarkRow(msgspec.Struct, frozen=True, kw_only=True):
    """The last thing signed under one config digest."""

    config_digest: bytes
    round: int
    report_hash: bytes | None
    """None: the round is ruled out without anything known to be signed for it."""
    signature: bytes | None
    certain: bool
    """False since the file was copied back: the key may have signed more than the row says."""


class GuardFile:
    """An open, locked guard file."""

    def __init__(self, path: Path, address: Address) -> None:
        """Lock and open; a missing file is made, and marked as not knowing the past.

        Raises:
            FatalError: another process holds it, it is open to others, damaged, or belongs to another key.
        """
        self._path = path
        self._lock = _lock(path)
        try:
            if not path.exists():
                _create(path, address, self._lock, complete=False)
            check_private(path)
            with self._translated():
                self._connection = _connect(path)
                self._check_owner(address)
                self._check_copied()
        except BaseException:
            self.close()
            raise

    @property
    def complete(self) -> bool:
        """Whether the file has seen everything that the key ever signed."""
        with self._translated():
            return bool(self._connection.execute("SELECT complete FROM guard").fetchone()[0])

    def row(self, config_digest: bytes) -> MarkRow | None:
        """Return the mark of a configuration."""
        return next((row for row in self.rows() if row.config_digest == config_digest), None)

    def rows(self) -> tuple[MarkRow, ...]:
        """Return all marks by config digest."""
        query = "SELECT config_digest, round, report_hash, signature, certain FROM marks ORDER BY config_digest"
        with self._translated():
            found = self._connection.execute(query).fetchall()
        return tuple(
            MarkRow(config_digest=row[0], round=row[1], report_hash=row[2], signature=row[3], certain=bool(row[4]))
            for row in found
        )

    def write(self, row: MarkRow) -> None:
        """Replace the mark of a configuration; on disk when this returns."""
        values = (row.config_digest, row.round, row.report_hash, row.signature, row.certain)
        with self._translated():
            self._connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)", values)

    def close(self) -> None:
        """Close the database and give up the lock."""
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        os.close(self._lock)

    def _check_owner(self, address: Address) -> None:
        if self._connection.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
            raise _unreadable(self._path, f"is no guard of format {_FORMAT}")
        (owner,) = self._connection.execute("SELECT address FROM guard").fetchone()
        if owner != address:
            raise _unreadable(self._path, f"belongs to {str(owner)[:80]}, not to {address}; restore the right one")

    def _check_copied(self) -> None:
        known = self._connection.execute("SELECT inode, touched FROM guard").fetchone()
        inode = self._path.stat().st_ino
        copied = known != (inode, os.fstat(self._lock).st_ctime_ns)
        self._connection.execute("BEGIN IMMEDIATE")
        if copied:
            # What was signed after the copy was taken is unknown.
            self._connection.execute("UPDATE marks SET certain = 0")
            self._connection.execute("UPDATE guard SET complete = 0")
        self._connection.execute("UPDATE guard SET inode = ?, touched = ?", (inode, _touch(self._lock)))
        self._connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, TypeError) as error:
            raise _unreadable(self._path, f"cannot be used ({error}); export from a backup and import") from error


def create_guard_file(path: Path, address: Address) -> None:
    """Make the guard of a key that was made just now, and so has signed nothing.

    Raises:
        FatalError: the file exists already, or another process holds its lock.
    """
    lock = _lock(path)
    try:
        if path.exists():
            raise _unreadable(path, "exists already; a guard is never replaced")
        _create(path, address, lock, complete=True)
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    # A lock file of its own: closing any descriptor of the database would drop SQLite's locks on it.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(path.parent)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise FatalError(
            f"{path} is held by another process that signs with this key; stop it first", code="guard_locked"
        ) from error
    return descriptor


def _create(path: Path, address: Address, lock: int, *, complete: bool) -> None:
    """Make the file under another name, so that it appears complete or not at all."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    connection = _connect(draft)
    connection.executescript(_SCHEMA)
    values = (str(address), complete, draft.stat().st_ino, _touch(lock))
    connection.execute("INSERT INTO guard VALUES (?, ?, ?, ?)", values)
    connection.execute(f"PRAGMA user_version = {_FORMAT}")
    connection.execute("COMMIT")
    connection.close()
    draft.rename(path)
    sync_directory(path.parent)


def _touch(lock: int) -> int:
    """Write to the lock file; return the time of the change in nanoseconds."""
    os.pwrite(lock, secrets.token_bytes(8), 0)
    os.fsync(lock)
    return os.fstat(lock).st_ctime_ns


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    # EXTRA is FULL and also syncs the directory after the journal is deleted, which is what commits.
    connection.execute("PRAGMA synchronous = EXTRA")
    return connection


def _unreadable(path: Path, reason: str) -> FatalError:
    return FatalError(f"{path} {reason}", code="guard_unreadable")
