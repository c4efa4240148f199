"""Put the rows of a soak into a table.

    python tests/soak/write_table.py RESULTS [PAGE]

Prints the table; with PAGE it also replaces the one between the marks of that page.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def table(rows: list[dict[str, object]]) -> str:
    """Return the Markdown table of all rows."""
    lines = [
        f"`./test --soak` on {os.cpu_count()} cores; {sum(int(str(row['seconds'])) for row in rows)} seconds of tests, "
        "two at a time.",
        "",
        "| `tests/soak/` | seeds | counts | result | seconds |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda each: str(each["test"])):
        counts = row["counts"]
        assert isinstance(counts, dict)
        told = "; ".join(f"{name}: {number(value)}" for name, value in counts.items())
        name = str(row["test"]).replace("::", "<br>").replace("test_", "").replace(".py", "").replace("_", " ")
        lines.append(f"| {name} | {row['seeds']} | {told} | {row['result']} | {row['seconds']} |")
    return "\n".join(lines)


def number(value: object) -> str:
    """Return a count with thousands set apart."""
    return f"{value:,}" if isinstance(value, int) else str(value)


def main(results: Path, page: Path | None) -> None:
    """Print the table, and put it into the page."""
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    found = table(rows)
    print(found)
    if page is not None:
        text = page.read_text()
        wanted = f"{BEGIN}\n{found}\n{END}"
        page.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: wanted, text, flags=re.DOTALL))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
