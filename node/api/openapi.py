"""The OpenAPI 3.1 document, made from the same table as the routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from node.api.descriptions import describe_properties
from node.api.problems import PROBLEM_TYPE, ProblemDocument
from riskschema.codec import encode_json, json_schema_components

API_VERSION = "1.0.0"
_JSON = "application/json"
_REFERENCE = "#/components/schemas/{name}"
_TITLES = {
    304: "Not changed since the ETag given",
    400: "A part of the request is wrong; the answer names it",
    404: "No such account or round",
    429: "This address asks too often",
    413: "The request has a body or is too large",
    500: "A defect of the node",
    503: "Not ready, or too busy",
}


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a path or of the query."""

    name: str
    location: str
    """``path`` or ``query``."""
    description: str
    schema: dict[str, Any]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A route as the documentation tells it."""

    path: str
    name: str
    summary: str
    answer: Any = None
    """The document type; None for what is no JSON document of the schema."""
    content_type: str = _JSON
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[int, ...] = (400, 413, 500, 503)
    conditional: bool = False
    """Answers carry an ETag."""

    @property
    def queries(self) -> frozenset[str]:
        """Names of the query parameters."""
        return frozenset(each.name for each in self.parameters if each.location == "query")


def openapi_document(operations: Sequence[Operation]) -> bytes:
    """Return the OpenAPI document as JSON."""
    kinds = [operation.answer for operation in operations if operation.answer is not None]
    schemas, components = json_schema_components([*kinds, ProblemDocument], _REFERENCE)
    describe_properties(components, [*kinds, ProblemDocument])
    answers = iter(schemas)
    paths = {
        operation.path: {"get": _operation(operation, next(answers) if operation.answer is not None else None)}
        for operation in operations
    }
    return encode_json(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Plimsoll node",
                "version": API_VERSION,
                "summary": "Attested cross-protocol risk of accounts.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {"schemas": components},
        }
    )


def _operation(operation: Operation, schema: dict[str, Any] | None) -> dict[str, Any]:
    success: dict[str, Any] = {"description": operation.summary}
    content = {"schema": schema or _other_schema(operation.content_type), "example": _example(operation)}
    success["content"] = {operation.content_type: content}
    responses: dict[str, Any] = {"200": success}
    if operation.conditional:
        success["headers"] = {
            "ETag": {"schema": {"type": "string"}, "description": "Names exactly these bytes"},
            "Plimsoll-Age": {
                "schema": {"type": "integer", "minimum": 0},
                "description": "Seconds since the round's prices and positions were observed",
            },
        }
        responses["304"] = {"description": _TITLES[304]}
    for status in sorted({*operation.problems, 429}):
        responses[str(status)] = {
            "description": _TITLES[status],
            "content": {PROBLEM_TYPE: {"schema": {"$ref": _REFERENCE.format(name=ProblemDocument.__name__)}}},
        }
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": responses,
    }


def _example(operation: Operation) -> Any:
    """Return an answer that a node on the local chain gave."""
    return _examples()[operation.name if operation.answer is None else operation.answer.__name__]


@cache
def _examples() -> dict[str, Any]:
    return msgspec.json.decode((files("node.api") / "examples.json").read_bytes(), type=dict[str, Any])


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.location,
        "required": parameter.location == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _other_schema(content_type: str) -> dict[str, Any]:
    return {"type": "object"} if re.search(r"\bjson\b", content_type) else {"type": "string"}
