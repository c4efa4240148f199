"""What holds for every test: nothing depends on how fast the machine is."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import HANG_SECONDS

TESTS = Path(__file__).parent
SOURCES = [path for path in sorted(TESTS.rglob("*.py")) if "soak" not in path.parts]
WAITING = {"communicate", "join", "timeout", "wait", "wait_for"}
"""Calls whose last argument may be a limit; others name it."""
CLOCKS = {"monotonic", "perf_counter", "process_time"}
OF_THE_PROFILE = {"deadline", "derandomize", "print_blob"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call with the last part of the called name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.func.id if isinstance(node.func, ast.Name) else node.func.attr, node


def own_limits(name: str, call: ast.Call) -> list[float]:
    """Return the seconds written in a waiting call; less than a second is a wait that the test wants to end."""
    values = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"]
    values += call.args[-1:] if name in WAITING else []
    constants = [value.value for value in values if isinstance(value, ast.Constant)]
    return [
        value for value in constants if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1
    ]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_test_depends_on_the_speed_of_the_machine(source: Path) -> None:
    tree = ast.parse(source.read_text())
    waits = [call.lineno for name, call in calls(tree) if own_limits(name, call)]
    assert waits == [], "how long a test waits is said in tests/patience.py"
    marks = [call.lineno for name, call in calls(tree) if name == "timeout" and "mark" in ast.unparse(call.func)]
    assert marks == [], "the limit of a whole test is in pyproject.toml"
    searches = [
        call.lineno
        for name, call in calls(tree)
        if name == "settings" and OF_THE_PROFILE & {keyword.arg for keyword in call.keywords}
    ]
    assert searches == [], "how Hypothesis searches is said once, in tests/conftest.py"
    measured = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and CLOCKS & {name for name, _ in calls(node)}
    ]
    assert measured == [], "time is measured in bench/, never asserted"


def test_a_wait_ends_before_the_limit_of_its_test() -> None:
    settings = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())
    assert settings["tool"]["pytest"]["ini_options"]["timeout"] > HANG_SECONDS
