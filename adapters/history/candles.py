"""Hourly candles from CSV and Parquet files, checked row by row.

Columns: ``ts`` (Unix seconds UTC of the hour's open), ``open``, ``high``, ``low``, ``close`` (US dollars) and
``volume_base``; others are ignored. Prices become integers of 10^-12 USD by their decimal digits (a Parquet double by
its shortest ones), so that the same data in both formats gives the same integers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Any

import msgspec

from riskschema.errors import InvalidData
from riskschema.market import HISTORY_PRICE_DECIMALS

COLUMNS = ("ts", "open", "high", "low", "close", "volume_base")
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_ROWS = 1_000_000
MAX_LINE_CHARACTERS = 4_096
_LARGEST_PRICE = 2**63 - 1
_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,3})?")

Row = Sequence[object]
"""The raw values of one row in the order of `COLUMNS`."""


class Candle(msgspec.Struct, frozen=True):
    """One hour; prices in 10^-12 USD."""

    hour: int
    """Unix time of its open."""
    high: int
    low: int
    close: int


def read_candles(path: Path) -> list[Candle]:
    """Read the candles of one asset, oldest first, by the file's suffix (``.csv`` or ``.parquet``).

    Raises:
        InvalidData: the file cannot be read, or naming file, row (the first of the data is 1) and column of a value
            that is missing, no number, not positive, out of order, doubled, or inconsistent with its row.
    """
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidData(f"{path}: a history is a .csv or .parquet file", code="file_unreadable")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InvalidData(f"{path}: {error.strerror}", code="file_unreadable") from error
    if size > MAX_FILE_BYTES:
        raise InvalidData(f"{path}: larger than {MAX_FILE_BYTES} bytes", code="document_too_large")
    candles: list[Candle] = []
    with localcontext() as context:
        context.prec = 60
        for number, row in enumerate(reader(path), start=1):
            if number > MAX_ROWS:
                raise InvalidData(f"{path}: more than {MAX_ROWS} rows", code="document_too_large")
            candles.append(_candle(row, candles[-1].hour if candles else None, f"{path} row {number}"))
    if not candles:
        raise InvalidData(f"{path}: no rows", code="invalid_document")
    return candles


def _candle(row: Row, previous_hour: int | None, where: str) -> Candle:
    hour = _hour(row[0], previous_hour, where)
    prices = zip(COLUMNS[1:5], row[1:5], strict=True)
    opened, high, low, close = (_price(value, f"{where} column {name}") for name, value in prices)
    if high < max(opened, low, close):
        raise InvalidData(f"{where} column high: lower than open, low or close", code="invalid_document")
    if low > min(opened, close):
        raise InvalidData(f"{where} column low: higher than open or close", code="invalid_document")
    if _number(row[5], f"{where} column volume_base") < 0:
        raise InvalidData(f"{where} column volume_base: negative", code="invalid_document")
    return Candle(hour, high, low, close)


def _hour(value: object, previous: int | None, where: str) -> int:
    number = _number(value, f"{where} column ts")
    if number != int(number) or not 0 <= number < 2**53 or int(number) % 3_600:
        raise InvalidData(f"{where} column ts: {value} is not the Unix time of a full hour", code="invalid_document")
    hour = int(number)
    if previous is not None and hour <= previous:
        fault = "the hour of the row before again" if hour == previous else f"earlier than {previous} in the row before"
        raise InvalidData(f"{where} column ts: {hour} is {fault}", code="invalid_document")
    return hour


def _price(value: object, where: str) -> int:
    number = _number(value, where)
    if number <= 0:
        raise InvalidData(f"{where}: {value} is no positive price", code="invalid_document")
    price = int(number.scaleb(HISTORY_PRICE_DECIMALS).to_integral_value(ROUND_HALF_EVEN))
    if not 0 < price <= _LARGEST_PRICE:
        raise InvalidData(
            f"{where}: {value} is outside what a history holds (10^-12 to 9.2 million USD)", code="invalid_document"
        )
    return price


def _number(value: object, where: str) -> Decimal:
    text = repr(value) if isinstance(value, float) else str(value).strip()
    if value is None or isinstance(value, bool) or not _NUMBER.fullmatch(text):
        shown = "missing" if value is None or not text else f"{text[:40]!r} is no finite number"
        raise InvalidData(f"{where}: {shown}", code="invalid_document")
    return Decimal(text)


def _csv_rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(_bounded(stream, path), strict=True)
            positions = _positions(next(lines, []), path)
            for number, line in enumerate(lines, start=1):
                if len(line) <= max(positions):
                    raise InvalidData(f"{path} row {number}: only {len(line)} columns", code="invalid_document")
                yield [line[position] for position in positions]
    except OSError as error:
        raise InvalidData(f"{path}: {error.strerror}", code="file_unreadable") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidData(f"{path}: no CSV text: {error}", code="file_unreadable") from error


def _bounded(stream: Any, path: Path) -> Iterator[str]:
    """Yield lines, refusing one that would fill the memory."""
    while line := stream.readline(MAX_LINE_CHARACTERS + 1):
        if len(line) > MAX_LINE_CHARACTERS:
            raise InvalidData(f"{path}: a line of more than {MAX_LINE_CHARACTERS} characters", code="invalid_document")
        yield line


def _positions(header: Sequence[str], path: Path) -> list[int]:
    names = [name.strip() for name in header]
    missing = [name for name in COLUMNS if names.count(name) != 1]
    if missing:
        raise InvalidData(
            f"{path}: needs each of the columns {', '.join(COLUMNS)} once; check {', '.join(missing)}",
            code="invalid_document",
        )
    return [names.index(name) for name in COLUMNS]


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        import pyarrow  # noqa: PLC0415 - an optional dependency, asked for only by those who have such files
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise InvalidData(
            f"{path}: reading Parquet needs pyarrow: install plimsoll[history], or convert the file to CSV",
            code="file_unreadable",
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _positions(file.schema_arrow.names, path)
            for batch in file.iter_batches(batch_size=16_384, columns=list(COLUMNS)):
                columns: Mapping[str, list[object]] = batch.to_pydict()
                yield from zip(*(columns[name] for name in COLUMNS), strict=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidData(f"{path}: no readable Parquet: {str(error)[:200]}", code="file_unreadable") from error
