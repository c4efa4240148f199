"""Static Solidity types on frozen structs: the canonical ABI words of everything that is signed or hashed.

A struct names the Solidity type of each field in its annotation; the order of the fields is the order of the words.
Every value takes one 32-byte word, big-endian, as `abi.encode` writes it. Decoding accepts nothing else: a word with
stray bits, a missing byte or a trailing one is refused, so that a value has exactly one encoding.
"""

import re
from functools import cache
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec

from riskschema.errors import InvalidData
from riskschema.units import Address

WORD = 32

_INTEGER = re.compile(r"(u?)int(\d+)")


class AbiType(msgspec.Struct, frozen=True):
    """The Solidity name of a one-word type: ``bytes32``, ``address``, ``uintN`` or ``intN``."""

    name: str


Bytes32 = Annotated[bytes, AbiType("bytes32")]
AbiAddress = Annotated[Address, AbiType("address")]
Uint16 = Annotated[int, AbiType("uint16")]
Uint32 = Annotated[int, AbiType("uint32")]
Uint64 = Annotated[int, AbiType("uint64")]
Uint128 = Annotated[int, AbiType("uint128")]
Int128 = Annotated[int, AbiType("int128")]
Int256 = Annotated[int, AbiType("int256")]

T = TypeVar("T", bound=msgspec.Struct)


def encode_struct(value: msgspec.Struct) -> bytes:
    """Return the words of a struct of one-word fields, as Solidity's ``abi.encode(value)``.

    Raises:
        InvalidData: a field is outside its type, named in the message.
    """
    kind = type(value)
    return b"".join(
        encode_word(getattr(value, field), abi_type, what=f"{kind.__name__}.{field}")
        for field, abi_type in word_fields(kind)
    )


def decode_struct(data: bytes, kind: type[T]) -> T:
    """Read what `encode_struct` wrote.

    Raises:
        InvalidData: wrong length, or a word that is not the encoding of a value of its type.
    """
    fields = word_fields(kind)
    if len(data) != WORD * len(fields):
        raise InvalidData(
            f"{kind.__name__}: expected {WORD * len(fields)} bytes, got {len(data)}",
            code="malformed",
        )
    values = {
        field: decode_word(data[WORD * index : WORD * (index + 1)], abi_type, what=f"{kind.__name__}.{field}")
        for index, (field, abi_type) in enumerate(fields)
    }
    return kind(**values)


def encode_word(value: Any, abi_type: str, *, what: str) -> bytes:
    """Return the 32-byte word of one value.

    Raises:
        InvalidData: `value` does not fit `abi_type`.
    """
    if abi_type == "bytes32":
        if isinstance(value, bytes) and len(value) == WORD:
            return value
    elif abi_type == "address":
        if isinstance(value, Address):
            return value.to_bytes().rjust(WORD, b"\0")
    elif isinstance(value, int) and not isinstance(value, bool):
        lowest, highest = integer_range(abi_type)
        if lowest <= value <= highest:
            return value.to_bytes(WORD, "big", signed=lowest < 0)
    raise InvalidData(f"{what}: {value!r:.80} is no {abi_type}", code="malformed")


def decode_word(word: bytes, abi_type: str, *, what: str) -> Any:
    """Read one 32-byte word.

    Raises:
        InvalidData: the word is not the encoding of a value of `abi_type`.
    """
    if abi_type == "bytes32":
        return bytes(word)
    if abi_type == "address":
        if not any(word[:12]):
            return Address("0x" + word[12:].hex())
    else:
        lowest, highest = integer_range(abi_type)
        value = int.from_bytes(word, "big", signed=lowest < 0)
        if lowest <= value <= highest:
            return value
    raise InvalidData(f"{what}: 0x{word.hex()} is no {abi_type}", code="malformed")


@cache
def integer_range(abi_type: str) -> tuple[int, int]:
    """Return the lowest and the highest value of ``uintN`` or ``intN``."""
    match = _INTEGER.fullmatch(abi_type)
    if match is None:
        raise TypeError(f"{abi_type} is no integer type")
    bits = int(match[2])
    return (0, 2**bits - 1) if match[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@cache
def word_fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    """Return (field, Solidity type) of a struct that has one-word fields only, in order."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field, abi_name(hints[field])) for field in kind.__struct_fields__)


def abi_name(hint: Any) -> str:
    """Return the Solidity type that an annotation names."""
    for note in getattr(hint, "__metadata__", ()):
        if isinstance(note, AbiType):
            return note.name
    raise TypeError(f"{hint} names no Solidity type")


def camel_case(field: str) -> str:
    """Return a field's name as Solidity spells it: ``valid_until`` is ``validUntil``."""
    first, *rest = field.split("_")
    return first + "".join(part.capitalize() for part in rest)
