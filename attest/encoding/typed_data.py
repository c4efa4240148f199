"""Struct hashes after EIP-712: keccak(type hash ‖ words), nested structs and arrays replaced by their hashes.

The type hash is the first word, so values of different kinds can never be taken for one another.
"""

from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from attest.encoding.abi_types import abi_name, camel_case, encode_word
from attest.encoding.keccak import keccak256


def hash_struct(value: msgspec.Struct) -> bytes:
    """Return EIP-712's ``hashStruct(value)``.

    Fields are one-word types, strings, structs, or tuples of strings or structs.

    Raises:
        InvalidData: a field is outside its type.
    """
    kind = type(value)
    words = b"".join(
        _field_word(getattr(value, field), hint, what=f"{kind.__name__}.{field}") for field, hint in _hints(kind)
    )
    return keccak256(type_hash(kind) + words)


@cache
def type_hash(kind: type[msgspec.Struct]) -> bytes:
    """Return keccak of `encode_type`."""
    return keccak256(encode_type(kind).encode())


def encode_type(kind: type[msgspec.Struct]) -> str:
    """Return EIP-712's ``encodeType``: the struct's signature, then those of the structs it holds, by name."""
    members = sorted(_member_structs(kind), key=lambda member: member.__name__)
    return "".join(_signature(each) for each in (kind, *members))


def _signature(kind: type[msgspec.Struct]) -> str:
    fields = ",".join(f"{_type_name(hint)} {camel_case(field)}" for field, hint in _hints(kind))
    return f"{kind.__name__}({fields})"


def _type_name(hint: Any) -> str:
    if hint is str:
        return "string"
    if get_origin(hint) is tuple:
        member = get_args(hint)[0]
        return "string[]" if member is str else f"{member.__name__}[]"
    if _is_struct(hint):
        return str(hint.__name__)
    return abi_name(hint)


def _member_structs(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    members = {get_args(hint)[0] for _, hint in _hints(kind) if get_origin(hint) is tuple} - {str}
    members |= {hint for _, hint in _hints(kind) if _is_struct(hint)}
    return members.union(*(_member_structs(member) for member in members))


def _field_word(value: Any, hint: Any, *, what: str) -> bytes:
    if hint is str:
        return keccak256(value.encode())
    if get_origin(hint) is tuple:
        return keccak256(
            b"".join(keccak256(item.encode()) if isinstance(item, str) else hash_struct(item) for item in value)
        )
    if _is_struct(hint):
        return hash_struct(value)
    return encode_word(value, abi_name(hint), what=what)


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


@cache
def _hints(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field, hints[field]) for field in kind.__struct_fields__)
