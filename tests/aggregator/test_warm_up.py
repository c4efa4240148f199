"""Warming up leaves nothing to compile: the first round is as fast as the next."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import aggregator

ROOT = Path(aggregator.__file__).parent

ENTERED = """
import json, sys
from aggregator.parameters import load_parameters
from aggregator.warm_up import enter_every_kernel

names = {}
def note(frame, event, _):
    if event == "call":
        code = frame.f_code
        names.setdefault(code.co_filename + ":" + code.co_name, list(code.co_names))
sys.setprofile(note)
enter_every_kernel(load_parameters(None))
sys.setprofile(None)
json.dump(names, sys.stdout)
"""
"""Without the compiler kernels are plain functions, and a profiler sees which ones are called."""


def kernels() -> dict[str, str]:
    """Return file and name of every function that `compiled` decorates, by name."""
    found = {}
    for source in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(each, ast.Name) and each.id == "compiled" for each in node.decorator_list
            ):
                found[node.name] = f"{source}:{node.name}"
    return found


def test_every_kernel_is_entered_or_compiled_with_one_that_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENTERED],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    entered = json.loads(done.stdout)
    known = kernels()
    assert len(known) > 40
    reached = {name for name, place in known.items() if place in entered}
    # a kernel is compiled with those that name it, called or not
    reached |= {name for caller in reached for name in entered[known[caller]] if name in known}
    assert reached == set(known)
