"""Put the rows of a soak into a table.

    python tests/soak/write_table.py RESULTS [PAGE]

Prints the table; with PAGE it also replaces the one between the marks of that page.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

BEGIN, END = "<!-- table -->", "<!-- end of table -->"
TABLES = ("rounds under attack", "rounds with liars", "rounds of many operators")
"""Of lines that tests leave: between marks of that name."""


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
        name = str(row["test"]).replace("::", "<br>").replace("test_", "").replace(".py", "").replace("_", " ")
        lines.append(f"| {name} | {row['seeds']} | {counted(row)} | {row['result']} | {row['seconds']} |")
    return "\n".join(lines)


def lines_tables(rows: list[dict[str, object]], name: str) -> str:
    """Return the Markdown tables of the lines that tests left under a name: one, or each with what the test counted."""
    kept = [row for row in sorted(rows, key=lambda each: str(each["test"])) if row.get("table") == name]
    found = [(row, lines) for row in kept if (lines := as_lines(row.get("lines", [])))]
    tables = [lines_table(lines) for _, lines in found]
    if len(found) < 2:
        return "".join(tables)
    return "\n\n".join(f"{counted(row)}:\n\n{table}" for (row, _), table in zip(found, tables, strict=True))


def lines_table(lines: list[dict[str, object]]) -> str:
    """Return the Markdown table of lines, which are all of one kind."""
    head = list(lines[0])
    told = ["| " + " | ".join(number(line[name]) for name in head) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *told])


def counted(row: dict[str, object]) -> str:
    """Return what a test counted, in words and numbers."""
    counts = row["counts"]
    assert isinstance(counts, dict)
    return "; ".join(f"{name}: {number(value)}" for name, value in counts.items())


def as_lines(value: object) -> list[dict[str, object]]:
    """Return what a row has under its lines."""
    assert isinstance(value, list)
    return value


def number(value: object) -> str:
    """Return a count with thousands set apart."""
    return f"{value:,}" if isinstance(value, int) else str(value)


def main(results: Path, page: Path | None) -> None:
    """Print the table, and put it into the page."""
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    found = table(rows)
    tables = {name: lines_tables(rows, name) for name in TABLES}
    print(found, *tables.values(), sep="\n\n")
    if page is not None:
        text = page.read_text()
        marked = [(f"<!-- {name} -->", content, f"<!-- end of {name} -->") for name, content in tables.items()]
        for begin, content, end in ((BEGIN, found, END), *marked):
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"
        page.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
