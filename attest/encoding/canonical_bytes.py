"""Bytes with exactly one encoding per value: fixed-width integers, length-prefixed texts, counted lists.

Peer messages and the agreed state hold lists of things with names, and are read from hostile hands. ABI encoding
follows pointers, so that a small message can claim a huge value; here a reader only ever moves forward, and can never
build more than it was given.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from riskschema.errors import InvalidData

T = TypeVar("T")

MAX_TEXT_BYTES = 480
"""120 characters of a factor's name, four bytes each."""


class ByteWriter:
    """Appends values and returns them as one byte string."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def uint(self, value: int, size: int) -> None:
        """Append an unsigned integer of `size` bytes, big-endian.

        Raises:
            InvalidData: `value` does not fit.
        """
        if not 0 <= value < 1 << (8 * size):
            raise InvalidData(f"{value} is no unsigned integer of {size} bytes", code="field_out_of_range")
        self._parts.append(value.to_bytes(size, "big"))

    def fixed(self, data: bytes, size: int) -> None:
        """Append exactly `size` bytes.

        Raises:
            InvalidData: `data` has another length.
        """
        if len(data) != size:
            raise InvalidData(f"expected {size} bytes, got {len(data)}", code="field_out_of_range")
        self._parts.append(bytes(data))

    def blob(self, data: bytes) -> None:
        """Append a 4-byte length and the bytes."""
        self.uint(len(data), 4)
        self._parts.append(bytes(data))

    def text(self, text: str) -> None:
        """Append a 2-byte length and UTF-8.

        Raises:
            InvalidData: empty, or longer than `MAX_TEXT_BYTES`.
        """
        data = text.encode()
        if not 1 <= len(data) <= MAX_TEXT_BYTES:
            raise InvalidData(f"a text of {len(data)} bytes", code="field_out_of_range")
        self.uint(len(data), 2)
        self._parts.append(data)

    def items(self, values: Sequence[T], write: Callable[["ByteWriter", T], None]) -> None:
        """Append a 4-byte count and every value by `write`."""
        self.uint(len(values), 4)
        for value in values:
            write(self, value)

    def finish(self) -> bytes:
        """Return everything appended."""
        return b"".join(self._parts)


class ByteReader:
    """Reads what a `ByteWriter` wrote, moving forward only."""

    def __init__(self, data: bytes, *, what: str) -> None:
        self._data = data
        self._position = 0
        self._what = what

    def uint(self, size: int) -> int:
        """Read an unsigned integer of `size` bytes."""
        return int.from_bytes(self.fixed(size), "big")

    def flag(self) -> bool:
        """Read a byte that is 0 or 1.

        Raises:
            InvalidData: it is another.
        """
        flag = self.uint(1)
        if flag > 1:
            raise self.refused(f"a flag of {flag}")
        return bool(flag)

    def fixed(self, size: int) -> bytes:
        """Read exactly `size` bytes.

        Raises:
            InvalidData: fewer are left.
        """
        end = self._position + size
        if end > len(self._data):
            raise self.refused(f"ends after {len(self._data)} bytes, {end} needed")
        data = bytes(self._data[self._position : end])
        self._position = end
        return data

    def blob(self) -> bytes:
        """Read a length and so many bytes."""
        return self.fixed(self.uint(4))

    def text(self) -> str:
        """Read a text.

        Raises:
            InvalidData: empty, too long, or not UTF-8.
        """
        size = self.uint(2)
        if not 1 <= size <= MAX_TEXT_BYTES:
            raise self.refused(f"a text of {size} bytes")
        try:
            return self.fixed(size).decode()
        except UnicodeDecodeError as error:
            raise self.refused("a text that is not UTF-8") from error

    def items(self, read: Callable[["ByteReader"], T], *, at_most: int) -> tuple[T, ...]:
        """Read a count and so many values by `read`.

        Raises:
            InvalidData: more than `at_most`.
        """
        count = self.uint(4)
        if count > at_most:
            raise self.refused(f"a list of {count}, at most {at_most} allowed")
        return tuple(read(self) for _ in range(count))

    @property
    def is_left(self) -> bool:
        """Whether there is more to read."""
        return self._position < len(self._data)

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            InvalidData: there is.
        """
        if self._position != len(self._data):
            raise self.refused(f"{len(self._data) - self._position} bytes too many")

    def refused(self, reason: str) -> InvalidData:
        """Return the error that says what was read and why it is refused."""
        return InvalidData(f"{self._what}: {reason}", code="malformed")


def check_increasing(keys: Iterable[Any], *, what: str) -> None:
    """Refuse a list that is not strictly increasing: another order would be another encoding of the same value.

    Raises:
        InvalidData: two neighbours out of order, or equal.
    """
    for first, second in pairwise(keys):
        if first >= second:
            raise InvalidData(f"{what}: not in strictly increasing order", code="malformed")
