"""The whole hourly price table of the network: the genesis history and every hour completed since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attest.agreement.outcome import Outcome
from attest.encoding.canonical_bytes import ByteReader
from attest.hours.hourly import HOUR, FreshPrice, HourlyMemory, HourRow, advance, encode_row, price_units, read_row
from attest.hours.table import extend_history, verify_rows
from riskschema.errors import FatalError, InvalidData, ProtocolViolation
from riskschema.market import HourlyHistory
from riskschema.rounds import StoredHour

MOST_EXPECTED = 4
"""Reports that may yet be certified."""


class HourlyPrices:
    """The hours of the certified reports, in memory; the store keeps them for the next start.

    Args:
        genesis: The committee's genesis history.
        genesis_root: Its hash, where the commitment of every state begins.
        window_hours: How far back filled hours are told.
    """

    def __init__(self, genesis: HourlyHistory, genesis_root: bytes, window_hours: int) -> None:
        self._genesis = genesis
        self._window_hours = window_hours
        self._genesis_root = genesis_root
        self._rows: dict[int, HourRow] = {}
        self._table = genesis
        self._table_root = genesis_root
        self._expected: dict[bytes, tuple[HourRow, ...]] = {}

    def load(self, stored: Iterable[StoredHour], memory: HourlyMemory) -> None:
        """Take up the hours of the store, as far as the last certified state goes, and check them against it.

        Raises:
            FatalError: hours are missing, damaged or another network's.
        """
        try:
            rows = [decode_hour(each) for each in stored]
            self.keep(row for row in (*rows, *memory.recent) if row.hour < memory.open_hour)
            self.at(memory)
        except InvalidData as error:
            raise _unusable(error.message) from error

    def keep(self, rows: Iterable[HourRow]) -> None:
        """Take the hours that a certified report completed."""
        self._rows.update({row.hour: row for row in rows})

    def expect(self, memory: HourlyMemory, completed: Sequence[HourRow]) -> None:
        """Remember the hours that a report of this node completed, until one of them is certified."""
        self._expected[memory.root] = tuple(completed)
        while len(self._expected) > MOST_EXPECTED:
            del self._expected[next(iter(self._expected))]

    def completed_by(self, memory: HourlyMemory) -> tuple[HourRow, ...]:
        """Return the hours to keep with a certified state: those its report completed, and all that it carries.

        A state that comes from a peer is a node's first knowledge of its hours.
        """
        known = (*self._expected.get(memory.root, ()), *memory.recent)
        rows = {row.hour: row for row in known if row.hour < memory.open_hour}
        return tuple(rows[hour] for hour in sorted(rows) if self._rows.get(hour) != rows[hour])

    def lacks(self, memory: HourlyMemory, learned: Iterable[HourRow] = ()) -> int | None:
        """Return the first hour (Unix time) that a state's table needs and that is not at hand; None: all are there.

        Args:
            memory: Of the state.
            learned: Further hours, not verified yet.
        """
        first = memory.open_hour - memory.count * HOUR
        known = self._rows.keys() | {row.hour for row in (*memory.recent, *learned)}
        return next((hour for hour in range(first, memory.open_hour, HOUR) if hour not in known), None)

    def learn(self, memory: HourlyMemory, learned: Iterable[HourRow]) -> tuple[HourRow, ...]:
        """Take hours that a peer sent, if they are those that a certified state commits to; return what to keep.

        Raises:
            ProtocolViolation: they are not.
        """
        known = {**self._rows, **{row.hour: row for row in (*learned, *memory.recent)}}
        rows = [known[hour] for hour in sorted(known) if hour < memory.open_hour]
        try:
            verify_rows(self._genesis_root, rows, memory)
        except InvalidData as error:
            raise ProtocolViolation(f"refused: {error.message}", code="forged") from error
        self.keep(rows)
        return tuple(rows)

    def at(self, memory: HourlyMemory, completed: Iterable[HourRow] = ()) -> HourlyHistory:
        """Return the table that a state commits to.

        Args:
            memory: Of the state.
            completed: Hours that the state's report itself completed (`completed_hours`).

        Raises:
            FatalError: the hours at hand are not those that the network agreed on.
        """
        if memory.root != self._table_root:
            known = {**self._rows, **{row.hour: row for row in (*memory.recent, *completed)}}
            rows = [known[hour] for hour in sorted(known) if hour < memory.open_hour]
            if len(rows) != memory.count:
                raise _unusable(f"{len(rows)} of the {memory.count} hours that the network agreed on are there")
            try:
                verify_rows(self._genesis_root, rows, memory)
                self._table = extend_history(self._genesis, rows, window_hours=self._window_hours)
            except InvalidData as error:
                raise _unusable(error.message) from error
            self._table_root = memory.root
        return self._table


def completed_hours(memory: HourlyMemory, outcome: Outcome) -> tuple[HourRow, ...]:
    """Return every hour that a round completes, also where that is more than its state carries.

    Args:
        memory: Of the parent state.
        outcome: Of the round.

    Raises:
        InvalidData: the outcome lies before the open hour, or more than a year after it.
    """
    prices = {
        value.factor: FreshPrice(price=price_units(value.value), fresh=not value.stale) for value in outcome.values
    }
    rows = []
    # Hour by hour: the prices close the open hour, and the hours after it repeat that close.
    for hour in range(memory.open_hour + HOUR, outcome.observed_at + 1, HOUR):
        memory = advance(memory, hour, prices)
        rows.append(memory.recent[-1])
        prices = {}
    return tuple(rows)


def encode_hours(rows: Sequence[HourRow]) -> tuple[StoredHour, ...]:
    """Return completed hours as the store keeps them."""
    return tuple(StoredHour(hour=row.hour, row=encode_row(row)) for row in rows)


def decode_hour(stored: StoredHour) -> HourRow:
    """Read a kept hour.

    Raises:
        InvalidData: the bytes are damaged.
    """
    reader = ByteReader(stored.row, what=f"the kept hour {stored.hour}")
    row = read_row(reader)
    reader.finish()
    return row


def _unusable(reason: str) -> FatalError:
    return FatalError(
        f"the price table in the database is not the network's: {reason}; copy the database of another operator",
        code="store_unusable",
    )
