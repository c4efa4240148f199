"""Build the wheel, install it outside the tree in an empty environment, and use it there.

A script, not a pytest module: what it checks must not see the source tree that pytest runs from.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PORTFOLIO = {
    "subject": "0x00000000000000000000000000000000000000aa",
    "silos": [
        {
            "id": "wallet",
            "venue": "wallet:1:main",
            "chain_id": 1,
            "market": "",
            "account": "0x00000000000000000000000000000000000000aa",
            "health": None,
            "rule": {"kind": "none"},
            "positions": [
                {
                    "instrument": {
                        "kind": "token",
                        "chain_id": 1,
                        "address": "0x0000000000000000000000000000000000000000",
                        "symbol": "ETH",
                        "decimals": 18,
                        "factor": "ETH",
                    },
                    "quantity": "3000000000000000000",
                }
            ],
        }
    ],
}
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith(("__main__", "migrations.env")):
            importlib.import_module(module.name)
"""
"""Every module imports with the dependencies of a plain installation."""
MARKET = {"as_of": 1_700_000_000, "quotes": [{"factor": "ETH", "price": "2000", "group": "eth"}]}


def main() -> None:
    """Fail with a traceback if the installed wheel cannot do what the README says."""
    uv = shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory), cwd=ROOT)
        (wheel,) = directory.glob("*.whl")
        check_notices(wheel)
        packages = check_contents(wheel)
        environment = directory / "environment"
        run(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
        python = str(environment / "bin" / "python")
        lock = str(ROOT / "requirements.lock")
        run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock)
        run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", str(wheel))
        run(python, "-c", IMPORT_ALL, *packages, cwd=directory)
        use(directory, str(environment / "bin" / "plimsoll"))


def check_notices(wheel: Path) -> None:
    """Fail if the licence, or a notice that somebody else's licence asks for, does not travel with the wheel."""
    with zipfile.ZipFile(wheel) as opened:
        texts = {Path(name).name: opened.read(name).decode() for name in opened.namelist() if "/licenses/" in name}
    assert "Apache License" in texts["LICENSE"]
    assert "Sun Microsystems" in texts["NOTICE"], "the notice of fdlibm must be preserved"
    assert "provided that this notice" in texts["NOTICE"]


def check_contents(wheel: Path) -> list[str]:
    """Fail if a file of a package is not in the wheel; return the packages."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages: list[str] = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    tracked = run("git", "ls-files", "--", *packages, cwd=ROOT).splitlines()
    with zipfile.ZipFile(wheel) as opened:
        lacking = sorted(set(tracked) - set(opened.namelist()))
    assert not lacking, f"not in the wheel: {lacking}"
    assert {name.split("/")[0] for name in tracked} == set(packages), "a package without files"
    return packages


def use(directory: Path, plimsoll: str) -> None:
    """Run the installed command on files of its own."""
    (directory / "portfolio.json").write_text(json.dumps(PORTFOLIO))
    (directory / "market.json").write_text(json.dumps(MARKET))
    assert "assess" in run(plimsoll, "--help", cwd=directory)
    assert run(plimsoll, "--version", cwd=directory).strip()
    files = ("--portfolio", "portfolio.json", "--market", "market.json")
    assessment = json.loads(run(plimsoll, "assess", *files, "--json", cwd=directory))
    assert abs(Decimal(assessment["equity"]) - 6000) < Decimal("0.0001"), assessment["equity"]
    assert assessment["grade"] == "A", assessment["grade"]
    python = str(Path(plimsoll).parent / "python")
    check = "import contracts, storage; print(len(contracts.artifact('RiskOracle').bytecode))"
    assert int(run(python, "-c", check, cwd=directory)) > 1000


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command away from the source tree and return its output."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=clean, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
