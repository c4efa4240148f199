"""`plimsoll doctor`: a healthy node has nothing to mend, and each thing that is broken is named with its remedy."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from attest.keys.guard import guard_path, open_guard
from attest.keys.keystore import create_keystore, open_keystore
from contracts.calls import encode_call
from devnet.local_chain import Devnet
from node.commands.doctor import chains
from node.commands.doctor.examination import examine
from node.commands.doctor.findings import Finding, State
from node.gossip import probing
from node.key_files import ATTESTATION, PASSWORD
from node.local import broker as local
from node.local.broker import local_broker
from node.local.network import LocalNetwork, prepare_local_network
from tests.node.commands.conftest import Plimsoll, answering
from tests.node.local_node import CHEAP_SCRYPT, chain_time, write_cheap_keys

pytestmark = pytest.mark.chain

CHECKS = {
    *("settings", "committee", "files", "keys", "guard", "ports", "brokers", "contract", "transmitter"),
    *("history", "versions", "disk", "clock", "indexes", "feeds", "factors"),
}
HEALTHY = {State.GOOD}


@pytest.fixture(scope="module")
def now(devnet: Devnet) -> Iterator[Devnet]:
    """The local chain in the present, put back after the module."""
    snapshot = devnet.anvil.snapshot()
    devnet.anvil.rpc.request("evm_setNextBlockTimestamp", int(time.time()) - 150)
    devnet.anvil.rpc.request("evm_mine")
    yield devnet
    devnet.anvil.revert(snapshot)


@pytest.fixture(scope="module")
def network(now: Devnet, tmp_path_factory: pytest.TempPathFactory) -> LocalNetwork:
    directory = tmp_path_factory.mktemp("network")
    directory.chmod(0o700)
    write_cheap_keys(directory / "keys")
    return prepare_local_network(now, directory, port=0, now=chain_time(now))


@pytest.fixture(autouse=True)
def at_rest(network: LocalNetwork) -> Iterator[None]:
    """Whatever a test does to the settings is undone."""
    before = network.config_file.read_text()
    yield
    network.config_file.write_text(before)


def by_check(found: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.check: finding for finding in found}


def edit(network: LocalNetwork, pattern: str, replacement: str) -> None:
    text = network.config_file.read_text()
    changed = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    assert changed != text
    network.config_file.write_text(changed)


async def the_only_wrong(network: LocalNetwork) -> Finding:
    """Examine, and return what is not as it should be: one thing, with a remedy."""
    found = [each for each in await examine(network.config_file) if each.state is not State.GOOD]
    assert len(found) == 1, found
    assert found[0].remedy
    assert found[0].code
    return found[0]


async def test_a_healthy_node_has_a_line_for_everything_and_nothing_to_mend(network: LocalNetwork) -> None:
    found = by_check(await examine(network.config_file))
    assert {each.state for each in found.values()} == HEALTHY, found
    endpoints = {check for check in found if check.startswith("endpoint ")}
    assert len(endpoints) == 1
    assert set(found) - endpoints == CHECKS
    assert "250 requests a batch, 10,000 blocks of logs" in found[endpoints.pop()].said
    assert re.search(r"the oldest, \w+, is \d+ s old", found["feeds"].said)
    assert "days of all rounds" in found["transmitter"].said
    assert "26,280 hours of 3 factors" in found["history"].said


def test_it_ends_with_the_status_of_the_worst_and_prints_a_line_and_a_remedy(
    plimsoll: Plimsoll, network: LocalNetwork
) -> None:
    healthy = plimsoll("doctor", "--config", network.config_file)
    assert healthy.status == 0, healthy.output
    assert len(healthy.output.splitlines()) == len(CHECKS) + 1
    assert plimsoll("doctor", "--config", network.config_file, "--json").document["healthy"]
    edit(network, r'^rpc_url = ".*"', 'rpc_url = "http://127.0.0.1:1"')
    gone = plimsoll("doctor", "--config", network.config_file)
    assert gone.status == 75
    assert "WAIT  endpoint http://127.0.0.1:1" in gone.output
    network.config_file.write_text("nonsense")
    refused = plimsoll("doctor", "--config", network.config_file, "--json")
    assert refused.status == 78
    (finding,) = json.loads(refused.output)["findings"]
    assert (finding["check"], finding["state"], finding["code"]) == ("settings", "fail", "invalid_settings")


@contextmanager
def open_guard_of(network: LocalNetwork) -> Iterator[None]:
    keys = network.config_file.parent / "keys"
    signer = open_keystore(keys / ATTESTATION, keys / PASSWORD)
    with open_guard(guard_path(keys / ATTESTATION), signer.address):
        yield


async def test_a_committee_file_of_another_network_is_named(network: LocalNetwork) -> None:
    edit(network, r"^start_block = \d+", "start_block = 2")
    found = by_check(await examine(network.config_file))["committee"]
    assert (found.state, found.code) == (State.BROKEN, "invalid_settings")
    assert "chains.venues" in found.said


async def test_a_key_that_others_can_read_is_named_with_the_command_that_mends_it(network: LocalNetwork) -> None:
    password = network.config_file.parent / "keys" / PASSWORD
    password.chmod(0o640)
    try:
        found = by_check(await examine(network.config_file))
    finally:
        password.chmod(0o600)
    assert found["files"].state is State.BROKEN
    assert f"chmod 600 {password}" in found["files"].remedy
    assert found["keys"].code == "key_unreadable"


async def test_a_key_that_the_committee_does_not_name_is_named(network: LocalNetwork) -> None:
    keys = network.config_file.parent / "keys"
    stranger = create_keystore(keys / "stranger.json", keys / PASSWORD, scrypt_cost=CHEAP_SCRYPT)
    edit(network, r"keys/attestation.json", "keys/stranger.json")
    found = by_check(await examine(network.config_file))["keys"]
    assert (found.state, found.code) == (State.BROKEN, "key_unreadable")
    assert stranger in found.said


async def test_a_guard_that_is_gone_is_named_and_not_made(network: LocalNetwork) -> None:
    guard = guard_path(network.config_file.parent / "keys" / ATTESTATION)
    away = guard.with_name("away")
    guard.rename(away)
    try:
        found = await the_only_wrong(network)
        assert not guard.exists()
    finally:
        away.rename(guard)
    assert (found.check, found.state) == ("guard", State.CARE)
    assert "listens for two slots" in found.said


async def test_beside_a_node_that_runs_its_guard_and_ports_are_no_fault(network: LocalNetwork) -> None:
    with open_guard_of(network):
        found = by_check(await examine(network.config_file))
    assert found["guard"].said == "held by the node that runs"
    assert found["ports"].state is State.GOOD


async def test_a_node_that_runs_and_does_not_answer_is_named(network: LocalNetwork, closed_port: int) -> None:
    edit(network, r"^port = 0", f"port = {closed_port}")
    with open_guard_of(network):
        found = await the_only_wrong(network)
    assert (found.check, found.code) == ("ports", "signer_silent")


async def test_a_port_that_somebody_has_is_named(network: LocalNetwork) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        edit(network, r"^port = 0", f"port = {taken.getsockname()[1]}")
        found = await the_only_wrong(network)
    assert found.check == "ports"
    assert str(taken) not in found.said
    assert "ss -ltnp" in found.remedy


async def test_another_history_than_the_committees_is_named(network: LocalNetwork) -> None:
    history = network.config_file.parent / "history.json"
    kept = history.read_bytes()
    document = json.loads(kept)
    document["first_hour"] += 3_600
    history.write_text(json.dumps(document))
    try:
        found = await the_only_wrong(network)
    finally:
        history.write_bytes(kept)
    assert (found.check, found.state) == ("history", State.BROKEN)


async def test_a_wrong_clock_is_named(network: LocalNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = time.time() + 7_200
    monkeypatch.setattr("node.commands.doctor.chains.time.time", lambda: ahead)
    found = by_check(await examine(network.config_file))["clock"]
    assert (found.state, found.code) == (State.PASSING, "clock_wrong")
    assert "timedatectl" in found.remedy


async def test_a_disk_that_is_nearly_full_is_named(network: LocalNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: os_usage(free=1_000))
    found = await the_only_wrong(network)
    assert (found.check, found.state) == ("disk", State.PASSING)
    monkeypatch.setattr("shutil.disk_usage", lambda _: os_usage(free=10**9))
    found = await the_only_wrong(network)
    assert (found.check, found.state) == ("disk", State.CARE)
    assert "keep_megabytes" in found.remedy


def os_usage(free: int):
    return type("Usage", (), {"total": 10**12, "used": 10**12 - free, "free": free})()


async def test_a_feed_that_grew_old_is_named_with_its_age(network: LocalNetwork) -> None:
    edit(network, r'(^factor = "BTC"\naddress = ".*")', r"\1\nheartbeat = 1")
    found = await the_only_wrong(network)
    assert (found.check, found.code) == ("feeds", "market_unavailable")
    assert re.search(r"BTC: .*the answer is \d+ s old, the heartbeat is 1 s", found.said)


async def test_a_factor_of_the_committee_that_no_source_is_asked_for_is_named(network: LocalNetwork) -> None:
    edit(network, r'^\[\[market.sources.feeds\]\]\nfactor = "BTC"\naddress = .*\n', "")
    found = await the_only_wrong(network)
    assert (found.check, found.state, found.code) == ("factors", State.CARE, "market_unavailable")
    assert "BTC" in found.said
    assert "[[market.sources]]" in found.remedy


async def test_a_contract_that_is_not_there_is_named(network: LocalNetwork, now: Devnet) -> None:
    code = now.anvil.rpc.request("eth_getCode", str(network.oracle), "latest")
    now.anvil.rpc.request("anvil_setCode", str(network.oracle), "0x")
    try:
        found = await the_only_wrong(network)
    finally:
        now.anvil.rpc.request("anvil_setCode", str(network.oracle), code)
    assert (found.check, found.code) == ("contract", "no_code")


async def test_a_contract_that_is_paused_is_named(network: LocalNetwork, now: Devnet) -> None:
    snapshot = now.anvil.snapshot()
    pause = {"from": now.deployment.deployer, "to": str(network.oracle)}
    now.transact(pause | {"data": "0x" + encode_call("RiskOracle", "pause").hex()}, what="pausing")
    found = await the_only_wrong(network)
    now.anvil.revert(snapshot)
    assert (found.check, found.state) == ("contract", State.CARE)
    assert "paused until" in found.said


@pytest.mark.parametrize(("wei", "state"), [(0, State.PASSING), (10**15, State.CARE)])
async def test_an_account_that_cannot_pay_for_long_is_named(
    network: LocalNetwork, now: Devnet, wei: int, state: State
) -> None:
    account = network.operators[0].keys.transmitter
    now.anvil.set_balance(account, wei)
    try:
        found = await the_only_wrong(network)
    finally:
        now.anvil.set_balance(account, 10**21)
    assert (found.check, found.state, found.code) == ("transmitter", state, "transmitter_unfunded")
    assert str(account) in found.said


async def test_endpoints_that_are_silent_or_talk_nonsense_cost_nobody_else_a_line(
    network: LocalNetwork, now: Devnet, silent_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "ENDPOINT_SECONDS", 2.0)
    with answering(b"\x1b[2J nonsense" * 1_000) as nonsense:
        tables = "\n".join(
            f'[[chains.endpoints]]\nurl = "{url}"' for url in (now.url, f"{silent_endpoint}/secret-key", nonsense)
        )
        edit(network, r'^rpc_url = ".*"\n', "agreement = 1\n")
        text = network.config_file.read_text().replace("[[chains.assets]]", f"{tables}\n\n[[chains.assets]]", 1)
        network.config_file.write_text(text)
        found = by_check(await examine(network.config_file))
    bad = {check: each for check, each in found.items() if each.state is not State.GOOD}
    assert set(bad) == {f"endpoint {silent_endpoint}", f"endpoint {nonsense}"}, bad
    assert bad[f"endpoint {silent_endpoint}"].code == "endpoint_unreachable"
    assert all(each.remedy for each in bad.values())
    said = json.dumps([[each.check, each.said, each.remedy] for each in found.values()])
    assert "secret-key" not in said
    assert "\\u001b" not in said


async def test_brokers_are_examined_each_by_itself(
    now: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_endpoint: str
) -> None:
    monkeypatch.setattr(local, "find_mosquitto", lambda: None)
    monkeypatch.setattr(probing, "PROBE_SECONDS", 5.0)
    await asyncio.to_thread(write_keys_of_four, tmp_path)
    prepared = await asyncio.to_thread(prepare_local_network, now, tmp_path, port=0, now=chain_time(now), nodes=4)
    second = f'\n[[network.brokers]]\nurl = "mqtt{silent_endpoint[4:]}"\npassword_file = "keys/broker-password"\n'
    prepared.config_file.write_text(prepared.config_file.read_text() + second)
    url = f"broker mqtt://127.0.0.1:{prepared.broker_port}"
    async with local_broker(tmp_path, prepared.committee, prepared.operators, port=prepared.broker_port):
        found = by_check(await examine(prepared.config_file))
        assert found[url].said == "lets this operator in"
        silent = found[f"broker mqtt{silent_endpoint[4:]}"]
        assert (silent.state, silent.code) == (State.PASSING, "broker_unreachable")
        assert silent.remedy
        password = prepared.operators[0].broker_password
        secret = password.read_text()
        password.write_text("another")
        refused = by_check(await examine(prepared.config_file))[url]
        assert (refused.state, refused.code) == (State.PASSING, "broker_unreachable")
        assert secret not in str(found)


def write_keys_of_four(directory: Path) -> None:
    directory.chmod(0o700)
    for index in range(1, 5):
        (directory / f"operator-{index}").mkdir(mode=0o700)
        write_cheap_keys(directory / f"operator-{index}" / "keys")
