"""`plimsoll record`: the file replays to the same reading, bit for bit; where anything fails nothing is written."""

import asyncio
from pathlib import Path

import pytest

from adapters.discovery import discover
from adapters.protocols import load_protocol
from adapters.recording import load_recording, read_recording
from devnet.protocols import deployed_protocols
from riskschema.codec import decode_json, encode_json, from_builtins
from riskschema.instruments import protocol_of
from riskschema.portfolio import Portfolio
from riskschema.units import Address
from tests.node.commands.conftest import Plimsoll
from tests.node.local_node import LocalNode

pytestmark = pytest.mark.chain


@pytest.mark.parametrize("protocol", deployed_protocols())
def test_a_recording_replays_to_the_reading_of_the_chain(
    plimsoll: Plimsoll, network: LocalNode, config: Path, tmp_path: Path, protocol: str
) -> None:
    user = network.devnet.deployment.user("everywhere").address
    output = tmp_path / "recording.json"
    options = ("--config", config, "--account", user, "--output", output, "--discovery", "--json")
    told = plimsoll("record", protocol, *options).document
    block = told["block"]["number"]
    live = plimsoll("positions", user, "--config", config, "--block", block, "--json")
    portfolio = decode_json(live.output.encode(), Portfolio, what="positions")
    silos = tuple(silo for silo in portfolio.silos if protocol_of(silo.venue) == protocol)

    recording = read_recording(output)
    module = load_protocol(protocol)
    adapter = module.adapter(
        from_builtins(recording.deployment, module.Deployment, what="deployment"),
        chain_id=recording.block.chain_id,
        assets={Address(address): factor for address, factor in recording.assets.items()},
    )
    replayed = asyncio.run(adapter.read(load_recording(output), recording.accounts))
    assert told["silos"] == len(silos) > 0
    assert sorted(encode_json(silo) for silo in replayed.silos) == sorted(encode_json(silo) for silo in silos)
    assert replayed.unread == ()
    start_block = network.devnet.deployment.start_block
    found = asyncio.run(discover(adapter, load_recording(output), start_block=start_block))
    assert bool(found.accounts) == bool(recording.queries)


def test_what_was_written_is_told_in_a_line(
    plimsoll: Plimsoll, network: LocalNode, config: Path, tmp_path: Path
) -> None:
    user = network.devnet.deployment.user("saver").address
    output = tmp_path / "recording.json"
    options = ("--config", config, "--account", user, "--account", user.lower(), "--output", output)
    ended = plimsoll("record", "aave_v3", *options)
    assert f"{output}: aave_v3 on chain 31337 at block" in ended.output
    assert "1 accounts, 1 silos, 0 unread" in ended.output


def refused(plimsoll: Plimsoll, directory: Path, *arguments: object) -> str:
    before = sorted(directory.iterdir())
    message = plimsoll("record", *arguments).refused()
    assert sorted(directory.iterdir()) == before, "something was written"
    return message


def test_nothing_is_written_where_something_is_wrong(
    plimsoll: Plimsoll, network: LocalNode, config: Path, tmp_path: Path
) -> None:
    user = network.devnet.deployment.user("saver").address
    output = tmp_path / "recording.json"
    common = ("--config", config, "--account", user, "--output")
    assert "unknown protocol 'compound'" in refused(plimsoll, tmp_path, "compound", *common, output)
    assert "there is no directory" in refused(plimsoll, tmp_path, "aave_v3", *common, tmp_path / "no" / "x.json")
    assert "is a directory" in refused(plimsoll, tmp_path, "aave_v3", *common, tmp_path)
    assert "--block 999999999" in refused(plimsoll, tmp_path, "aave_v3", *common, output, "--block", 999_999_999)
    assert "--chain: 31337" in refused(plimsoll, tmp_path, "aave_v3", *common, output, "--chain", 1)
    wrong = ("aave_v3", "--config", config, "--account", "0x12", "--output", output)
    assert "--account: expected an address" in refused(plimsoll, tmp_path, *wrong)


def test_a_protocol_that_is_not_configured_is_refused(plimsoll: Plimsoll, network: LocalNode, tmp_path: Path) -> None:
    path = tmp_path / "plimsoll.toml"
    path.write_text(f'[[chains]]\nchain_id = 31337\nrpc_url = "{network.devnet.url}"\n')
    options = ("--config", path, "--account", "0x" + "ab" * 20, "--output", tmp_path / "recording.json")
    assert "aave_v3 is configured 0 times on chain 31337" in refused(plimsoll, tmp_path, "aave_v3", *options)
