"""Write the published JSON Schemas: ``python -m riskschema.export docs/schema``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from riskschema.assessment import Assessment
from riskschema.codec import json_schema
from riskschema.market import MarketState
from riskschema.portfolio import Portfolio

PUBLISHED: dict[str, type] = {
    "portfolio": Portfolio,
    "market_state": MarketState,
    "assessment": Assessment,
}
"""File name without suffix, and the type it describes."""


def schema_documents() -> dict[str, str]:
    """Return the text of every published schema by file name."""
    return {f"{name}.json": _document(name, kind) for name, kind in PUBLISHED.items()}


def write_schemas(directory: Path) -> tuple[Path, ...]:
    """Write every schema into `directory`, which is made if missing; return the paths.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in schema_documents().items():
        path = directory / name
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return tuple(paths)


def main(arguments: Sequence[str]) -> int:
    """Write the schemas into the one directory given; return the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m riskschema.export DIRECTORY\n")
        return 2
    for path in write_schemas(Path(arguments[0])):
        sys.stdout.write(f"{path}\n")
    return 0


def _document(name: str, kind: type) -> str:
    schema: dict[str, Any] = json_schema(kind)
    named = {"$schema": schema.pop("$schema"), "$id": f"urn:plimsoll:schema:{name}", "title": kind.__name__}
    return json.dumps(named | schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
