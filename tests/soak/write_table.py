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
BEGIN_LINES, END_LINES = "<!-- rounds under attack -->", "<!-- end of rounds under attack -->"


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


def lines_table(rows: list[dict[str, object]]) -> str:
    """Return the Markdown table of all lines that tests left, which are all of one kind."""
    lines = [line for row in rows for line in as_lines(row.get("lines", []))]
    if not lines:
        return ""
    head = list(lines[0])
    told = ["| " + " | ".join(number(line[name]) for name in head) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *told])


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
    found, lines = table(rows), lines_table(rows)
    print(found, lines, sep="\n\n")
    if page is not None:
        text = page.read_text()
        for begin, content, end in ((BEGIN, found, END), (BEGIN_LINES, lines, END_LINES)):
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"
        page.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
