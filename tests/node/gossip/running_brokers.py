"""Real brokers for tests: the embedded one, and Mosquitto where the machine has it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from attest.encoding.keccak import keccak256
from attest.formats.committee import Committee, Operator
from attest.keys.certificates import operator_certificate
from attest.keys.keystore import create_identity, open_identity
from node.clock import SystemClock
from node.gossip.brokers import BrokerTransport, open_brokers
from node.gossip.connection import BrokerAddress, Tls
from node.gossip.embedded_broker import hash_password, open_embedded_broker
from node.gossip.mosquitto import CERTIFICATE, CONFIGURATION, mosquitto_files
from node.gossip.topics import network_name, operator_name, topics_of
from node.status import NodeStatus
from tests.builders.reports import committee, signer_of
from tests.patience import POLL_SECONDS, eventually

OPERATORS = 4
PASSWORD = "correct horse"
INTERVAL = 4.0


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """An operator of the tests' committee, with what it needs to connect."""

    index: int
    name: str
    certificate: Path
    key: Path


class RunningBroker:
    """A broker and what nodes must know of it."""

    def __init__(self, council: Committee, members: Sequence[Member], url: str, trusted: Path | None) -> None:
        self.council = council
        self.members = members
        self.url = url
        self.trusted = trusted

    def address(self, index: int) -> BrokerAddress:
        member = self.members[index]
        if self.trusted is None:
            return BrokerAddress(url=self.url, password=password_of(member))
        tls = Tls(trusted=self.trusted, certificate=member.certificate, key=member.key, password=PASSWORD)
        return BrokerAddress(url=self.url, tls=tls)


def password_of(member: Member) -> str:
    return f"password {member.index}"


def make_members(directory: Path, n: int = OPERATORS, **fields: Any) -> tuple[Committee, tuple[Member, ...]]:
    """Make identities and the committee of their owners."""
    directory.chmod(0o700)
    members, operators = [], []
    for index in range(n):
        key, certificate = directory / f"identity{index}.pem", directory / f"identity{index}.crt"
        public = create_identity(key, lambda: PASSWORD)
        certificate.write_bytes(operator_certificate(open_identity(key, lambda: PASSWORD)))
        members.append(Member(index=index, name=operator_name(public), certificate=certificate, key=key))
        operators.append(Operator(signer=signer_of(keccak256(bytes([index]))), identity=public))
    return committee(operators=tuple(operators), **fields), tuple(members)


@asynccontextmanager
async def embedded(directory: Path, n: int = OPERATORS) -> AsyncIterator[RunningBroker]:
    async with embedded_for(*make_members(directory, n)) as broker:
        yield broker


@asynccontextmanager
async def embedded_for(council: Committee, members: Sequence[Member]) -> AsyncIterator[RunningBroker]:
    users = {member.name: hash_password(password_of(member)) for member in members}
    async with open_embedded_broker(users, network=network_name(council), port=0) as port:
        yield RunningBroker(council, members, f"mqtt://127.0.0.1:{port}", None)


@asynccontextmanager
async def mosquitto(directory: Path, n: int = OPERATORS) -> AsyncIterator[RunningBroker]:
    require_mosquitto()
    async with mosquitto_for(directory, *make_members(directory, n)) as broker:
        yield broker


@asynccontextmanager
async def mosquitto_for(directory: Path, council: Committee, members: Sequence[Member]) -> AsyncIterator[RunningBroker]:
    port = free_port()
    certificates = [member.certificate.read_bytes() for member in members]
    files = mosquitto_files(
        council, certificates, directory=str(directory), listen="127.0.0.1", port=port, hosts=["127.0.0.1"]
    )
    for name, content in files.items():
        (directory / name).write_bytes(content)
    async with mosquitto_process(directory / CONFIGURATION, port):
        yield RunningBroker(council, members, f"mqtts://127.0.0.1:{port}", directory / CERTIFICATE)


@asynccontextmanager
async def mosquitto_process(configuration: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Mosquitto as this user until the context is left."""
    if os.getuid() == 0:  # as root it would become the user mosquitto, who may not enter the directory
        with configuration.open("a") as file:
            file.write("user root\n")
    process = await asyncio.create_subprocess_exec(
        require_mosquitto(), "-c", str(configuration), stdin=DEVNULL, stdout=DEVNULL
    )
    try:
        await eventually(lambda: _listens(port, process))
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def require_mosquitto() -> str:
    """Return the program; where it is missing skip the test, or fail where it must be there."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail("mosquitto is missing: the network is tested over a real broker")
    pytest.skip("mosquitto is not on the PATH: the embedded broker is tested instead")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@asynccontextmanager
async def connected(broker: RunningBroker, index: int, *, url: str | None = None) -> AsyncIterator[BrokerTransport]:
    """Connect an operator, perhaps through a proxy."""
    address = broker.address(index) if url is None else replace(broker.address(index), url=url)
    async with connected_to([address], broker.council, index) as transport:
        yield transport


@asynccontextmanager
async def connected_to(
    addresses: Sequence[BrokerAddress], council: Committee, index: int
) -> AsyncIterator[BrokerTransport]:
    topics, status = topics_of(council, index), NodeStatus(round_interval=INTERVAL)
    async with open_brokers(addresses, topics, interval=INTERVAL, status=status, clock=SystemClock()) as transport:
        await eventually(lambda: _is_connected(transport))
        yield transport


async def _is_connected(transport: BrokerTransport) -> bool:
    return all(connection.connected.is_set() for connection in transport.connections)


async def _listens(port: int, process: asyncio.subprocess.Process) -> bool:
    assert process.returncode is None, "mosquitto ended"
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        await asyncio.sleep(POLL_SECONDS)
        return False
    writer.close()
    return True
