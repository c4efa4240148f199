"""What no module of the packages uses is deleted, not kept for later."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = SETTINGS["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

MADE_FOR_TESTS = "devnet"
"""The local chain: tests and benchmarks are its users too."""
USED_BY_OTHERS = {
    "MemoryStore": "the store's twin, held to the same tests: benchmarks and tests of the API run on it",
    "amounts": "the exact amounts of a Uniswap range, which tests hold the contracts and the valuation to",
    "decode_event": "reads events of a deployed contract back, for benchmarks and tests",
    "flags_of": "the inverse of what is signed, for tests that read bitmaps back",
    "high_water_mark": "what the guard has let out, for tests that look from outside",
    "kill": "ends a node of the local committee as a crash would: tests look what the others do",
    "load_recording": "replays what an operator recorded, as docs/adding-an-adapter.md shows",
    "on_state": "input of the round machine from other operators; their transport is not built yet",
    "next_start": "questions after what was missed; their transport is not built yet",
    "take": "questions after what was missed; their transport is not built yet",
    "check_hours": "questions after what was missed; their transport is not built yet",
    "must_listen": "a start that listens first; its transport is not built yet",
    "own_messages": "what the round machine said, for their transport",
    "highest_certified": "what the round machine builds on, for their transport",
    "py_func": "the plain twin of a compiled kernel",
    "verify_account_call": "a consumer's call, for benchmarks and tests of gas",
    "verify_feed_call": "a consumer's call, for tests of gas",
}
"""Names that no module of the packages uses, and who does."""


FOUND_BY_FOLDER = {
    "adapters/protocols": {"adapter"},
    "aggregator/venues": {"RULE", "read"},
    "devnet/protocols": {"settings_table"},
    "adapters/markets": {"source"},
}
"""What each file of a folder, or the ``__init__`` of each folder in it, is expected to define."""
OUR_BASES = {"Protocol", "msgspec.Struct"}


def modules(folders: Iterable[str]) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:  # Alembic reads names of its own
                yield path, parsed(path)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def functions_and_values(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the public names of a module; what is decorated is registered somewhere."""
    for node in tree.body:
        if isinstance(node, Definition) and (isinstance(node, ast.ClassDef) or not node.decorator_list):
            yield node.name, node
        yield from ((name, node) for name in assigned(node))


def methods(tree: ast.Module) -> Iterator[str]:
    """Yield methods of classes; what a class of a library is extended by is called by the library."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and all(ast.unparse(base).split("[")[0] in OUR_BASES for base in node.bases):
            yield from (each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def read_names(node: ast.AST) -> Counter[str]:
    return Counter(each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load))


def dotted(node: ast.expr) -> str:
    """Return a name with dots; of what is computed nothing."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def taken(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for what is imported by name, or taken from a module that was imported."""
    local: dict[str, str] = {}
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else []:
            local[alias.asname or alias.name] = alias.name.split(".")[-1]
            if isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.split(".")[-1], alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base = dotted(node.value)
            yield local.get(base, base.split(".")[-1]), node.attr


def unused() -> list[str]:
    trees, users = dict(modules(PACKAGES)), dict(modules(["tests", "bench"]))
    ours = {each for tree in trees.values() for each in taken(tree)}
    others = {each for path, tree in users.items() if "devnet" not in path.parts for each in taken(tree)}
    called = {name for _, name in ours}
    called_by_others = {name for _, name in others}
    known = {name for word in SETTINGS["project"]["scripts"].values() for name in re.findall(r"\w+", word)}
    known |= USED_BY_OTHERS.keys()
    found = []
    for path, tree in trees.items():
        made_for_tests = path.is_relative_to(ROOT / MADE_FOR_TESTS)
        inside = read_names(tree)
        for name, node in functions_and_values(tree):
            here = (path.parent.name if path.stem == "__init__" else path.stem, name)
            if here in ours or (made_for_tests and here in others):
                continue
            own = read_names(node)[name] if inside[name] and isinstance(node, Definition) else 0
            if inside[name] == own:
                found.append((path, name))
        found += [
            (path, name)
            for name in methods(tree)
            if name not in (called | called_by_others if made_for_tests else called)
        ]
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path, name in found
        if not name.startswith("_") and name not in known | FOUND_BY_FOLDER.get(folder_of(path), set())
    ]


def folder_of(path: Path) -> str:
    """Return the folder in which a module is found by its name; of a package, the one it lies in."""
    place = path.parent if path.stem == "__init__" else path
    return place.parent.relative_to(ROOT).as_posix()


def test_every_public_name_is_used() -> None:
    assert unused() == []


def test_no_exception_outlives_its_name() -> None:
    names = {name for _, tree in modules(PACKAGES) for name, _ in functions_and_values(tree)}
    names |= {name for _, tree in modules(PACKAGES) for name in methods(tree)}
    assert USED_BY_OTHERS.keys() <= names
