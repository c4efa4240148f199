"""The screen: lines stay, a changing line only where somebody sees it."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import ioctl
from typing import TextIO

import pytest

from node.local.screen import Screen
from tests.patience import HANG_SECONDS


@contextmanager
def terminal(columns: int) -> Iterator[tuple[TextIO, int]]:
    """A terminal of so many columns: the stream of a program, and the descriptor of who looks at it."""
    seen, shown = pty.openpty()
    ioctl(shown, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(shown, "w") as stream:
        yield stream, seen
    os.close(seen)


def rows(written: str) -> list[str]:
    """What a terminal shows after `written`: carriage return, line feed, and erasing to the end of the line."""
    lines, column = [""], 0
    for part in re.findall(r"\x1b\[K|\r|\n|[^\x1b\r\n]+", written):
        match part:
            case "\r":
                column = 0
            case "\n":
                lines.append("")
            case "\x1b[K":
                lines[-1] = lines[-1][:column]
            case _:
                lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part) :]
                column += len(part)
    return lines


def wait_for(seen: int, expected: list[str]) -> None:
    """Look until the terminal shows what is expected: what is written arrives in pieces."""
    written = ""
    while rows(written) != expected:
        ready, _, _ = select.select([seen], [], [], HANG_SECONDS)
        assert ready, (rows(written), expected)
        written += os.read(seen, 1000).decode()


def test_without_a_terminal_only_lines_are_written() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.show("changing")
    screen.write("one", "two")
    assert stream.getvalue() == "one\ntwo\n"


def test_in_a_json_log_every_line_is_an_object_and_nothing_moves() -> None:
    with terminal(400) as (stream, seen):
        screen = Screen(stream, as_json=True)
        screen.show("changing")
        screen.write("one", "", "two")
        screen.say("three")
        written = b""
        while written.count(b"\n") < 3:
            written += os.read(seen, 4096)
    records = [json.loads(line) for line in written.splitlines()]
    assert [record["detail"] for record in records] == ["one", "two", "three"]
    assert all(datetime.fromisoformat(record["timestamp"]).tzinfo is UTC for record in records)
    assert {(record["event"], record["level"]) for record in records} == {("progress", "info")}


def test_a_terminal_that_wants_no_moving_lines_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal(80) as (stream, seen):
        screen = Screen(stream)
        screen.show("changing")
        screen.write("stays")
        assert os.read(seen, 5) == b"stays"


def test_on_a_terminal_the_last_line_changes_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal(40) as (stream, seen):
        screen = Screen(stream)
        screen.show("a long status that ends in zzzz")
        screen.write("one")
        screen.show("short")
        wait_for(seen, ["one", "short"])
        stream.write("a log line\n")
        screen.write("two")
        screen.show("x" * 100)
        wait_for(seen, ["a log line", "two", "x" * 39])
        screen.show("")
        screen.write("stopped")
        wait_for(seen, ["stopped", ""])
