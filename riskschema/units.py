"""Integers with their unit in the type, and how each is written in JSON.

JSON numbers lose digits beyond 2^53 in most readers, so every amount travels as a decimal string. Each unit is an
`int` subclass: arithmetic gives plain integers, and putting a unit back on is an explicit act.
"""

from __future__ import annotations

import re
from typing import ClassVar, Self

from riskschema.errors import InvalidData

_DECIMAL = re.compile(r"-?[0-9]{1,78}(\.[0-9]{1,36})?")


class FixedPoint(int):
    """An integer number of 10^-decimals units, written as a decimal string."""

    decimals: ClassVar[int] = 0
    unit: ClassVar[str] = "units"

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a decimal string (or a JSON integer) exactly.

        Raises:
            ValueError: `text` is no finite decimal, or has more digits after the point than the unit holds.
        """
        if isinstance(text, bool) or not isinstance(text, int | str):
            raise ValueError(f"expected {cls.unit} as a decimal string, got {type(text).__name__}")
        written = str(text)
        if not _DECIMAL.fullmatch(written):
            raise ValueError(f"expected {cls.unit} as a decimal string, got {written[:80]!r}")
        whole, _, fraction = written.partition(".")
        if len(fraction.rstrip("0")) > cls.decimals:
            raise ValueError(f"{written[:80]!r} has more than {cls.decimals} digits after the point")
        fraction = fraction.rstrip("0").ljust(cls.decimals, "0")
        return cls(int(whole + fraction))

    def wire(self) -> str:
        """Return the exact decimal string, with all digits of the unit."""
        if not self.decimals:
            return str(int(self))
        whole, fraction = divmod(abs(int(self)), 10**self.decimals)
        return f"{'-' if self < 0 else ''}{whole}.{fraction:0{self.decimals}d}"

    @classmethod
    def json_schema(cls) -> dict[str, object]:
        """Return the JSON Schema of the written form."""
        fraction = rf"(\.[0-9]{{1,{cls.decimals}}})?" if cls.decimals else ""
        return {"type": "string", "pattern": f"^-?[0-9]+{fraction}$", "description": cls.unit}


class Amount(FixedPoint):
    """A signed number of a token's base units (or of liquidity, or contracts)."""

    unit = "base units"


class Usd(FixedPoint):
    """US dollars in units of 10^-8, as in account leaves."""

    decimals = 8
    unit = "US dollars (8 decimals)"


class Wad(FixedPoint):
    """A ratio, price or rate in units of 10^-18, as most EVM protocols keep them."""

    decimals = 18
    unit = "a number with up to 18 decimals"

    @classmethod
    def zero(cls) -> Self:
        """Return 0 (a default that JSON Schema generation can skip)."""
        return cls(0)

    @classmethod
    def one(cls) -> Self:
        """Return 1 (likewise)."""
        return cls(WAD)


class Probability(int):
    """A probability in parts per million, written in JSON as a number between 0 and 1."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a JSON number between 0 and 1 (rounded to the nearest part per million).

        Raises:
            ValueError: `value` is no number in [0, 1].
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"expected a probability between 0 and 1, got {value!r}")
        return cls(round(value * 1_000_000))

    def wire(self) -> float:
        """Return the probability as the nearest float."""
        return int(self) / 1_000_000

    @classmethod
    def json_schema(cls) -> dict[str, object]:
        """Return the JSON Schema of the written form."""
        return {"type": "number", "minimum": 0, "maximum": 1}


def _is_hex(text: str, size: int) -> bool:
    """Tell whether `text` is 0x and two digits per byte; of millions of logs, and a pattern takes twice as long."""
    if len(text) != 2 + 2 * size or not text.startswith("0x"):
        return False
    try:
        return len(bytes.fromhex(text[2:])) == size  # it passes over spaces, and then there are fewer bytes
    except ValueError:
        return False


class Address(str):
    """An EVM address, kept in lower case so that equal addresses are equal strings."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Normalise `text`.

        Raises:
            ValueError: not 0x followed by 40 hexadecimal digits.
        """
        if not isinstance(text, str) or not _is_hex(text, 20):
            raise ValueError(f"expected an address (0x and 40 hexadecimal digits), got {str(text)[:80]!r}")
        return super().__new__(cls, text.lower())

    def to_bytes(self) -> bytes:
        """Return the 20 bytes."""
        return bytes.fromhex(self[2:])

    @classmethod
    def json_schema(cls) -> dict[str, object]:
        """Return the JSON Schema of the written form."""
        return {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}


class Hash32(str):
    """Thirty-two bytes as 0x and 64 lower-case hexadecimal digits."""

    __slots__ = ()

    def __new__(cls, text: str | bytes) -> Self:
        """Take the written form or the bytes.

        Raises:
            ValueError: not exactly 32 bytes.
        """
        written = "0x" + text.hex() if isinstance(text, bytes) else str(text).lower()
        if not _is_hex(written, 32):
            raise ValueError(f"expected 32 bytes (0x and 64 hexadecimal digits), got {written[:80]!r}")
        return super().__new__(cls, written)

    def to_bytes(self) -> bytes:
        """Return the 32 bytes."""
        return bytes.fromhex(self[2:])

    @classmethod
    def json_schema(cls) -> dict[str, object]:
        """Return the JSON Schema of the written form."""
        return {"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"}


ZERO_ADDRESS = Address("0x" + "00" * 20)
"""Nobody's: in the place of a token it stands for the chain's own coin, elsewhere for "none"."""

WAD = 10**18


def parse_address(text: str, *, what: str) -> Address:
    """Read an address given by a user.

    Raises:
        InvalidData: naming `what`, if `text` is no address.
    """
    try:
        return Address(text)
    except ValueError as error:
        raise InvalidData(f"{what}: {error}", code="invalid_address") from None
