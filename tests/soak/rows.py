"""Rows of the soak's table: kept one JSON object a line, so that several workers can write them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

RESULTS = "PLIMSOLL_SOAK_RESULTS"


class Tally:
    """What one test counted."""

    def __init__(self) -> None:
        self.seeds = "none"
        self.counts: dict[str, int | float | str] = {}
        self.lines: list[dict[str, int | float | str]] = []
        """Of a table of its own."""
        self.table = "rounds under attack"
        """Which one: its marks are in the page."""

    def count(self, **counts: float | str) -> None:
        """Keep numbers under names; underscores become spaces."""
        self.counts |= {name.replace("_", " "): value for name, value in counts.items()}


def write_row(item: pytest.Item, report: pytest.TestReport, tally: Tally) -> None:
    """Append a test's row to the file that the environment names; without one nothing is kept."""
    path = os.environ.get(RESULTS)
    if path is None:
        return
    row = {
        "test": item.nodeid.removeprefix("tests/soak/"),
        "seeds": tally.seeds,
        "counts": tally.counts,
        "lines": tally.lines,
        "table": tally.table,
        "result": report.outcome,
        "seconds": round(report.duration),
    }
    with Path(path).open("a") as stream:
        stream.write(json.dumps(row) + "\n")
