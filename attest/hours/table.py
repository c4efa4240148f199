"""The whole hourly table: where it begins, how completed hours are appended, and how it is checked against a state."""

from collections.abc import Iterable

import msgspec

from attest.encoding.canonical_bytes import ByteWriter
from attest.encoding.keccak import keccak256
from attest.hours.hourly import HOUR, HourlyMemory, HourPrice, HourRow, encode_row
from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.market import HourlyHistory


def genesis_memory(history: HourlyHistory) -> HourlyMemory:
    """Return the memory that continues a genesis history.

    Raises:
        InvalidData: the history has no hour.
    """
    if not history.hours:
        raise InvalidData("genesis history: it has no hour", code="invalid_document")
    closes = [_last_cell(history.close, line) for line in range(len(history.factors))]
    running = sorted(
        (
            HourPrice(factor=factor, close=close, high=close, low=close, filled=True)
            for factor, close in zip(history.factors, closes, strict=True)
        ),
        key=lambda price: price.factor,
    )
    return HourlyMemory(
        root=history_hash(history),
        count=0,
        open_hour=history.first_hour + history.hours * HOUR,
        running=tuple(running),
        recent=(),
    )


def history_hash(history: HourlyHistory) -> bytes:
    """Return keccak of the canonical bytes of a genesis history, `Committee.history_hash`."""
    writer = ByteWriter()
    writer.uint(history.first_hour, 8)
    writer.uint(history.hours, 8)
    writer.uint(history.simulated, 1)
    writer.items(history.factors, lambda each, factor: each.text(factor))
    for column in (history.close, history.high, history.low):
        writer.blob(column.data)
    if history.filled:  # a history without holes has the hash it had before holes were told
        writer.items(history.filled, lambda each, factor: each.text(factor))
    return keccak256(writer.finish())


def extend_history(
    history: HourlyHistory, rows: Iterable[HourRow], *, window_hours: int | None = None
) -> HourlyHistory:
    """Append completed hours to a table; factors that the table does not have are left out.

    Args:
        history: The table so far.
        rows: Hours that follow its last.
        window_hours: How many of the newest hours are looked at for filled ones; all, if not given. Those of `history`
            itself count until its last hour has left the window.

    Raises:
        InvalidData: a row does not follow the last hour, or lacks a factor of the table.
    """
    cells: tuple[list[list[int]], ...] = tuple([[] for _ in history.factors] for _ in range(3))
    hours = history.hours
    filled = dict.fromkeys(history.filled, hours)
    for row in rows:
        if row.hour != history.first_hour + hours * HOUR:
            raise InvalidData(f"the hour {row.hour} does not follow the table's last", code="invalid_document")
        by_factor = {price.factor: price for price in row.prices}
        for line, factor in enumerate(history.factors):
            if (price := by_factor.get(factor)) is None:
                raise InvalidData(f"the hour {row.hour} has no price of {factor}", code="invalid_document")
            for column, cell in zip(cells, (price.close, price.high, price.low), strict=True):
                column[line].append(cell)
            if price.filled:
                filled[factor] = hours + 1
        hours += 1
    columns = (history.close, history.high, history.low)
    close, high, low = (_appended(column, added) for column, added in zip(columns, cells, strict=True))
    oldest = 0 if window_hours is None else hours - window_hours
    named = tuple(factor for factor in history.factors if filled.get(factor, 0) > oldest)
    return msgspec.structs.replace(history, close=close, high=high, low=low, filled=named)


def verify_rows(genesis_root: bytes, rows: Iterable[HourRow], memory: HourlyMemory) -> None:
    """Check that `rows` are exactly the completed hours that a state commits to.

    Raises:
        InvalidData: they are not.
    """
    root, count = genesis_root, 0
    for row in rows:
        root, count = keccak256(root + encode_row(row)), count + 1
    if (root, count) != (memory.root, memory.count):
        raise InvalidData("the hours are not those that the state commits to", code="invalid_document")


def _last_cell(column: Column, line: int) -> int:
    end = 8 * column.shape[1] * (line + 1)
    return int.from_bytes(column.data[end - 8 : end], "little", signed=True)


def _appended(column: Column, added: list[list[int]]) -> Column:
    factors, hours = column.shape
    width = 8 * hours
    lines = (
        column.data[width * line : width * (line + 1)]
        + b"".join(cell.to_bytes(8, "little", signed=True) for cell in added[line])
        for line in range(factors)
    )
    grown = len(added[0]) if added else 0
    return Column(dtype="int64", shape=(factors, hours + grown), data=b"".join(lines))
