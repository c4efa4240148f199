"""Run commands as the installed program does, in this process."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from node.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    output: str
    messages: str

    @property
    def document(self) -> Any:
        assert self.status == 0, self.messages
        return json.loads(self.output)

    def refused(self) -> str:
        """Return the one line that says why, after checking that nothing else was said."""
        assert self.status == 1
        assert self.output == ""
        lines = self.messages.strip().splitlines()
        assert len(lines) == 1, self.messages
        assert lines[0].startswith("plimsoll: ")
        assert lines[0].endswith("]")
        return lines[0]


Plimsoll = Callable[..., Ended]


@pytest.fixture
def plimsoll(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Plimsoll:
    """A function that runs ``plimsoll ARGUMENTS`` and tells how it ended."""

    def run(*arguments: object, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["plimsoll", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Ended(status=int(exit_.value.code or 0), output=captured.out, messages=captured.err)

    return run
