"""What each property means, taken from the text below its field: said once, read in the code and in OpenAPI."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec


def describe_properties(components: dict[str, Any], kinds: Iterable[Any]) -> None:
    """Add to every property of the component schemas the text below its field, where it has no description yet.

    Args:
        components: Schemas by name of the type; changed in place.
        kinds: The document types they were made of.
    """
    for kind, tag in set(_structs(list(kinds))):
        schema = components[kind.__name__]
        for name, text in field_texts(kind).items():
            field = schema["properties"].get(name)
            if field is not None:
                field["description"] = text
        if tag is not None:
            schema["properties"][tag]["description"] = "Which form this document has, and its version."


def field_texts(kind: type) -> dict[str, str]:
    """Return the text below each field of a struct, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        body = _classes(base.__module__).get(base.__qualname__, [])
        for field, text in pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                found[field.target.id] = inspect.cleandoc(text.value.value).replace("\n", " ").replace("``", "`")
    return found


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """Return the bodies of a module's classes; none for what has no source."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError):
        return {}
    return {node.name: node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def _structs(kinds: list[Any]) -> Iterator[tuple[type, str | None]]:
    """Yield every struct type that the types consist of, and the name of its tag."""
    seen: set[int] = set()
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(kinds))
    while waiting:
        info = waiting.pop()
        if id(info) in seen:
            continue
        seen.add(id(info))
        if isinstance(info, msgspec.inspect.StructType):
            yield info.cls, info.tag_field
            waiting += [field.type for field in info.fields]
        for name in ("type", "item_type", "value_type", "types", "item_types"):
            inner = getattr(info, name, ())
            waiting += inner if isinstance(inner, tuple) else [inner]
