"""Compile Morpho Blue and the devnet's own Solidity once, and keep the result in the cache."""

import hashlib
import json
from pathlib import Path
from typing import Any

from devnet.toolchain.packages import Progress, appears_whole, cache_lock, fetch_package
from devnet.toolchain.solc import run_solc

SOLIDITY_FOLDER = Path(__file__).parents[1] / "solidity"
SETTINGS = {
    "optimizer": {"enabled": True, "runs": 200},
    "evmVersion": "paris",
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
}


def compile_contracts(*, cache: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    """Return ABI and creation bytecode by contract name, compiled with solc 0.8.19.

    Args:
        cache: Cache folder; the output is re-used while sources and settings are unchanged.
        progress: Called with one line per step that takes time.

    Raises:
        DevnetError: A package cannot be fetched, Node.js is missing, or solc reports an error.
    """
    morpho = fetch_package("morpho-blue", cache=cache, progress=progress)
    request = json.dumps({"language": "Solidity", "sources": _sources(morpho), "settings": SETTINGS}, sort_keys=True)
    key = hashlib.sha256(request.encode()).hexdigest()[:16]
    target = cache / "compiled" / key
    if not target.is_dir():
        with cache_lock(cache, "compile"):
            if not target.is_dir():
                progress("compiling Morpho Blue and the devnet contracts")
                contracts = _solc(request, cache=cache, progress=progress)
                with appears_whole(target) as scratch:
                    (scratch / "contracts.json").write_text(json.dumps(contracts))
    compiled: dict[str, dict[str, Any]] = json.loads((target / "contracts.json").read_text())
    return compiled


def _sources(morpho: Path) -> dict[str, dict[str, str]]:
    files = {f"devnet/{path.name}": path for path in SOLIDITY_FOLDER.glob("*.sol")}
    for path in (morpho / "src").rglob("*.sol"):
        relative = path.relative_to(morpho).as_posix()
        if not relative.startswith(("src/mocks/", "src/libraries/periphery/")):
            files[relative] = path
    return {name: {"content": files[name].read_text()} for name in sorted(files)}


def _solc(request: str, *, cache: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    output = run_solc(fetch_package("solc-0_8_19", cache=cache, progress=progress), request)
    return {
        name: {"abi": contract["abi"], "bytecode": "0x" + contract["evm"]["bytecode"]["object"]}
        for file in output["contracts"].values()
        for name, contract in file.items()
        if contract["evm"]["bytecode"]["object"]
    }
