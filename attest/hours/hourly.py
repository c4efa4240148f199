"""The network's own hourly prices: close, high and low per factor, kept by rule and committed as a chain of hashes.

The rule. The hour [h, h + 3600) closes with the price of the first report in the parent chain observed at or after
h + 3600; its high and low run over all reports observed inside it and that closing one. An hour in which no report was
observed repeats the close before it, flagged as filled. A factor without a fresh value closes at its last price,
flagged too.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from attest.encoding.canonical_bytes import ByteReader, ByteWriter, check_increasing
from attest.encoding.keccak import keccak256
from riskschema.errors import InvalidData
from riskschema.instruments import FactorId
from riskschema.units import Wad

HOUR = 3_600
RECENT_HOURS = 48
"""Completed hours that travel with the state, so that who was away for less rebuilds the table from the state alone."""
MAX_GAP_HOURS = 24 * 366
MAX_FACTORS = 2_000
PRICE_UNIT = 10**6
"""Wads (10^-18) in one unit of the history (10^-12)."""
MAX_PRICE = 2**63 - 1


class HourPrice(msgspec.Struct, frozen=True, kw_only=True):
    """One factor in one hour, in units of 10^-12 USD."""

    factor: FactorId
    close: int
    high: int
    low: int
    filled: bool
    """True when the close repeats an earlier price."""


class HourRow(msgspec.Struct, frozen=True, kw_only=True):
    """All factors in one completed hour."""

    hour: int
    """Unix time at which the hour begins."""
    prices: tuple[HourPrice, ...]
    """By factor."""


class HourlyMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What the state keeps: a commitment to all completed hours, the last of them, and the hour that runs."""

    root: bytes
    """keccak(previous root ‖ row) over all completed rows; the hash of the genesis history before the first."""
    count: int
    """Completed hours since genesis."""
    open_hour: int
    """Unix time at which the running hour began."""
    running: tuple[HourPrice, ...]
    """Last price, high and low so far, by factor; `filled` where no fresh value came within the hour."""
    recent: tuple[HourRow, ...]
    """The last completed hours, at most `RECENT_HOURS`, oldest first."""


class FreshPrice(NamedTuple):
    """The price of a factor in one report."""

    price: int
    """In units of 10^-12 USD."""
    fresh: bool
    """False when it was kept from an earlier report."""


def advance(memory: HourlyMemory, observed_at: int, prices: Mapping[str, FreshPrice]) -> HourlyMemory:
    """Take in the prices of one report.

    Args:
        memory: Before the report.
        observed_at: Unix seconds of the report; not before the open hour.
        prices: Per factor; factors left out keep their last price.

    Raises:
        InvalidData: the report is before the open hour, or more than a year after it.
    """
    hour = observed_at - observed_at % HOUR
    if not 0 <= hour - memory.open_hour <= MAX_GAP_HOURS * HOUR:
        raise InvalidData(
            f"a report at {observed_at} cannot follow the hour {memory.open_hour}: check the clock and the genesis",
            code="invalid_document",
        )
    running = _take_in(memory.running, prices)
    if hour == memory.open_hour:
        return msgspec.structs.replace(memory, running=running)
    rows = [HourRow(hour=memory.open_hour, prices=running)]
    repeated = tuple(_flat(price, filled=True) for price in running)
    rows.extend(HourRow(hour=gap, prices=repeated) for gap in range(memory.open_hour + HOUR, hour, HOUR))
    root = memory.root
    for row in rows:
        root = keccak256(root + encode_row(row))
    return HourlyMemory(
        root=root,
        count=memory.count + len(rows),
        open_hour=hour,
        running=tuple(_flat(price, filled=price.filled) for price in running),
        recent=(*memory.recent, *rows)[-RECENT_HOURS:],
    )


def price_units(value: Wad) -> int:
    """Return a value in units of 10^-12 USD, rounded down, at least one unit."""
    return min(max(value // PRICE_UNIT, 1), MAX_PRICE)


def encode_row(row: HourRow) -> bytes:
    """Return the canonical bytes of a completed hour."""
    writer = ByteWriter()
    write_row(writer, row)
    return writer.finish()


def write_row(writer: ByteWriter, row: HourRow) -> None:
    """Append the hour (8 bytes) and its prices."""
    writer.uint(row.hour, 8)
    writer.items(row.prices, write_price)


def read_row(reader: ByteReader) -> HourRow:
    """Read what `write_row` wrote.

    Raises:
        InvalidData: factors out of order.
    """
    return HourRow(hour=reader.uint(8), prices=read_prices(reader))


def write_price(writer: ByteWriter, price: HourPrice) -> None:
    """Append factor, close, high, low (8 bytes each) and the flag."""
    writer.text(price.factor)
    for cell in (price.close, price.high, price.low):
        writer.uint(cell, 8)
    writer.uint(price.filled, 1)


def read_prices(reader: ByteReader) -> tuple[HourPrice, ...]:
    """Read a list of prices.

    Raises:
        InvalidData: factors out of order, or a flag that is neither 0 nor 1.
    """
    prices = reader.items(_read_price, at_most=MAX_FACTORS)
    check_increasing((price.factor for price in prices), what="prices")
    return prices


def _read_price(reader: ByteReader) -> HourPrice:
    factor = reader.text()
    close, high, low = reader.uint(8), reader.uint(8), reader.uint(8)
    if not 1 <= low <= close <= high <= MAX_PRICE:
        raise reader.refused(f"impossible prices of {factor}")
    return HourPrice(factor=factor, close=close, high=high, low=low, filled=reader.flag())


def _take_in(running: tuple[HourPrice, ...], prices: Mapping[str, FreshPrice]) -> tuple[HourPrice, ...]:
    merged = {price.factor: price for price in running}
    for factor, (price, fresh) in prices.items():
        known = merged.get(factor)
        merged[factor] = HourPrice(
            factor=factor,
            close=price,
            high=price if known is None else max(price, known.high),
            low=price if known is None else min(price, known.low),
            filled=not fresh,
        )
    return tuple(
        merged[factor] if factor in prices else msgspec.structs.replace(merged[factor], filled=True)
        for factor in sorted(merged)
    )


def _flat(price: HourPrice, *, filled: bool) -> HourPrice:
    return HourPrice(factor=price.factor, close=price.close, high=price.close, low=price.close, filled=filled)
