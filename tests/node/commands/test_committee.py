"""Four operators found a committee, each by its own hand: nobody can enter a key that is not its own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from attest.encoding.canonical_json import decode_canonical, encode_canonical
from attest.formats.committee import config_digest
from attest.formats.eip712 import Destination
from attest.formats.parameters import AgreementParameters
from attest.keys.joining import JoinRequest
from contracts.calls import decode_result, encode_call
from devnet.local_chain import Devnet
from node.commands.network.committee import round_quantile
from node.committee_file import load_committee
from node.key_files import read_public_keys
from riskschema.errors import InvalidData
from tests.node.commands.conftest import Plimsoll
from tests.node.commands.test_deploy import operator, present  # noqa: F401 - fixtures
from tests.node.local_node import write_cheap_keys

OPERATORS = 4


@pytest.fixture
def operators(operator: Path, tmp_path: Path) -> list[Path]:  # noqa: F811
    """Directories of four operators with the same settings and keys of their own; the first can pay."""
    made = [operator]
    for index in range(1, OPERATORS):
        other = tmp_path / f"operator{index}"
        shutil.copytree(operator, other, ignore=shutil.ignore_patterns("keys"))
        other.chmod(0o700)
        write_cheap_keys(other / "keys")
        made.append(other)
    return made


@pytest.mark.chain
def test_four_operators_found_a_committee_and_the_contract_knows_it(
    operators: list[Path],
    present: Devnet,  # noqa: F811
    plimsoll: Plimsoll,
    tmp_path: Path,
) -> None:
    draft = tmp_path / "draft.json"
    first = operators[0] / "plimsoll.toml"
    agreement = tmp_path / "agreement.toml"
    agreement.write_text('factors = ["BTC", "ETH", "USDC"]\nsmallest_account_usd = 7\nmax_shrink_ppm = 2_000_000\n')
    init = ("committee", "init", "--config", first, "--output", draft, "--agreement", agreement, "--yes")
    assert "max_shrink_ppm is 2,000,000" in plimsoll(*init).refused()
    agreement.write_text(agreement.read_text().replace("2_000_000", "200_000"))
    begun = plimsoll(*init, "--round-interval", 30)
    assert begun.status == 0, begun.messages
    joins = [tmp_path / f"join{index}.json" for index in range(OPERATORS)]
    for place, output in zip(operators, joins, strict=True):
        joined = plimsoll(
            "committee", "join", "--draft", draft, "--config", place / "plimsoll.toml", "--output", output
        )
        assert joined.status == 0, joined.messages
        assert spoken(begun.output) == spoken(joined.output), "everybody joins the draft that was read out"
        assert 'factors = ["BTC", "ETH", "USDC"]' in joined.output, "and sees what is agreed on before signing it"

    said = set()
    for place in operators:  # in whatever order they got the requests
        joins.append(joins.pop(0))
        confirmed = plimsoll("committee", "confirm", "--draft", draft, "--output", place / "committee.json", *joins)
        assert confirmed.status == 0, confirmed.messages
        said.add(spoken(confirmed.output))
    assert len(said) == 1
    founded = load_committee(operators[0] / "committee.json")
    assert said == {config_digest(founded).hex()}
    assert set(founded.signers) == {read_public_keys(place / "keys").attestation for place in operators}

    ended = plimsoll(
        *("committee", "initialise", "--draft", draft, "--committee", operators[0] / "committee.json"),
        *("--config", first, "--yes"),
    )
    assert ended.status == 0, ended.messages
    assert digest_of_contract(present, founded.destinations[0]) == config_digest(founded)
    chosen = AgreementParameters(factors=("BTC", "ETH", "USDC"), smallest_account_usd=7, max_shrink_ppm=200_000)
    assert founded.parameters == chosen
    shown = plimsoll("committee", "show", operators[1] / "committee.json").output
    assert spoken(shown) in said
    assert "smallest_account_usd = 7\n" in shown
    first.write_text('committee_file = "committee.json"\n' + first.read_text().replace("committee_file", "# "))
    assert plimsoll("committee", "check", "--config", first).status == 0

    forged(joins[0], operator=read(joins[1]).operator)
    message = plimsoll("committee", "confirm", "--draft", draft, "--output", tmp_path / "new.json", *joins).refused()
    assert "[forged]" in message


def spoken(output: str) -> str:
    """The digits that were printed to be read out."""
    return "".join(re.findall(r"\b[0-9a-f]{4}\b", "".join(re.findall(r"(?:\b[0-9a-f]{4}(?:  |\n)){8}", output))))


def read(path: Path) -> JoinRequest:
    return decode_canonical(path.read_bytes().strip(), JoinRequest, what="join request")


def forged(path: Path, **fields: object) -> None:
    path.write_bytes(encode_canonical(msgspec.structs.replace(read(path), **fields)))


def digest_of_contract(devnet: Devnet, destination: Destination) -> bytes:
    call = {"to": destination.oracle, "data": "0x" + encode_call("RiskOracle", "configDigest").hex()}
    answer = bytes.fromhex(devnet.anvil.rpc.request("eth_call", call, "latest")[2:])
    (digest,) = decode_result("RiskOracle", "configDigest", answer)
    return bytes(digest)


def buckets(step: str, counts: dict[str, int]) -> str:
    name = "plimsoll_step_duration_seconds_bucket"
    return "\n".join(f'{name}{{le="{bound}",step="{step}"}} {count}.0' for bound, count in counts.items())


def test_how_long_rounds_take_is_the_sum_of_what_all_but_one_in_a_hundred_steps_take() -> None:
    read_step = buckets("read", {"0.1": 10, "0.5": 98, "1.0": 99, "+Inf": 100})
    sign = buckets("sign", {"0.1": 100, "0.5": 100, "1.0": 100, "+Inf": 100})
    publish = buckets("publish", {"0.1": 0, "0.5": 0, "1.0": 0, "+Inf": 100})
    assert round_quantile(f"{read_step}\n{sign}\n{publish}") == pytest.approx(1.1)
    with pytest.raises(InvalidData, match="longer than is measured"):
        round_quantile(buckets("read", {"0.1": 10, "+Inf": 100}))
    with pytest.raises(InvalidData, match="no round was measured"):
        round_quantile("")
