"""Schema values to and from JSON, with the offending field named in every refusal."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, TypeVar, cast

import msgspec

from riskschema.errors import InvalidData
from riskschema.units import Address, FixedPoint, Hash32, Probability

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024


def _encode(value: object) -> object:
    if isinstance(value, FixedPoint | Probability):
        return value.wire()
    if isinstance(value, Address | Hash32):
        return str.__str__(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _decode(kind: type, value: object) -> object:
    if issubclass(kind, FixedPoint | Probability):
        return kind.parse(value)
    if issubclass(kind, Address | Hash32):
        return kind(cast("str", value))
    raise NotImplementedError(f"{kind.__name__} has no JSON form")


def _schema(kind: type) -> dict[str, Any]:
    if issubclass(kind, FixedPoint | Probability | Address | Hash32):
        return kind.json_schema()
    raise NotImplementedError(f"{kind.__name__} has no JSON form")


def encode_json(value: object) -> bytes:
    """Return `value` as compact JSON, keys in the order of the schema."""
    return msgspec.json.encode(value, enc_hook=_encode)


def decode_json(document: bytes, kind: type[T], *, what: str) -> T:
    """Read JSON into a schema type; unknown fields, wrong types and NaN are refused.

    Args:
        document: UTF-8 JSON, at most 64 MiB.
        kind: The schema type.
        what: What is being read (a file name, an endpoint); begins the error message.

    Raises:
        InvalidData: with the path of the offending field, as in ``$.silos[0].venue``.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise InvalidData(f"{what}: larger than {MAX_DOCUMENT_BYTES} bytes", code="document_too_large")
    try:
        return msgspec.json.decode(document, type=kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise InvalidData(f"{what}: {error}", code="invalid_document") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidData(f"{what}: {_not_a_number(document) or error}", code="invalid_document") from error


def _not_a_number(document: bytes) -> str | None:
    """Name the first NaN or infinity of a document: JSON has none, so the decoder only knows the byte."""
    try:
        tree = json.loads(document)
    except (ValueError, RecursionError):
        return None
    pending: list[tuple[str, Any]] = [("$", tree)]
    while pending:
        path, node = pending.pop()
        if isinstance(node, float) and not isfinite(node):
            return f"`{path}` is {node}: a finite number is needed"
        if isinstance(node, dict):
            pending.extend((f"{path}.{key}", value) for key, value in node.items())
        elif isinstance(node, list):
            pending.extend((f"{path}[{index}]", value) for index, value in enumerate(node))
    return None


def from_builtins(value: object, kind: type[T], *, what: str) -> T:
    """Convert dicts and lists (from TOML, say) into a schema type.

    Raises:
        InvalidData: with the path of the offending field.
    """
    try:
        return msgspec.convert(value, type=kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise InvalidData(f"{what}: {error}", code="invalid_document") from error


def json_schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of a schema type."""
    schema = msgspec.json.schema(kind, schema_hook=_schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def json_schema_components(kinds: list[type], ref_template: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the schemas of several types with shared definitions, for an OpenAPI document."""
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_schema, ref_template=ref_template)
    return list(schemas), components
