"""Column types for the schema's values; each is plain bytes or text underneath, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, String
from sqlalchemy.types import TypeDecorator

from riskschema.units import Address, Hash32

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

UINT256_DIGITS = 78


class HashColumn(TypeDecorator[Hash32]):
    """A `Hash32` as its 32 bytes."""

    impl = LargeBinary(32)
    cache_ok = True

    def process_bind_param(self, value: Hash32 | None, dialect: Dialect) -> bytes | None:
        """Write for the database."""
        return None if value is None else value.to_bytes()

    def process_result_value(self, value: Any, dialect: Dialect) -> Hash32 | None:
        """Read from the database."""
        return None if value is None else Hash32(bytes(value))


class HashListColumn(TypeDecorator[tuple[Hash32, ...]]):
    """A tuple of `Hash32` as the bytes one after the other."""

    impl = LargeBinary()
    cache_ok = True

    def process_bind_param(self, value: tuple[Hash32, ...] | None, dialect: Dialect) -> bytes | None:
        """Write for the database."""
        return None if value is None else b"".join(item.to_bytes() for item in value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Hash32, ...] | None:
        """Read from the database."""
        if value is None:
            return None
        joined = bytes(value)
        return tuple(Hash32(joined[start : start + 32]) for start in range(0, len(joined), 32))


class AddressColumn(TypeDecorator[Address]):
    """An `Address` as its 20 bytes."""

    impl = LargeBinary(20)
    cache_ok = True

    def process_bind_param(self, value: Address | None, dialect: Dialect) -> bytes | None:
        """Write for the database."""
        return None if value is None else value.to_bytes()

    def process_result_value(self, value: Any, dialect: Dialect) -> Address | None:
        """Read from the database."""
        return None if value is None else Address("0x" + bytes(value).hex())


class Uint256Column(TypeDecorator[int]):
    """A uint256 as 78 decimal digits with leading zeros, so that text order is numeric order.

    (SQLite's integers end at 2^63, and its NUMERIC turns larger ones into floats.)
    """

    impl = String(UINT256_DIGITS)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        """Write for the database."""
        if value is None:
            return None
        if not 0 <= value < 2**256:
            raise ValueError(f"not a uint256: {value}")
        return str(value).zfill(UINT256_DIGITS)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        """Read from the database."""
        return None if value is None else int(value)
