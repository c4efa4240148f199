"""Solidity of the on-chain side, compiled: ABI and bytecode as package data, sources beside them."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from riskschema.errors import FatalError


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract.

    Attributes:
        abi: JSON ABI.
        bytecode: Creation code, 0x and hexadecimal.
        deployed_bytecode: Runtime code with immutables left zero.
        source_hash: SHA-256 over compiler input: sources, dependencies and settings.
    """

    abi: list[dict[str, Any]]
    bytecode: str
    deployed_bytecode: str
    source_hash: str


@cache
def artifact(name: str) -> Artifact:
    """Return a compiled contract by its Solidity name, ``RiskOracle`` for example.

    Raises:
        FatalError: there is no such contract in the package.
    """
    resource = files(__name__).joinpath("artifacts", f"{name}.json")
    if not resource.is_file():
        raise FatalError(f"no compiled contract named {name}; run python -m contracts.compile", code="no_code")
    content = json.loads(resource.read_text())
    return Artifact(
        abi=content["abi"],
        bytecode=content["bytecode"],
        deployed_bytecode=content["deployedBytecode"],
        source_hash=content["sourceHash"],
    )
