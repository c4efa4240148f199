"""A network of one operator on the local chain, as `plimsoll run --devnet` makes it, with its node to open and run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from attest.formats.certificate import decode_certificate
from attest.keys.guard import create_guard, guard_path
from attest.keys.keystore import create_identity, create_keystore
from attest.keys.secret_files import write_secret
from attest.wire.envelope import open_body, read_envelope
from attest.wire.messages import Share
from contracts.calls import decode_event, decode_result, encode_call
from devnet.local_chain import Devnet
from node.composition import open_node
from node.key_files import ATTESTATION, IDENTITY, PASSWORD, PUBLIC, TRANSMITTER
from node.local.network import LocalNetwork
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest
from node.round.node import Node, StepHook, no_hook
from node.round.result import RoundResult
from node.settings import Settings
from riskschema.errors import InvalidData
from riskschema.units import Address, Hash32

CHEAP_SCRYPT = 2


class NoReport(Exception):
    """Too many slots went by without a report."""


class ManualClock:
    """Time that stands still; who waits moves it on, up to a limit."""

    def __init__(self, time: float) -> None:
        self.time = time
        self.limit = float("inf")

    def now(self) -> float:
        return self.time

    async def sleep_until(self, timestamp: float) -> None:
        self.time = max(self.time, timestamp)
        if self.time > self.limit:
            raise NoReport
        await asyncio.sleep(0)


@dataclass
class LocalNode:
    """A prepared network: `open` its node as often as a test likes."""

    devnet: Devnet
    network: LocalNetwork
    clock: ManualClock
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        self.settings = self.network.settings

    @property
    def directory(self) -> Path:
        return self.network.config_file.parent

    @asynccontextmanager
    async def open(self, *, before_step: StepHook = no_hook) -> AsyncIterator[Node]:
        async with open_node(self.settings, self.directory, clock=self.clock, before_step=before_step) as node:
            yield node

    async def run(self, rounds: int, *, before_step: StepHook = no_hook) -> list[RoundResult]:
        """Open the node, run until so many reports are certified, close it."""
        async with self.open(before_step=before_step) as node:
            return await certified_rounds(node, rounds)

    def impatient(self) -> None:
        """Let the node wait only a moment for its endpoint."""
        chain = msgspec.structs.replace(self.settings.chains[0], timeout=0.9)
        self.settings = msgspec.structs.replace(self.settings, chains=(chain,))

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Freeze the endpoint: it takes connections and never answers."""
        process = self.devnet.anvil.process.pid
        os.killpg(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(process, signal.SIGCONT)

    def database(self) -> sqlite3.Connection:
        """Open the node's database to look into."""
        return sqlite3.connect(self.directory / self.settings.database)

    def signed(self) -> dict[int, set[bytes]]:
        """Return every report that the key signed for any round, wherever there is a trace of it."""
        return signed_reports(self.devnet, self.network.oracle, self.directory)

    def accepted(self) -> dict[int, bytes]:
        """Return the report hash of every round that the oracle contract accepted, from its events."""
        return accepted_reports(self.devnet, self.network.oracle)

    def call(self, contract: str, address: str, function: str, *arguments: object) -> tuple[object, ...]:
        """Return what a view function of our contracts answers."""
        data = encode_call(contract, function, *arguments)
        answer = self.devnet.anvil.rpc.request("eth_call", {"to": address, "data": "0x" + data.hex()}, "latest")
        return decode_result(contract, function, bytes.fromhex(answer[2:]))


async def certified_rounds(node: Node, rounds: int, *, slots: int = 10) -> list[RoundResult]:
    """Run until so many reports are certified.

    Raises:
        NoReport: so many slots went by for each.
    """
    assert isinstance(node.clock, ManualClock)
    stop = StopRequest()
    results: list[RoundResult] = []

    def note(result: RoundResult) -> None:
        results.append(result)
        if len(results) == rounds:
            stop.ask()

    node.clock.limit = node.clock.time + rounds * slots * node.rules.committee.round_interval_seconds
    await run_rounds(node, stop, on_round=note)
    return results


def accepted_reports(devnet: Devnet, oracle: Address) -> dict[int, bytes]:
    logs = devnet.anvil.rpc.request("eth_getLogs", {"address": oracle, "fromBlock": "0x0", "toBlock": "latest"})
    accepted: dict[int, bytes] = {}
    for log in logs:
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        try:
            event = decode_event("RiskOracle", "ReportAccepted", topics=topics, data=bytes.fromhex(log["data"][2:]))
        except InvalidData:
            continue  # another event
        assert event["round"] not in accepted, "a round was accepted twice"
        accepted[event["round"]] = event["reportHash"]
    return accepted


def signed_reports(devnet: Devnet, oracle: Address, directory: Path) -> dict[int, set[bytes]]:
    """Collect from the guard, the stored shares, the certificates and the contract's events."""
    signed: dict[int, set[bytes]] = defaultdict(set)
    with closing(sqlite3.connect(guard_path(directory / "keys" / ATTESTATION))) as guard:
        for round_number, report in guard.execute("SELECT round, report_hash FROM marks WHERE signature IS NOT NULL"):
            signed[round_number].add(report)
    with closing(sqlite3.connect(directory / "plimsoll.sqlite")) as database:
        for (payload,) in database.execute("SELECT payload FROM messages WHERE kind = 'share'"):
            share = open_body(envelope := read_envelope(payload))
            assert isinstance(share, Share)
            signed[envelope.round].add(share.report_hash)
        for (payload,) in database.execute("SELECT certificate FROM reports WHERE certificate IS NOT NULL"):
            certificate = decode_certificate(payload)
            signed[certificate.header.round].add(certificate.report_hash)
    for round_number, report in accepted_reports(devnet, oracle).items():
        signed[round_number].add(report)
    return signed


def write_cheap_keys(directory: Path) -> None:
    """Write what `make_keys` writes, with a password that is quickly tried."""
    directory.mkdir(parents=True, mode=0o700)
    password = directory / PASSWORD
    write_secret(password, b"password")
    attestation = create_keystore(directory / ATTESTATION, password, scrypt_cost=CHEAP_SCRYPT)
    create_guard(guard_path(directory / ATTESTATION), attestation)
    keys = {
        "attestation": attestation,
        "identity": Hash32(create_identity(directory / IDENTITY, password)),
        "transmitter": create_keystore(directory / TRANSMITTER, password, scrypt_cost=CHEAP_SCRYPT),
    }
    write_secret(directory / PUBLIC, json.dumps(keys).encode())


def chain_time(devnet: Devnet) -> int:
    return int(devnet.anvil.rpc.request("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
