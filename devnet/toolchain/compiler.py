"""Compile Morpho Blue, Aave v3.6 and the devnet's own Solidity once, and keep the result in the cache."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devnet.toolchain.packages import Progress, appears_whole, cache_lock, fetch_package
from devnet.toolchain.solc import run_solc

SOLIDITY_FOLDER = Path(__file__).parents[1] / "solidity"
SETTINGS = {"optimizer": {"enabled": True, "runs": 200}, "evmVersion": "paris"}
OUTPUT = ["abi", "evm.bytecode.object", "evm.bytecode.linkReferences"]
_IMPORT = re.compile(r"""import\s+(?:[^'";]*from\s+)?['"]([^'"]+)['"]""")

Sources = dict[str, dict[str, str]]


def compile_contracts(*, cache: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    """Return Morpho Blue and the devnet's own contracts by name, compiled with solc 0.8.19.

    Args:
        cache: Cache folder; the output is re-used while sources and settings are unchanged.
        progress: Called with one line per step that takes time.

    Raises:
        DevnetError: A package cannot be fetched, Node.js is missing, or solc reports an error.
    """
    sources = _sources(fetch_package("morpho-blue", cache=cache, progress=progress))
    what = "Morpho Blue and the devnet contracts"
    request = _request(sources, {"*": {"*": OUTPUT}})
    return _compiled(request, solc="solc-0_8_19", what=what, cache=cache, progress=progress)


def compile_aave_origin(names: tuple[str, ...], *, cache: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    """Return contracts of Aave v3.6 by name, compiled with solc 0.8.28 (its release: 0.8.27).

    Raises:
        DevnetError: As `compile_contracts`.
    """
    aave = fetch_package("aave-v3-origin", cache=cache, progress=progress)
    library = fetch_package("openzeppelin-contracts", cache=cache, progress=progress)
    files = {path.relative_to(aave).as_posix(): path for path in (aave / "src").rglob("*.sol")}
    below = "openzeppelin-contracts/contracts"
    files |= {f"{below}/{path.relative_to(library).as_posix()}": path for path in library.rglob("*.sol")}
    entries = [name for name in files if name.startswith("src/") and Path(name).stem in names]
    wanted = {name: {Path(name).stem: OUTPUT} for name in sorted(entries)}
    request = _request(_with_imports(entries, files), wanted)
    return _compiled(request, solc="solc-0_8_28", what="Aave v3.6", cache=cache, progress=progress)


def _request(sources: Sources, wanted: Mapping[str, Any]) -> str:
    settings = {**SETTINGS, "outputSelection": wanted}
    return json.dumps({"language": "Solidity", "sources": sources, "settings": settings}, sort_keys=True)


def _compiled(request: str, *, solc: str, what: str, cache: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    key = hashlib.sha256((solc + request).encode()).hexdigest()[:16]
    target = cache / "compiled" / key
    if not target.is_dir():
        with cache_lock(cache, "compile"):
            if not target.is_dir():
                progress(f"compiling {what}")
                output = run_solc(fetch_package(solc, cache=cache, progress=progress), request)
                with appears_whole(target) as scratch:
                    (scratch / "contracts.json").write_text(json.dumps(_deployable(output)))
    compiled: dict[str, dict[str, Any]] = json.loads((target / "contracts.json").read_text())
    return compiled


def _sources(morpho: Path) -> Sources:
    files = {f"devnet/{path.name}": path for path in SOLIDITY_FOLDER.glob("*.sol")}
    for path in (morpho / "src").rglob("*.sol"):
        relative = path.relative_to(morpho).as_posix()
        if not relative.startswith(("src/mocks/", "src/libraries/periphery/")):
            files[relative] = path
    return {name: {"content": files[name].read_text()} for name in sorted(files)}


def _with_imports(entries: list[str], files: Mapping[str, Path]) -> Sources:
    """Return sources by name, with all that they import."""
    sources: Sources = {}
    wanted = list(entries)
    while wanted:
        name = wanted.pop()
        if name in sources:
            continue
        content = files[name].read_text()
        sources[name] = {"content": content}
        wanted += [_resolved(name, path) if path.startswith(".") else path for path in _IMPORT.findall(content)]
    return sources


def _resolved(name: str, path: str) -> str:
    """Return the name of a source that another imports by a relative path."""
    parts = name.split("/")[:-1]
    for step in path.split("/"):
        if step == "..":
            parts.pop()
        elif step not in (".", ""):
            parts.append(step)
    return "/".join(parts)


def _deployable(output: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return ABI, creation bytecode and the places of library addresses of what can be deployed."""
    return {
        name: {
            "abi": contract["abi"],
            "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
            "linkReferences": contract["evm"]["bytecode"].get("linkReferences", {}),
        }
        for file in output["contracts"].values()
        for name, contract in file.items()
        if contract["evm"]["bytecode"]["object"]
    }
