"""The whole hourly price table of the network in memory: the genesis history and every hour completed since."""

from __future__ import annotations

from collections.abc import Iterable

from attest.hourly import HourlyMemory, HourRow
from attest.hourly_table import extend_history, verify_rows
from riskschema.errors import FatalError
from riskschema.market import HourlyHistory


class HourlyPrices:
    """Grows with the certified states; a state always carries the hours completed last.

    Args:
        genesis: The committee's genesis history.
        rows: Completed hours known from before, oldest first.
    """

    def __init__(self, genesis: HourlyHistory, rows: Iterable[HourRow] = ()) -> None:
        self._genesis = genesis
        self._rows = {row.hour: row for row in rows}
        self._extended = genesis
        self._extended_rows = 0

    def add(self, memory: HourlyMemory) -> tuple[HourRow, ...]:
        """Take the hours that a certified state completed; return those that were new."""
        new = tuple(row for row in memory.recent if row.hour not in self._rows)
        self._rows.update({row.hour: row for row in new})
        return new

    def at(self, memory: HourlyMemory, genesis_root: bytes) -> HourlyHistory:
        """Return the table that a state commits to, its own new hours included.

        Args:
            memory: Of the state.
            genesis_root: Hash of the genesis history, where the commitment begins.

        Raises:
            FatalError: hours are missing or differ: this node was away for longer than a state remembers.
        """
        known = {**self._rows, **{row.hour: row for row in memory.recent}}
        rows = [known[hour] for hour in sorted(known) if hour < memory.open_hour]
        if len(rows) != memory.count:
            raise FatalError(
                f"the price table has {len(rows)} of the {memory.count} hours that the network agreed on: "
                "copy the database of another operator",
                code="store_unusable",
            )
        if self._extended_rows != len(rows):
            verify_rows(genesis_root, rows, memory)
            self._extended = extend_history(self._genesis, rows)
            self._extended_rows = len(rows)
        return self._extended
