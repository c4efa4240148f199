"""Compile contracts/src with the pinned solc and OpenZeppelin, and write contracts/artifacts.

Needs Node.js and, the first time, npm. ``python -m contracts.compile`` writes; tests use `compile_contracts` to prove
that the committed artifacts belong to the sources.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from devnet.toolchain.packages import default_cache, fetch_package
from devnet.toolchain.solc import run_solc

SOURCES = Path(__file__).parent / "src"
ARTIFACTS = Path(__file__).parent / "artifacts"
PUBLISHED = ("EcdsaBitmapVerifier", "ExamplePool", "IQuorumVerifier", "IRiskOracle", "RiskOracle")
SETTINGS: dict[str, Any] = {
    "optimizer": {"enabled": True, "runs": 1_000_000},
    "evmVersion": "cancun",
    "viaIR": True,
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
}

_IMPORT = re.compile(r'^import .*"(?P<path>[^"]+)";$', re.MULTILINE)
_OPENZEPPELIN = "@openzeppelin/contracts/"


def compile_contracts(*, cache: Path, extra_sources: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return the artifacts by contract name.

    Args:
        cache: Where pinned packages are kept.
        extra_sources: A folder of further .sol files; they import ours as ``contracts/...``.

    Raises:
        DevnetError: a package or Node.js is missing, or solc refuses a source.
    """
    solc = fetch_package("solc-0_8_28", cache=cache, progress=_say)
    openzeppelin = fetch_package("openzeppelin-contracts", cache=cache, progress=_say)
    sources = collect_sources(openzeppelin, extra_sources)
    request = {"language": "Solidity", "sources": sources, "settings": SETTINGS}
    output = run_solc(solc, json.dumps(request, sort_keys=True), warnings_are_errors=True)
    version = json.loads((solc / "package.json").read_text())["version"]
    return {
        name: _artifact(name, file, contract, sources, version)
        for file, contracts in output["contracts"].items()
        for name, contract in contracts.items()
        if not file.startswith(_OPENZEPPELIN)
    }


def collect_sources(openzeppelin: Path, extra_sources: Path | None = None) -> dict[str, dict[str, str]]:
    """Return standard-JSON sources: ours, the extra ones, and what they import of OpenZeppelin."""
    found = {f"contracts/{path.relative_to(SOURCES).as_posix()}": path for path in sorted(SOURCES.rglob("*.sol"))}
    if extra_sources is not None:
        found |= {f"extra/{path.name}": path for path in sorted(extra_sources.glob("*.sol"))}
    contents = {name: path.read_text() for name, path in found.items()}
    waiting = list(contents)
    while waiting:
        name = waiting.pop()
        for imported in imports_of(name, contents[name]):
            if imported.startswith(_OPENZEPPELIN) and imported not in contents:
                contents[imported] = (openzeppelin / imported.removeprefix(_OPENZEPPELIN)).read_text()
                waiting.append(imported)
    return {name: {"content": contents[name]} for name in sorted(contents)}


def imports_of(name: str, text: str) -> list[str]:
    """Return the source names that a source imports, relative paths resolved."""
    return [_resolve(name, match["path"]) for match in _IMPORT.finditer(text)]


def source_hash(file: str, sources: dict[str, dict[str, str]]) -> str:
    """Return SHA-256 over a file, all it imports, and the settings."""
    reached: set[str] = set()
    waiting = [file]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(imports_of(name, sources[name]["content"]))
    content = {name: sources[name]["content"] for name in sorted(reached)}
    return hashlib.sha256(json.dumps([content, SETTINGS], sort_keys=True).encode()).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Write the artifacts, or with ``--check`` only compare them."""
    parser = argparse.ArgumentParser(prog="python -m contracts.compile", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where artifacts are out of date")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where pinned packages are kept")
    options = parser.parse_args(arguments)
    compiled = compile_contracts(cache=options.cache)
    stale = [name for name in PUBLISHED if not _is_current(name, compiled[name])]
    if options.check:
        _say(f"out of date: {', '.join(stale)}" if stale else "artifacts belong to the sources")
        return 1 if stale else 0
    ARTIFACTS.mkdir(exist_ok=True)
    for name in PUBLISHED:
        (ARTIFACTS / f"{name}.json").write_text(_text(compiled[name]))
    _say(f"wrote {len(PUBLISHED)} artifacts, {len(stale)} changed")
    return 0


def _artifact(
    name: str, file: str, contract: dict[str, Any], sources: dict[str, dict[str, str]], version: str
) -> dict[str, Any]:
    return {
        "contractName": name,
        "sourceName": file,
        "sourceHash": source_hash(file, sources),
        "compiler": {"version": version, "settings": SETTINGS},
        "abi": contract["abi"],
        "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
        "deployedBytecode": "0x" + contract["evm"]["deployedBytecode"]["object"],
    }


def _resolve(name: str, path: str) -> str:
    if not path.startswith("."):
        return path
    parts = name.split("/")[:-1]
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _is_current(name: str, compiled: dict[str, Any]) -> bool:
    path = ARTIFACTS / f"{name}.json"
    return path.is_file() and path.read_text() == _text(compiled)


def _text(compiled: dict[str, Any]) -> str:
    return json.dumps(compiled, indent=1) + "\n"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
