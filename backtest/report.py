"""What a backtest says: tables for people, the same figures for programs, and which bars hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

Cell = str | int | float | None


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must hold, and what was measured."""

    name: str
    measured: Cell
    bar: str
    """In words."""
    holds: bool | None
    """None where the days do not suffice to tell."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of figures; shares and ratios are plain numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one backtest."""

    kind: Literal["var", "score", "margin", "loops", "young"]
    parameters_hash: str
    first_day: str
    last_day: str
    days: int
    bars: tuple[Bar, ...]
    tables: tuple[Table, ...]


def date(timestamp: int) -> str:
    """Return the day of a Unix time, in UTC."""
    return str(np.datetime64(timestamp, "s"))[:10]


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return str(value)


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Return the lines of a Markdown table."""
    body = [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *body]


def markdown(report: Report) -> str:
    """Return a report as Markdown: the bars, then every table."""
    words = {True: "yes", False: "**no**", None: "too few days"}
    lines = [f"{report.days} days from {report.first_day} to {report.last_day}.", ""]
    lines += table_lines(
        ("must hold", "measured", "bar", "holds"),
        [(bar.name, bar.measured, bar.bar, words[bar.holds]) for bar in report.bars],
    )
    for table in report.tables:
        lines += ["", f"{table.title}:", "", *table_lines(table.columns, table.rows)]
    return "\n".join(lines) + "\n"
