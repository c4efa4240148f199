"""One JSON text per value: fields in the order of the struct, no white space, nothing optional.

Integers are decimal strings (many readers lose digits of JSON numbers beyond 2^53), bytes are 0x and lower-case
hexadecimal, addresses are lower-case. Any other text for the same value is refused, so that equal values have equal
texts and a text can be hashed or compared.
"""

from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from riskschema.errors import InvalidData
from riskschema.units import Address

T = TypeVar("T", bound=msgspec.Struct)

MAX_DOCUMENT_BYTES = 1_048_576
MAX_BRACKETS = 1_000
"""A bound on nesting: parsers recurse, and libraries raise Python's recursion limit beyond what the C stack holds."""


def encode_canonical(value: msgspec.Struct) -> bytes:
    """Return the canonical JSON of a struct of words, byte strings, texts, structs and tuples of these."""
    return msgspec.json.encode(_to_json(value))


def decode_canonical(document: bytes, kind: type[T], *, what: str) -> T:
    """Read what `encode_canonical` wrote, and nothing else.

    Args:
        document: At most 1 MiB.
        kind: The struct to read.
        what: Begins the error message: a file name, a peer.

    Raises:
        InvalidData: not JSON, a field missing, unknown or of the wrong form, or not the canonical text.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise InvalidData(f"{what}: larger than {MAX_DOCUMENT_BYTES} bytes", code="document_too_large")
    if document.count(b"[") + document.count(b"{") > MAX_BRACKETS:
        raise InvalidData(f"{what}: more than {MAX_BRACKETS} lists and objects", code="document_too_large")
    try:
        parsed = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidData(f"{what}: {error}", code="invalid_document") from error
    value: T = _from_json(parsed, kind, f"{what}: {kind.__name__}")
    if encode_canonical(value) != document:
        raise InvalidData(
            f"{what}: not the canonical text (order of fields, white space, digits)", code="invalid_document"
        )
    return value


def _to_json(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {field: _to_json(getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value)


def _from_json(parsed: Any, hint: Any, where: str) -> Any:
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    if get_origin(hint) is tuple:
        item_hint = get_args(hint)[0]
        items = _expect(parsed, list, where)
        return tuple(_from_json(item, item_hint, f"{where}[{index}]") for index, item in enumerate(items))
    if issubclass(hint, msgspec.Struct):
        return _struct_from_json(_expect(parsed, dict, where), hint, where)
    text = _expect(parsed, str, where)
    try:
        return _READERS[hint](text)
    except ValueError as error:
        raise InvalidData(f"{where}: {error}", code="invalid_document") from error


def _struct_from_json(parsed: dict[str, Any], kind: type[msgspec.Struct], where: str) -> msgspec.Struct:
    hints = get_type_hints(kind, include_extras=True)
    if parsed.keys() != set(kind.__struct_fields__):
        odd = sorted(parsed.keys() ^ set(kind.__struct_fields__))
        raise InvalidData(f"{where}: fields missing or unknown: {', '.join(odd)[:200]}", code="invalid_document")
    values = {field: _from_json(parsed[field], hints[field], f"{where}.{field}") for field in kind.__struct_fields__}
    return kind(**values)


def _expect(parsed: Any, kind: type[Any], where: str) -> Any:
    if not isinstance(parsed, kind):
        raise InvalidData(f"{where}: expected {kind.__name__}, got {type(parsed).__name__}", code="invalid_document")
    return parsed


def _read_integer(text: str) -> int:
    if len(text) > 78:
        raise ValueError("more digits than a word holds")
    return int(text)


def _read_bytes(text: str) -> bytes:
    if not text.startswith("0x"):
        raise ValueError("expected 0x and hexadecimal digits")
    return bytes.fromhex(text[2:])


_READERS: dict[type[Any], Callable[[str], Any]] = {
    int: _read_integer,
    bytes: _read_bytes,
    Address: Address,
    str: str,
}
