"""Calldata and answers without a chain."""

from pathlib import Path
from typing import Any

import pytest

from attest.encoding.keccak import keccak256
from contracts import compile as compiling
from contracts.calls import Revert, decode_event, decode_result, decode_revert, encode_call, encode_deployment
from contracts.deployment import deploy
from devnet.toolchain.packages import default_cache
from riskschema.errors import FatalError, InvalidData
from riskschema.units import Address


def selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


def test_a_call_is_the_selector_and_the_words() -> None:
    call = encode_call("RiskOracle", "recentReport", 7)
    assert call == selector("recentReport(uint64)") + (7).to_bytes(32, "big")


def test_an_argument_outside_its_type_is_refused() -> None:
    with pytest.raises(InvalidData, match="recentReport"):
        encode_call("RiskOracle", "recentReport", 2**64)
    with pytest.raises(InvalidData, match="RiskOracle"):
        encode_deployment("RiskOracle", "no address", 16)


def test_an_unknown_function_is_a_programming_error() -> None:
    with pytest.raises(KeyError, match="transferOwnership"):
        encode_call("RiskOracle", "transferOwnership")


def test_a_revert_is_named_with_its_arguments() -> None:
    data = selector("RoundNotNewer(uint64,uint64)") + (4).to_bytes(32, "big") + (5).to_bytes(32, "big")
    assert decode_revert(data) == Revert("RoundNotNewer", (4, 5))
    assert str(decode_revert(data)) == "RoundNotNewer(4, 5)"


@pytest.mark.parametrize("data", [b"", b"\x01\x02", selector("Error(string)") + bytes(64)])
def test_a_foreign_revert_keeps_its_bytes(data: bytes) -> None:
    assert decode_revert(data) == Revert("Unknown", (data,))


def test_a_truncated_revert_is_unknown() -> None:
    data = selector("RoundNotNewer(uint64,uint64)") + bytes(31)
    assert decode_revert(data) == Revert("Unknown", (data,))
    assert str(decode_revert(data)) == f"Unknown(0x{data.hex()})"


@pytest.mark.parametrize("answer", [b"", bytes(31), b"\xff" * 64])
def test_an_answer_that_does_not_decode_is_refused(answer: bytes) -> None:
    with pytest.raises(InvalidData, match="latestRound"):
        decode_result("RiskOracle", "latestRound", answer)


def test_a_log_of_another_event_is_refused() -> None:
    with pytest.raises(InvalidData, match="another event"):
        decode_event("RiskOracle", "ReportAccepted", topics=[keccak256(b"Transfer")], data=b"")
    with pytest.raises(InvalidData, match="another event"):
        decode_event("RiskOracle", "Paused", topics=[], data=bytes(32))


def test_a_deployment_that_creates_nothing_is_an_error() -> None:
    def send(_to: Address | None, _data: bytes) -> None:
        return None

    with pytest.raises(FatalError, match="created no contract"):
        deploy(send, b"\x00")


@pytest.mark.chain
def test_changed_sources_make_the_check_fail(
    monkeypatch: pytest.MonkeyPatch, compiled: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "compile_contracts", lambda **_: compiled)
    assert compiling.main(["--check"]) == 0
    monkeypatch.setattr(compiling, "ARTIFACTS", tmp_path)
    assert compiling.main(["--check"]) == 1
    assert "RiskOracle" in capsys.readouterr().err
    assert compiling.main([]) == 0
    assert compiling.main(["--check"]) == 0
    changed = {**compiled, "RiskOracle": compiled["RiskOracle"] | {"sourceHash": "0"}}
    monkeypatch.setattr(compiling, "compile_contracts", lambda **_: changed)
    assert compiling.main(["--check"]) == 1


@pytest.mark.chain
def test_a_source_that_does_not_compile_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "Broken.sol").write_text("// SPDX-License-Identifier: MIT\npragma solidity ^0.8.28;\ncontract {\n")
    with pytest.raises(FatalError, match=r"Broken\.sol"):
        compiling.compile_contracts(cache=default_cache(), extra_sources=tmp_path)
