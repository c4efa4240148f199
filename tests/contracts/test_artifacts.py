"""Sources and committed artifacts belong together."""

import json
from pathlib import Path
from typing import Any

import pytest

from contracts import artifact
from contracts.compile import ARTIFACTS, PUBLISHED, SOURCES, imports_of
from riskschema.errors import FatalError


@pytest.mark.chain
@pytest.mark.parametrize("name", PUBLISHED)
def test_an_artifact_is_what_its_sources_compile_to(compiled: dict[str, Any], name: str) -> None:
    assert json.loads((ARTIFACTS / f"{name}.json").read_text()) == compiled[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_artifact_can_be_loaded(name: str) -> None:
    loaded = artifact(name)
    assert loaded.abi
    assert loaded.bytecode.startswith("0x")


def test_no_artifact_is_left_over() -> None:
    assert {path.stem for path in ARTIFACTS.glob("*.json")} == set(PUBLISHED)


def test_contracts_fit_into_the_size_limit_of_every_chain() -> None:
    for name in PUBLISHED:
        assert len(artifact(name).deployed_bytecode) // 2 - 1 <= 24_576


def test_an_unknown_contract_is_named() -> None:
    with pytest.raises(FatalError, match="Unheard"):
        artifact("Unheard")


def test_relative_imports_resolve() -> None:
    pool = SOURCES / "examples" / "ExamplePool.sol"
    found = imports_of("contracts/examples/ExamplePool.sol", Path(pool).read_text())
    assert "contracts/IRiskOracle.sol" in found
    assert all(not name.startswith(".") for name in found)
