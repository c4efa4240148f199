"""Change the code in one place, see whether a test notices, many times; run by ./test --mutants.

Places are drawn with a seed, so the same sources and the same seed give the same mutants. The tests of an area must
pass without a mutant first. Each mutant meets the test file that mirrors its module, then that folder, then all that
use the package; it survives when all pass. A line per mutant goes to .cache/mutants.jsonl at once; the table at the
end is what docs/mutants.md holds.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / ".cache" / "mutants.jsonl"
AREAS = {
    "attest": ("tests/attest", "tests/node/round"),
    "aggregator": ("tests/aggregator",),
    "adapters/chains": ("tests/adapters",),
    "node": ("tests/node", "tests/contracts/test_verify_command.py"),
}
"""What is mutated, and the tests that must notice."""
SLOWEST_SECONDS = 1_500
PAIRS: tuple[tuple[type[ast.AST], type[ast.AST]], ...] = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot)),
    *((ast.And, ast.Or), (ast.Add, ast.Sub), (ast.LShift, ast.RShift), (ast.BitAnd, ast.BitOr)),
)
SWAPS: dict[type[ast.AST], Any] = {
    **dict(PAIRS),
    **{second: first for first, second in PAIRS},
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
CALLED = {"min": "max", "max": "min", "any": "all", "all": "any"}
IGNORED = (ast.JoinedStr, ast.Raise, ast.arg)
"""Messages and annotations: nothing is computed there."""
UNSEEN = {"annotation", "returns", "decorator_list", "bases", "op", "ops"}


@dataclass(frozen=True)
class Mutant:
    """One change: the text between two offsets becomes another."""

    area: str
    path: str
    line: int
    begin: int
    end: int
    before: str
    after: str


def changed(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield what a node can be made into, as the node to replace and its new source."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        operator = SWAPS[type(node.ops[0])]()
        yield node, ast.unparse(ast.Compare(node.left, [operator, *node.ops[1:]], node.comparators))
    elif isinstance(node, ast.BoolOp):
        yield node, f"({ast.unparse(ast.BoolOp(SWAPS[type(node.op)](), node.values))})"
    elif isinstance(node, ast.BinOp) and type(node.op) in SWAPS and not isinstance(node.left, ast.Constant):
        yield node, f"({ast.unparse(ast.BinOp(node.left, SWAPS[type(node.op)](), node.right))})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, f"bool({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int):
        yield node, repr(not node.value if isinstance(node.value, bool) else node.value + 1)
    elif isinstance(node, ast.If | ast.While):
        yield node.test, f"not ({ast.unparse(node.test)})"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLED:
        yield node.func, CALLED[node.func.id]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        yield node, "None"
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield node, "return None"


def is_setting(node: ast.AST) -> bool:
    """Tell whether a node is a number with a name, or a field's default: tuning, whose next value is as good."""
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.value, ast.Constant) and not isinstance(node.value.value, bool)
    return (
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper() and isinstance(node.value, ast.Constant)
    )


def places(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield every change below a node, outside messages, annotations and logging."""
    if isinstance(node, IGNORED) or ast.unparse(node).startswith("_log.") or is_setting(node):
        return
    yield from changed(node)
    for name, value in ast.iter_fields(node):
        if name not in UNSEEN and not (name == "keywords" and isinstance(node, ast.ClassDef)):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from places(child)


def mutants_of(area: str, path: Path) -> Iterator[Mutant]:
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node, after in places(ast.parse(source)):
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        name = path.relative_to(ROOT).as_posix()
        yield Mutant(area, name, node.lineno, begin, end, source[begin:end].decode(), after)


def drawn(area: str, count: int, seed: int) -> list[Mutant]:
    found = [mutant for path in sorted((ROOT / area).rglob("*.py")) for mutant in mutants_of(area, path)]
    return random.Random(f"{seed} {area}").sample(found, min(count, len(found)))


def suites(mutant: Mutant) -> Iterator[tuple[str, ...]]:
    """Yield the tests to run, the nearest first."""
    mirror = Path("tests", mutant.path).with_name(f"test_{Path(mutant.path).name}")
    if (ROOT / mirror).exists():
        yield (mirror.as_posix(),)
    if mirror.parent.as_posix() not in AREAS[mutant.area] and any((ROOT / mirror.parent).glob("test_*.py")):
        yield (mirror.parent.as_posix(),)
    yield AREAS[mutant.area]


def passes(copy: Path, tests: tuple[str, ...]) -> bool:
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-m", "not soak", *tests]
    # the same examples for every mutant, and kernels kept in the copy
    environment = {**os.environ, "CI": "1", "PYTHONPATH": str(copy), "NUMBA_CACHE_DIR": str(copy / ".numba")}
    process = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(SLOWEST_SECONDS) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return False


def survives(copy: Path, mutant: Mutant) -> bool:
    path = copy / mutant.path
    source = path.read_bytes()
    path.write_bytes(source[: mutant.begin] + mutant.after.encode() + source[mutant.end :])
    try:
        return all(passes(copy, tests) for tests in suites(mutant))
    finally:
        path.write_bytes(source)


def make_copy(folder: Path) -> Path:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / ".cache" / "packages", folder / ".cache" / "packages")
    shutil.copytree(ROOT / ".cache" / "compiled", folder / ".cache" / "compiled")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def require_green(area: str) -> None:
    """Stop where the tests of an area fail without a mutant: every mutant would count as killed."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        if not passes(make_copy(Path(folder)), AREAS[area]):
            sys.exit(f"{area}: its tests fail or hang without a mutant: run pytest {' '.join(AREAS[area])}")
    print("green    ", area, flush=True)


def work(waiting: queue.SimpleQueue[Mutant], written: threading.Lock) -> None:
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = make_copy(Path(folder))
        while True:
            try:
                mutant, begin = waiting.get_nowait(), time.monotonic()
            except queue.Empty:
                return
            row = {**vars(mutant), "survives": survives(copy, mutant), "seconds": round(time.monotonic() - begin)}
            with written, RESULTS.open("a") as results:
                results.write(json.dumps(row) + "\n")
            print("SURVIVES" if row["survives"] else "killed  ", f"{mutant.path}:{mutant.line}", flush=True)


def table() -> str:
    rows = sorted(map(json.loads, RESULTS.read_text().splitlines()), key=lambda row: list(AREAS).index(row["area"]))
    lines = ["| folder | mutants | killed | |", "|---|---|---|---|"]
    for area, each in groupby(rows, key=lambda row: row["area"]):
        alive = [row["survives"] for row in each]
        killed = alive.count(False)
        lines.append(f"| `{area}` | {len(alive)} | {killed} | {100 * killed / len(alive):.0f} % |")
    lines += ["", "| survivor | was | became |", "|---|---|---|"]
    for row in rows:
        if row["survives"]:
            before, after = (row[name].replace("\n", " ").replace("|", "\\|")[:90] for name in ("before", "after"))
            lines.append(f"| `{row['path']}:{row['line']}` | `{before}` | `{after}` |")
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Mutate the code and count what the tests notice.")
    arguments.add_argument("--count", type=int, default=30, help="mutants of each area")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--area", choices=AREAS, action="append", help="only this one; may be repeated")
    arguments.add_argument("--workers", type=int, default=2)
    given = arguments.parse_args()
    waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for area in given.area or AREAS:
        for mutant in drawn(area, given.count, given.seed):
            waiting.put(mutant)
    for area in given.area or AREAS:
        require_green(area)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.unlink(missing_ok=True)
    workers = [threading.Thread(target=partial(work, waiting, threading.Lock())) for _ in range(given.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(table())


if __name__ == "__main__":
    main()
