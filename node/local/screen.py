"""What a person sees of a long command: lines that stay and, on a terminal, one line below them that changes."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import TextIO

CLEAR_LINE = "\x1b[K"
FALLBACK_WIDTH = 80


class Screen:
    """Standard error, so that standard output stays for results.

    The changing line leaves the cursor at its beginning: whatever else is written, a log line say, covers it.

    Args:
        stream: Where to write; standard error, if None.
        as_json: Lines of a JSON log, as `node.telemetry` writes them, and never a changing line.
    """

    def __init__(self, stream: TextIO | None = None, *, as_json: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._begin = time.monotonic()
        self._status = ""
        self._as_json = as_json
        self.is_live = not as_json and self._stream.isatty() and os.environ.get("TERM") != "dumb"

    def say(self, line: str) -> None:
        """Write a line that stays, with the seconds since the beginning."""
        self.write(line if self._as_json else f"[{time.monotonic() - self._begin:5.1f} s] {line}")

    def write(self, *lines: str) -> None:
        """Write lines that stay."""
        if self._as_json:
            self._put("".join(f"{_record(line)}\n" for line in lines if line))
            return
        above = "".join(f"{line}{CLEAR_LINE if self.is_live else ''}\n" for line in lines)
        self._put(above + self._drawn())

    def show(self, status: str) -> None:
        """Change the line below; without a terminal nothing is written."""
        if self.is_live and status != self._status:
            self._status = status
            self._put(self._drawn())

    def _drawn(self) -> str:
        if not self.is_live:
            return ""
        # one column is left free: a full line would make the terminal scroll
        return f"{self._status[: self._width() - 1]}{CLEAR_LINE}\r"

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or FALLBACK_WIDTH
        except OSError:
            return FALLBACK_WIDTH

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _record(line: str) -> str:
    """Return a line of the log; without structlog, which the first line does not wait for."""
    timestamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    record = {"detail": line, "event": "progress", "level": "info", "logger": "node.screen", "timestamp": timestamp}
    return json.dumps(record)
