"""docs/architecture.md says about imports what `.importlinter` enforces, and the packages do as both say."""

from __future__ import annotations

import ast
import configparser
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = ("riskschema", "aggregator", "attest")
LARGEST_ROOM = 16
"""Modules side by side that a reader still takes in."""


def contracts() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / ".importlinter")
    return parser


def names(section: configparser.SectionProxy, option: str) -> list[str]:
    return [line.strip() for line in section[option].splitlines() if line.strip() and not line.strip().startswith("#")]


PACKAGES = names(contracts()["importlinter"], "root_packages")


def allowed() -> dict[str, set[str]]:
    """What the contracts leave: everything of a lower layer that is not forbidden as a whole."""
    layers = [
        {name.strip() for name in line.split("|")}
        for line in names(contracts()["importlinter:contract:stages"], "layers")
    ]
    found = {}
    for place, layer in enumerate(layers):
        below = set().union(*layers[place + 1 :])
        for package in layer:
            found[package] = below - forbidden_to(package)
    return found


def forbidden_to(package: str) -> set[str]:
    return {
        name
        for title in contracts().sections()
        if title.startswith("importlinter:contract:") and contracts()[title]["type"] == "forbidden"
        if package in names(contracts()[title], "source_modules")
        for name in names(contracts()[title], "forbidden_modules")
    }


def stated() -> dict[str, set[str]]:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("| package | may import |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    return {package: set(re.findall(r"`(\w+)`", cell)) for package, cell in rows}


@cache
def imported(file: Path) -> set[str]:
    """Return the packages and libraries that a module imports, without what comes after the first dot."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return {name.split(".")[0] for name in names}


def imported_packages(package: str) -> set[str]:
    found = {name for file in (ROOT / package).rglob("*.py") for name in imported(file)}
    return (found & set(PACKAGES)) - {package}


def test_the_table_of_packages_says_what_the_contracts_allow() -> None:
    assert stated() == allowed()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_permission_is_given_that_nothing_uses(package: str) -> None:
    assert imported_packages(package) == stated()[package]


def importers(library: str) -> set[str]:
    """Folders with a module that imports a library; a room's own rooms count as the room."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    found = {str(file.parent.relative_to(ROOT)) for file in files if library in imported(file)}
    return {folder for folder in found if not any(folder.startswith(f"{other}/") for other in found)}


def test_a_library_with_one_home_is_imported_there_and_nowhere_else() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("| library | imported in |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| `([\w/]+)` \|$", table, re.MULTILINE)
    assert len(rows) > 5
    assert {library: importers(library) for library, _ in rows} == {library: {home} for library, home in rows}


def test_every_folder_in_the_tree_is_there_and_none_is_left_out() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = page.split("## Folders\n\n```\n")[1].split("```")[0]
    told, package = set(), ""
    for indent, name in re.findall(r"^( *)(\w+)/ ", tree, re.MULTILINE):
        package = package if indent else name
        told.add(f"{package}/{name}" if indent else name)
    rooms = {
        str(file.parent.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("__init__.py")
        if len(file.relative_to(ROOT).parts) <= 3 and file.parent.name != "migrations"
    }
    assert rooms - {"devnet/protocols"} <= told
    assert all((ROOT / name).is_dir() for name in told)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_says_what_lives_there_and_is_small_enough_to_take_in(package: str) -> None:
    for folder in {file.parent for file in (ROOT / package).rglob("*.py")}:
        if folder.name == "versions":  # migrations, in the order of time
            continue
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), folder
        modules = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        assert len(modules) <= LARGEST_ROOM, folder


@pytest.mark.parametrize("package", PURE)
@pytest.mark.parametrize("module", ["os", "pathlib", "io", "fcntl", "subprocess", "socket", "time", "random"])
def test_pure_packages_are_forbidden_files_programs_and_clocks(package: str, module: str) -> None:
    assert module in forbidden_to(package)
