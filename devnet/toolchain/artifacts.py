"""Contracts as the devnet handles them: ABI, linked bytecode, call data.

Artifacts are Hardhat's (`hh-sol-artifact-1`) for the npm packages and solc's output for what is
compiled here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from devnet.errors import DevnetError
from devnet.toolchain.compiler import compile_aave_origin, compile_contracts
from devnet.toolchain.packages import Progress, fetch_package

HARDHAT_PACKAGES = ("aave-core-v3", "uniswap-v3-core", "uniswap-v3-periphery")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A contract before deployment.

    Attributes:
        name: Contract name, unique among the packages used.
        abi: Its ABI entries.
        bytecode: Creation code as hex with `0x`, library addresses still open.
        link_references: Library name to byte offsets of its address in the creation code.
    """

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: str
    link_references: Mapping[str, tuple[int, ...]]

    @cached_property
    def functions(self) -> dict[tuple[str, int], Mapping[str, Any]]:
        """Return the functions by name and number of arguments."""
        return {(entry["name"], len(entry["inputs"])): entry for entry in self.abi if entry["type"] == "function"}

    def creation_code(self, libraries: Mapping[str, str], *arguments: Any) -> str:
        """Return linked creation code followed by the encoded constructor arguments."""
        code = bytearray.fromhex(_with_open_links(self.bytecode, self.link_references))
        for library, offsets in self.link_references.items():
            for offset in offsets:
                code[offset : offset + 20] = bytes.fromhex(libraries[library][2:])
        constructors = (entry for entry in self.abi if entry["type"] == "constructor")
        inputs: list[Mapping[str, Any]] = next(constructors, {"inputs": []})["inputs"]
        return "0x" + bytes(code).hex() + encode(_types(inputs), arguments).hex()

    def call_data(self, function: str, *arguments: Any) -> str:
        """Return selector and encoded arguments of a call, as hex with `0x`."""
        entry = self._function(function, len(arguments))
        types = _types(entry["inputs"])
        selector = keccak(f"{function}({','.join(types)})".encode())[:4]
        return "0x" + (selector + encode(types, arguments)).hex()

    def decode_result(self, function: str, arity: int, data: str) -> tuple[Any, ...]:
        """Return what a call answered, decoded."""
        outputs = _types(self._function(function, arity)["outputs"])
        return decode(outputs, bytes.fromhex(data[2:]))

    def _function(self, name: str, arity: int) -> Mapping[str, Any]:
        try:
            return self.functions[name, arity]
        except KeyError:
            raise DevnetError(f"{self.name} has no function {name} of {arity} arguments") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """An artifact at an address."""

    artifact: Artifact
    address: str


def load_artifacts(*, cache: Path, progress: Progress) -> dict[str, Artifact]:
    """Return every contract the devnet may deploy, by name, fetching and compiling what is missing.

    Raises:
        DevnetError: A package cannot be fetched or compiled.
    """
    paths: dict[str, Path] = {}
    for key in HARDHAT_PACKAGES:
        folder = fetch_package(key, cache=cache, progress=progress) / "artifacts" / "contracts"
        paths |= {p.stem: p for p in folder.rglob("*.json") if not p.name.endswith(".dbg.json")}
    artifacts = {name: _hardhat(json.loads(paths[name].read_text())) for name in NAMES}
    return artifacts | _of_solc(compile_contracts(cache=cache, progress=progress))


def load_aave_origin(*, cache: Path, progress: Progress) -> dict[str, Artifact]:
    """Return the contracts of a market of Aave v3.6, by name; some are called like those of v3.0.

    Raises:
        DevnetError: A package cannot be fetched or compiled.
    """
    return _of_solc(compile_aave_origin(AAVE_ORIGIN, cache=cache, progress=progress))


AAVE_ORIGIN = (
    *("SupplyLogic", "BorrowLogic", "LiquidationLogic", "PoolLogic", "ConfiguratorLogic", "FlashLoanLogic"),
    *("PoolAddressesProvider", "ACLManager", "PoolInstance", "PoolConfiguratorInstance", "AaveOracle"),
    *("AaveProtocolDataProvider", "ATokenInstance", "VariableDebtTokenInstance", "PriceOracleSentinel"),
    "DefaultReserveInterestRateStrategyV2",
)


NAMES = (
    *("SupplyLogic", "BorrowLogic", "LiquidationLogic", "EModeLogic", "BridgeLogic", "PoolLogic"),
    *("ConfiguratorLogic", "FlashLoanLogic", "PoolAddressesProvider", "ACLManager", "Pool"),
    *("PoolConfigurator", "AaveOracle", "AaveProtocolDataProvider", "AToken", "VariableDebtToken"),
    *("StableDebtToken", "DefaultReserveInterestRateStrategy"),
    *("UniswapV3Factory", "UniswapV3Pool", "NonfungiblePositionManager", "SwapRouter"),
)


def _of_solc(contracts: Mapping[str, Mapping[str, Any]]) -> dict[str, Artifact]:
    return {
        name: Artifact(
            name=name,
            abi=tuple(contract["abi"]),
            bytecode=contract["bytecode"],
            link_references=_places(contract["linkReferences"]),
        )
        for name, contract in contracts.items()
    }


def _places(references: Mapping[str, Mapping[str, list[Mapping[str, int]]]]) -> dict[str, tuple[int, ...]]:
    """Return library name to byte offsets."""
    return {
        library: tuple(place["start"] for place in places)
        for file in references.values()
        for library, places in file.items()
    }


def _hardhat(artifact: Mapping[str, Any]) -> Artifact:
    return Artifact(
        name=artifact["contractName"],
        abi=tuple(artifact["abi"]),
        bytecode=artifact["bytecode"],
        link_references=_places(artifact["linkReferences"]),
    )


def _with_open_links(bytecode: str, links: Mapping[str, tuple[int, ...]]) -> str:
    digits = bytecode.removeprefix("0x")
    for offset in (offset for offsets in links.values() for offset in offsets):
        digits = digits[: offset * 2] + "0" * 40 + digits[offset * 2 + 40 :]
    return digits


def _types(entries: list[Mapping[str, Any]]) -> list[str]:
    return [_canonical(entry) for entry in entries]


def _canonical(entry: Mapping[str, Any]) -> str:
    kind: str = entry["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_types(entry['components']))}){kind.removeprefix('tuple')}"
