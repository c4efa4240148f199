"""The index of one venue: which accounts its logs named, and how much each has as the contracts last told.

A SQLite file of its own: it can be thrown away, made anew from the chain, or taken from another operator. Rows of logs
are only added, in whole ranges of blocks that end in a checkpoint (the hash of the last block): what a crash interrupts
was never there. A reorganisation takes back everything above the last checkpoint that still is on the chain.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from riskschema.codec import decode_json, encode_json
from riskschema.errors import FatalError, TransientError
from riskschema.holders import PLACES, Holder, Known, Touch
from riskschema.units import Address, Hash32

FORMAT = "2"
BUSY_SECONDS = 20.0
KEPT_CHECKPOINTS = 256
"""Newest checkpoints that are kept all."""
CHECKPOINT_BLOCKS = 10_000
"""Of older checkpoints one of so many blocks is kept."""
_ACCOUNT_BYTES, _TOUCH_BYTES = 20, 22

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS books (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS checkpoints (number INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS known (number INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS logs (place INTEGER PRIMARY KEY, touches BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (account BLOB PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holdings (
    book INTEGER NOT NULL, account BLOB NOT NULL, units BLOB, PRIMARY KEY (book, account)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uncounted ON holdings (book, account) WHERE units IS NULL;
"""
_FORGET_UNITS = (
    "INSERT INTO holdings (book, account, units) VALUES (?, ?, NULL)"
    " ON CONFLICT (book, account) DO UPDATE SET units = NULL"
)


class Checkpoint(msgspec.Struct, frozen=True):
    """A block up to which all logs are in the index."""

    number: int
    hash: Hash32


class IndexSize(msgspec.Struct, frozen=True, kw_only=True):
    """What an index holds."""

    logs: int
    accounts: int
    holders: int
    uncounted: int
    """Holders whose units are still to be asked."""
    bytes: int


class IndexFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an index says about itself."""

    venue: str
    block: int | None
    """Its last checkpoint."""
    proved: int | None
    """The last block up to which it was found complete."""
    size: IndexSize


@contextmanager
def open_holder_index(path: Path, *, venue: str, start_block: int) -> Iterator[HolderIndex]:
    """Open the index of a venue, made if missing.

    Raises:
        FatalError: it cannot be opened, is no index, is another venue's, or another process has it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FatalError(f"index {path}: {error}", code="index_unusable") from error
    try:
        with _locked(lock, path):
            yield from _open(path, venue, start_block)
    finally:
        os.close(lock)


@contextmanager
def _locked(lock: int, path: Path) -> Iterator[None]:
    """Keep others from writing an index whose units are in this process's memory."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise FatalError(f"index {path}: another process writes it: stop that first", code="index_unusable") from error
    yield


def _open(path: Path, venue: str, start_block: int) -> Iterator[HolderIndex]:
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise FatalError(f"index {path}: {error}", code="index_unusable") from error
    try:
        index = HolderIndex(connection, path)
        index.prepare(venue=venue, start_block=start_block)
        yield index
    except sqlite3.DatabaseError as error:
        raise FatalError(
            f"index {path}: {error}: delete the file, plimsoll index backfill makes it anew", code="index_unusable"
        ) from error
    finally:
        connection.close()


def read_index_facts(path: Path) -> IndexFacts:
    """Read what an index says about itself, though a process may be writing it; it counts all rows.

    Raises:
        FatalError: it is no index.
    """
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        ) as connection:
            facts = dict(connection.execute("SELECT name, value FROM facts"))
            tables = ("logs", "accounts", "holdings", "holdings WHERE units IS NULL")
            counts = [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of ours
                for table in tables
            ]
            (block,) = connection.execute("SELECT max(number) FROM checkpoints").fetchone()
    except (sqlite3.Error, OSError) as error:
        raise FatalError(f"index {path}: {error}", code="index_unusable") from error
    logs, accounts, holders, uncounted = counts
    proved = facts.get("proved")
    return IndexFacts(
        venue=facts.get("venue", ""),
        block=block,
        proved=None if proved is None else int(proved),
        size=IndexSize(logs=logs, accounts=accounts, holders=holders, uncounted=uncounted, bytes=path.stat().st_size),
    )


class HolderIndex:
    """An open index; one thread at a time.

    Args:
        connection: In autocommit mode.
        path: For messages and size.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._books: dict[str, int] = {}
        self._names: list[str] = []
        self._units: dict[str, dict[Address, int]] = {}
        self._places: dict[Address, int] = {}

    def prepare(self, *, venue: str, start_block: int) -> None:
        """Make the tables or check whose they are, and load what is held.

        Raises:
            FatalError: the index is another venue's, begins elsewhere, or is of another format.
        """
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _TABLES)
        wanted = {"format": FORMAT, "venue": venue, "start_block": str(start_block)}
        found = dict(self._connection.execute("SELECT name, value FROM facts WHERE name != 'proved'"))
        if not found:
            with self._writing():
                self._connection.executemany("INSERT INTO facts VALUES (?, ?)", wanted.items())
        elif found != wanted:
            differing = ", ".join(f"{name} {found.get(name)} for {wanted[name]}" for name in wanted)
            raise FatalError(
                f"index {self.path} is of another venue, begin or release ({differing}): move it away",
                code="index_unusable",
            )
        self._load()

    @property
    def tip(self) -> Checkpoint | None:
        """The last checkpoint."""
        return next(self.checkpoints(), None)

    def checkpoints(self) -> Iterator[Checkpoint]:
        """Yield the checkpoints, newest first."""
        for number, digest in self._connection.execute("SELECT number, hash FROM checkpoints ORDER BY number DESC"):
            yield Checkpoint(number, Hash32(digest))

    def known(self, *, at: int | None = None) -> Known:
        """Return what logs up to a block said; up to the tip if None."""
        row = self._connection.execute(
            "SELECT value FROM known WHERE number <= ? ORDER BY number DESC LIMIT 1", (2**62 if at is None else at,)
        ).fetchone()
        return {} if row is None else decode_json(row[0].encode(), dict[str, Address], what=str(self.path))

    def known_ends(self) -> tuple[int, ...]:
        """Return the blocks, oldest first, of which the index says what was known after them."""
        rows = self._connection.execute("SELECT number FROM known UNION SELECT number FROM checkpoints ORDER BY number")
        return tuple(number for (number,) in rows)

    def append(self, checkpoint: Checkpoint, known: Known, touches: Sequence[Touch]) -> None:
        """Add what the logs of a range say, in one transaction: all of it is there afterwards, or nothing.

        Args:
            checkpoint: The last block of the range, which begins after the tip.
            known: What is known after it.
            touches: In the order of the chain.

        Raises:
            TransientError: the disk failed; (``index_unusable``) they cannot be kept beside what is there.
        """
        changed = known != self.known()
        first, packed = dict[Address, int](), defaultdict[int, bytearray](bytearray)
        holders = dict[tuple[str, Address], None]()
        with self._writing():
            for touch in touches:
                place = touch.block_number * PLACES + touch.index
                packed[place] += self._book(touch.book).to_bytes(2, "big") + touch.account.to_bytes()
                first.setdefault(touch.account, place)
                holders[touch.book, touch.account] = None
            execute = self._connection.executemany
            execute("INSERT INTO logs VALUES (?, ?)", packed.items())
            rows = ((account.to_bytes(), place) for account, place in first.items())
            execute("INSERT OR IGNORE INTO accounts VALUES (?, ?)", rows)
            execute(_FORGET_UNITS, ((self._books[book], account.to_bytes()) for book, account in holders))
            if changed:
                row = (checkpoint.number, encode_json(dict(sorted(known.items()))).decode())
                self._connection.execute("INSERT INTO known VALUES (?, ?)", row)
            self._connection.execute(
                "INSERT INTO checkpoints VALUES (?, ?)", (checkpoint.number, checkpoint.hash.to_bytes())
            )
            self._thin_out()
        for book, account in holders:
            self._units.get(book, {}).pop(account, None)

    def roll_back(self, number: int) -> None:
        """Forget everything above a checkpoint, and the units of all whom it touched (below 0: everything)."""
        with self._writing():
            execute = self._connection.execute
            above = [(self._books[book], account.to_bytes()) for book, account in self._touched_after(number)]
            self._connection.executemany(_FORGET_UNITS, above)
            execute("DELETE FROM logs WHERE place >= ?", ((number + 1) * PLACES,))
            execute("DELETE FROM accounts WHERE place >= ?", ((number + 1) * PLACES,))
            execute("DELETE FROM holdings WHERE account NOT IN (SELECT account FROM accounts)")
            execute("DELETE FROM checkpoints WHERE number > ?", (number,))
            execute("DELETE FROM known WHERE number > ?", (number,))
        self._load()

    def touched_after(self, number: int) -> tuple[Holder, ...]:
        """Return the holders that a log above block `number` touches."""
        return tuple(Holder(book, account) for book, account in sorted(self._touched_after(number)))

    def uncounted(
        self, limit: int, *, after: Holder | None = None, besides: Collection[str] = ()
    ) -> tuple[Holder, ...]:
        """Return holders whose units are to be asked, at most so many, in an order of the index's own.

        Args:
            limit: How many at most.
            after: The last one of those before.
            besides: Books that are left out.
        """
        left_out = [self._books[book] for book in besides if book in self._books]
        last = (-1, b"") if after is None else (self._books[after.book], after.account.to_bytes())
        rows = self._connection.execute(
            "SELECT book, account FROM holdings WHERE units IS NULL AND (book, account) > (?, ?)"
            " AND book NOT IN (SELECT value FROM json_each(?)) ORDER BY book, account LIMIT ?",
            (*last, encode_json(left_out).decode(), limit),
        )
        return tuple(Holder(self._names[book], _of(account)) for book, account in rows)

    def accounts(self, book: str, *, up_to: int) -> tuple[Address, ...]:
        """Return everybody who ever was touched in a book up to a block."""
        rows = self._connection.execute(
            "SELECT h.account FROM holdings h JOIN accounts a USING (account) WHERE h.book = ? AND a.place < ?",
            (self._books.get(book, -1), (up_to + 1) * PLACES),
        )
        return tuple(_of(account) for (account,) in rows)

    @property
    def proved(self) -> int | None:
        """The last block up to which the index was found complete, where it still is in the index."""
        row = self._connection.execute(
            "SELECT value FROM facts JOIN checkpoints ON number = CAST(value AS INTEGER) WHERE name = 'proved'"
        ).fetchone()
        return None if row is None else int(row[0])

    def prove(self) -> None:
        """Keep that the index is complete up to its tip."""
        if self.tip is not None and self.tip.number != self.proved:
            with self._writing():
                self._connection.execute(
                    "INSERT INTO facts VALUES ('proved', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (str(self.tip.number),),
                )

    def count(self, units: Iterable[tuple[Holder, int]]) -> None:
        """Keep the units of holders, as the contracts tell them at the tip or at a block after their last touch."""
        counted = list(units)
        with self._writing():
            self._connection.executemany(
                "UPDATE holdings SET units = ? WHERE book = ? AND account = ?",
                (
                    (held.to_bytes(32, "big").lstrip(b"\0"), self._books[holder.book], holder.account.to_bytes())
                    for holder, held in counted
                ),
            )
        for holder, held in counted:
            if held:
                self._units.setdefault(holder.book, {})[holder.account] = held
                if holder.account not in self._places:
                    self._places[holder.account] = self._place_of(holder.account)

    @property
    def units(self) -> Mapping[str, Mapping[Address, int]]:
        """What everybody has at the tip, by book: those who have nothing are left out, so are the uncounted."""
        return self._units

    def place(self, account: Address) -> tuple[int, int]:
        """Return block and index of the first log that names an account."""
        return divmod(self._places.get(account) or self._place_of(account), PLACES)

    def forget_units(self) -> None:
        """Count everybody anew."""
        with self._writing():
            self._connection.execute("UPDATE holdings SET units = NULL")
            self._connection.execute("DELETE FROM facts WHERE name = 'proved'")
        self._load()

    @staticmethod
    def block_of(place: int) -> int:
        """Return the block of a place in `digests`."""
        return place // PLACES

    def digests(self, first: int, last: int) -> dict[int, bytes]:
        """Return what the logs of blocks `first` to `last` say, by place: for comparison with the chain."""
        rows = self._connection.execute(
            "SELECT place, touches FROM logs WHERE place >= ? AND place < ?", (first * PLACES, (last + 1) * PLACES)
        )
        return dict(rows)

    def digests_of(self, touches: Sequence[Touch]) -> dict[int, bytes]:
        """Return touches as `digests` would once they were appended; a book that the index lacks is none of its."""
        packed = defaultdict[int, bytearray](bytearray)
        for touch in touches:
            book = self._books.get(touch.book, 0xFFFF).to_bytes(2, "big")
            packed[touch.block_number * PLACES + touch.index] += book + touch.account.to_bytes()
        return {place: bytes(each) for place, each in packed.items()}

    def _load(self) -> None:
        rows = self._connection.execute("SELECT id, name FROM books ORDER BY id").fetchall()
        self._books = {name: number for number, name in rows}
        self._names = [name for _, name in rows]
        self._units = {name: {} for name in self._names}
        for book, account, units in self._connection.execute(
            "SELECT book, account, units FROM holdings WHERE units IS NOT NULL AND units != x''"
        ):
            self._units[self._names[book]][_of(account)] = int.from_bytes(units, "big")
        held = {account for each in self._units.values() for account in each}
        self._places = {
            _of(account): place
            for account, place in self._connection.execute("SELECT account, place FROM accounts")
            if _of(account) in held
        }

    def _book(self, name: str) -> int:
        if name not in self._books:
            number = len(self._names)
            self._connection.execute("INSERT INTO books VALUES (?, ?)", (number, name))
            self._books[name] = number
            self._names.append(name)
        return self._books[name]

    def _place_of(self, account: Address) -> int:
        row = self._connection.execute("SELECT place FROM accounts WHERE account = ?", (account.to_bytes(),)).fetchone()
        return int(row[0])

    def _touched_after(self, number: int) -> set[tuple[str, Address]]:
        found = set[tuple[str, Address]]()
        for (touches,) in self._connection.execute(
            "SELECT touches FROM logs WHERE place >= ?", ((number + 1) * PLACES,)
        ):
            for at in range(0, len(touches), _TOUCH_BYTES):
                book = int.from_bytes(touches[at : at + 2], "big")
                found.add((self._names[book], _of(touches[at + 2 : at + 2 + _ACCOUNT_BYTES])))
        return found

    def _thin_out(self) -> None:
        """Drop most of the old checkpoints: a reorganisation that deep only costs reading a little more again."""
        self._connection.execute(
            "DELETE FROM checkpoints"
            " WHERE number < (SELECT number FROM checkpoints ORDER BY number DESC LIMIT 1 OFFSET ?)"
            " AND number NOT IN (SELECT max(number) FROM checkpoints GROUP BY number / ?)",
            (KEPT_CHECKPOINTS - 1, CHECKPOINT_BLOCKS),
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._give_up()
            raise TransientError(f"index {self.path}: {error}", code="store_failed") from error
        except (sqlite3.IntegrityError, OverflowError) as error:
            self._give_up()
            raise TransientError(
                f"index {self.path}: what was read does not fit what is there ({error}): run plimsoll index verify",
                code="index_unusable",
            ) from error
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._load()


def _of(account: bytes) -> Address:
    return Address("0x" + account.hex())
