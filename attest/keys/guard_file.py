"""The guard's file: SQLite, synchronous to the disk, mode 0600, locked by one process, and aware of being put back.

Every change of a mark takes three steps before a signature may leave:

    1. the mark and the number of changes are committed to the guard
    2. the number is written to the lock file
    3. the lock file's change time is committed to the guard

So a guard that is one ahead of its lock file is one whose process ended between 1 and 2: it knows everything. A guard
that is behind was put back from a copy, in whatever way. Where both files were put back, the numbers agree, but the
lock file's change time, which no tool sets, or the guard's inode does not. docs/agreement.md says what is left.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from attest.keys.guard_lock import GuardLock, unwritable
from attest.keys.secret_files import check_private, sync_directory
from riskschema.errors import FatalError, PlimsollError, TransientError
from riskschema.units import Address

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE guard (
    address TEXT NOT NULL,
    complete INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    changes INTEGER NOT NULL,
    settled INTEGER NOT NULL
);
CREATE TABLE marks (
    config_digest BLOB PRIMARY KEY,
    round INTEGER NOT NULL,
    report_hash BLOB,
    signature BLOB,
    certain INTEGER NOT NULL,
    parent_round INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE said (
    id INTEGER PRIMARY KEY,
    config_digest BLOB NOT NULL,
    kind INTEGER NOT NULL,
    round INTEGER NOT NULL,
    digest BLOB NOT NULL,
    UNIQUE (config_digest, kind, round)
);
"""
_FROM_FORMAT_1 = """
BEGIN IMMEDIATE;
ALTER TABLE guard ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE guard ADD COLUMN settled INTEGER NOT NULL DEFAULT 1;
PRAGMA user_version = 2;
COMMIT;
"""
_FROM_FORMAT_2 = """
BEGIN IMMEDIATE;
ALTER TABLE marks ADD COLUMN parent_round INTEGER NOT NULL DEFAULT 0;
CREATE TABLE said (
    id INTEGER PRIMARY KEY,
    config_digest BLOB NOT NULL,
    kind INTEGER NOT NULL,
    round INTEGER NOT NULL,
    digest BLOB NOT NULL,
    UNIQUE (config_digest, kind, round)
);
PRAGMA user_version = 3;
COMMIT;
"""
_FORMAT = 3
KEPT_MESSAGES = 4_096
"""Messages of which the digests are kept: more than a day of rounds of a minute."""

_DISK_MAY_RECOVER = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY})
_DISK_REFUSES = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})


class MarkRow(msgspec.Struct, frozen=True, kw_only=True):
    """The last thing signed under one config digest."""

    config_digest: bytes
    round: int
    report_hash: bytes | None
    """None: the round is ruled out without anything known to be signed for it."""
    signature: bytes | None
    certain: bool
    """False since the file was put back: the key may have signed more than the row says."""
    parent_round: int = 0
    """Round of the parent of the last report signed."""


class GuardFile:
    """An open, locked guard file."""

    def __init__(self, path: Path, address: Address, *, put_back: bool = False) -> None:
        """Lock and open; a missing file is made, and marked as not knowing the past.

        Args:
            path: The guard.
            address: Of its key.
            put_back: Take the file as one that was put back from a copy, instead of refusing one that was.

        Raises:
            FatalError: another process holds it, it is open to others, damaged, put back, or belongs to another key.
            TransientError: the disk is full or failing.
        """
        self._path = path
        self._lock = GuardLock(path)
        try:
            if not path.exists():
                _create(path, address, self._lock, complete=False)
            check_private(path)
            with self._translated():
                self._connection = _connect(path)
                self._check_owner(address)
                self._check_put_back(expected=put_back)
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
        query = "SELECT config_digest, round, report_hash, signature, certain, parent_round FROM marks ORDER BY 1"
        with self._translated():
            found = self._connection.execute(query).fetchall()
        return tuple(
            MarkRow(
                config_digest=row[0],
                round=row[1],
                report_hash=row[2],
                signature=row[3],
                certain=bool(row[4]),
                parent_round=row[5],
            )
            for row in found
        )

    def write(self, row: MarkRow) -> None:
        """Replace the mark of a configuration; on disk, and counted in the lock file, when this returns.

        Raises:
            FatalError: the file was put back while it was open, or cannot be written.
            TransientError: the disk is full or failing; nothing may be signed.
        """
        values = (row.config_digest, row.round, row.report_hash, row.signature, row.certain, row.parent_round)
        self._change("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?, ?)", values)

    def said(self, config_digest: bytes, kind: int, round_number: int) -> bytes | None:
        """Return the digest of the message of a kind that was said in a round."""
        query = "SELECT digest FROM said WHERE config_digest = ? AND kind = ? AND round = ?"
        with self._translated():
            found = self._connection.execute(query, (config_digest, kind, round_number)).fetchone()
        return None if found is None else bytes(found[0])

    def note(self, config_digest: bytes, kind: int, round_number: int, digest: bytes) -> None:
        """Keep the digest of a message; on disk, and counted in the lock file, when this returns.

        Raises:
            FatalError: as `write`; so does TransientError.
        """
        values = (config_digest, kind, round_number, digest)
        self._change("INSERT INTO said (config_digest, kind, round, digest) VALUES (?, ?, ?, ?)", values)

    def _change(self, statement: str, values: tuple[object, ...]) -> None:
        self.settle()
        with self._translated():
            with _transaction(self._connection):
                self._require_changes(self._changes)
                self._connection.execute(statement, values)
                oldest = "DELETE FROM said WHERE id <= (SELECT MAX(id) FROM said) - ?"
                self._connection.execute(oldest, (KEPT_MESSAGES,))
                self._connection.execute("UPDATE guard SET changes = changes + 1, settled = 0")
            self._changes += 1
            self._settled = False
        self.settle()

    def settle(self) -> None:
        """Bring the lock file's number up to the guard's, and note when that was.

        Raises:
            FatalError: one of them cannot be written.
            TransientError: the disk is full or failing.
        """
        if self._settled:
            return
        touched = self._lock.write(self._changes)
        with self._translated():
            self._connection.execute("UPDATE guard SET touched = ?, settled = 1", (touched,))
        self._settled = True

    def close(self) -> None:
        """Close the database and give up the lock."""
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        self._lock.close()

    def _check_owner(self, address: Address) -> None:
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 1:
            self._connection.executescript(_FROM_FORMAT_1)
        if found in (1, 2):
            self._connection.executescript(_FROM_FORMAT_2)
        elif found != _FORMAT:
            raise _unreadable(
                self._path, f"is no guard of format {_FORMAT} but of {found}: use the release that wrote it"
            )
        (owner,) = self._connection.execute("SELECT address FROM guard").fetchone()
        if owner != address:
            raise _unreadable(
                self._path, f"belongs to {str(owner)[:80]}, not to {address}: it lies beside the wrong keystore"
            )

    def _check_put_back(self, *, expected: bool) -> None:
        query = "SELECT inode, touched, changes, settled FROM guard"
        inode, touched, changes, settled = self._connection.execute(query).fetchone()
        counted = self._lock.count()
        if not expected and counted is not None and changes < counted:
            raise _put_back(self._path, f"{counted - changes} of its changes are missing")
        here = self._path.stat().st_ino
        # Not settled: the process ended between two of the three steps, so that the lock file may be newer than noted.
        uncertain = expected or inode != here or (bool(settled) and touched != self._lock.changed_at)
        self._changes = max(changes, counted or 0)
        with _transaction(self._connection):
            if uncertain:
                self._connection.execute("UPDATE marks SET certain = 0")
                self._connection.execute("UPDATE guard SET complete = 0")
            self._connection.execute("UPDATE guard SET inode = ?, changes = ?, settled = 0", (here, self._changes))
        self._settled = False
        self.settle()

    def _require_changes(self, expected: int) -> None:
        (found,) = self._connection.execute("SELECT changes FROM guard").fetchone()
        if found != expected:
            raise _put_back(self._path, "it was overwritten while the node was running")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise _disk_error(self._path, error) from error
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise _unreadable(
                self._path, f"is damaged ({error}): move it aside, then run `plimsoll keys renew-guard`"
            ) from error


def create_guard_file(path: Path, address: Address) -> None:
    """Make the guard of a key that was made just now, and so has signed nothing.

    Raises:
        FatalError: the file exists already, or another process holds its lock.
        TransientError: the disk is full or failing.
    """
    lock = GuardLock(path)
    try:
        if path.exists():
            raise _unreadable(path, "exists already; a guard is never replaced")
        _create(path, address, lock, complete=True)
    finally:
        lock.close()


def _create(path: Path, address: Address, lock: GuardLock, *, complete: bool) -> None:
    """Make the file under another name, so that it appears complete or not at all."""
    draft = path.with_name(path.name + ".draft")
    changes = lock.count() or 0
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(_connect(draft)) as connection:
            connection.executescript(_SCHEMA)
            values = (str(address), complete and not changes, draft.stat().st_ino, lock.write(changes), changes)
            connection.execute("INSERT INTO guard VALUES (?, ?, ?, ?, ?, 1)", values)
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
            connection.execute("COMMIT")
        draft.rename(path)
        sync_directory(path.parent)
    except sqlite3.OperationalError as error:
        raise _disk_error(path, error) from error
    except OSError as error:
        raise unwritable(path, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    # EXTRA is FULL and also syncs the directory after the journal is deleted, which is what commits.
    connection.execute("PRAGMA synchronous = EXTRA")
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _disk_error(path: Path, error: sqlite3.OperationalError) -> PlimsollError:
    """Tell a disk that may recover from one that refuses, and both from a damaged file."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte; the rest says more precisely where
    reason = f"{path} cannot be written ({error}); nothing is signed without it"
    if primary in _DISK_MAY_RECOVER:
        return TransientError(f"{reason}: make room on the disk", code="guard_unwritable")
    if primary in _DISK_REFUSES:
        return FatalError(f"{reason}: check the owner, the mode and how the disk is mounted", code="guard_unwritable")
    return _unreadable(path, f"is damaged ({error}): move it aside, then run `plimsoll keys renew-guard`")


def _unreadable(path: Path, reason: str) -> FatalError:
    return FatalError(f"{path} {reason}", code="guard_unreadable")


def _put_back(path: Path, how: str) -> FatalError:
    return FatalError(
        f"{path} was put back from an older copy ({how}), and no longer knows what the key signed: make sure that no "
        "other machine signs with this key and that the clock is right, then run `plimsoll keys renew-guard`",
        code="guard_put_back",
    )
