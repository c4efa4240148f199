"""What 500 hostile connections cost the rounds, against as many busy loops as the attack keeps processes busy."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from node.api.monitoring import serve_monitoring
from node.api.server import listening_at, open_listener
from node.clock import SystemClock
from node.commands.serving_process import serving_process
from node.committee_file import write_committee
from node.telemetry import Metrics
from riskschema.units import Address
from storage.store import open_store
from tests.node.api.conftest import World
from tests.node.api.test_serving_process import SETTINGS
from tests.soak.hostile_http import SUBJECTS
from tests.soak.node_process import ROOT, NodeProcess, running_network
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.chain, pytest.mark.timeout(3_600), pytest.mark.xdist_group("node")]

ROUND_SECONDS = 4
SLOTS = 10
CLIENTS = 500
BUSY = 2
"""Processes that an attack keeps busy: the one that attacks, and the one that serves."""
LOG_MIB = 64
ATTACKS = (
    "drip",
    "ask_for_metrics",
    "ask_for_one_account",
    "ask_for_many_accounts",
    "ask_for_one_round",
    "send_a_huge_body",
    "hammer",
)


@contextmanager
def attacking(url: str, attack: str, done: dict[str, int]) -> Iterator[None]:
    """Attack from another process; how often is in `done` afterwards."""
    parts = urlsplit(url)
    crowd = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.hostile_http", str(parts.hostname), str(parts.port), attack, str(CLIENTS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield
    finally:
        output, _ = crowd.communicate(timeout=120)
    done |= json.loads(output)


def spin() -> None:
    while True:
        pass


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Let so many processes do nothing as fast as they can."""
    loops = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(count)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.join()


@contextmanager
def beside_the_rounds(name: str, url: str, done: dict[str, int]) -> Iterator[None]:
    """Let nothing, busy loops or an attack go on."""
    if name == "idle":
        yield
    elif name == "busy":
        with busy_loops(BUSY):
            yield
    else:
        with attacking(url, name, done):
            yield


class LongestLog:
    """The largest size of a database's write-ahead log, looked at ten times a second."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-wal")
        self.bytes = 0

    async def watch(self) -> None:
        while True:
            if self._path.exists():
                self.bytes = max(self.bytes, self._path.stat().st_size)
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[LongestLog]:
        watching = asyncio.create_task(self.watch())
        try:
            yield self
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    @property
    def mebibytes(self) -> float:
        return round(self.bytes / 2**20, 1)


async def rounds_of(node: NodeProcess, slots: int) -> tuple[int, int]:
    """Return how many of the next slots' rounds were certified, and how many landed before another slot was over."""
    begin = node.next_slot()
    first = round((begin - node.genesis_time) / node.round_seconds)
    await asyncio.sleep(begin + (slots + 1) * node.round_seconds - time.time())
    wanted = set(range(first, first + slots))
    return len(wanted & set(node.certified())), len(wanted & set(node.landed()))


async def test_hostile_connections_cost_no_more_rounds_than_busy_loops(
    tmp_path: Path, scale: float, tally: Tally
) -> None:
    slots = max(round(SLOTS * scale), 3)
    found: dict[str, int] = {}
    with running_network(tmp_path, seed=22, round_seconds=ROUND_SECONDS) as node:
        node.start()
        url = node.url()
        node.wait_for_landed(2, seconds=120)
        for name in ("idle", "busy", *ATTACKS):
            done: dict[str, int] = {}
            log = LongestLog(tmp_path / "plimsoll.sqlite")
            load = os.getloadavg()[0]
            with beside_the_rounds(name, url, done):
                async with log.watched():
                    certified, landed = await rounds_of(node, slots)
            found[name] = certified
            tally.lines.append(
                {
                    "beside the rounds": name.replace("_", " ") if name not in ("idle", "busy") else f"({name})",
                    "slots": slots,
                    "certified": certified,
                    "landed": landed,
                    "requests": done.get("answers", sum(done.values())),
                    "longest log, MiB": log.mebibytes,
                    "load before": round(load, 1),
                }
            )
            assert log.mebibytes <= LOG_MIB
        node.stop()
    tally.seeds = "22"
    tally.count(connections=CLIENTS, busy_loops=BUSY, interval_s=ROUND_SECONDS, slots=sum([slots] * len(found)))
    tally.count(certified=sum(found.values()))
    costs = {name: found["busy"] - found[name] for name in ATTACKS}
    assert max(costs.values()) <= 1, found


def accounts(count: int) -> list[Address]:
    return [Address(f"0x{number:040x}") for number in range(count)]


@asynccontextmanager
async def served(world: World, directory: Path) -> AsyncIterator[str]:
    """Serve what `world` stores from another process; yield its URL once it does."""
    ready = asyncio.Event()
    opened, port = open_listener("127.0.0.1", 0), open_listener("127.0.0.1", 0)
    url, clock, status = str(listening_at(opened)), SystemClock(), world.status
    async with serve_monitoring(port, status=status, metrics=Metrics(status), clock=clock) as monitoring:
        arguments = ("--config", str(directory / "plimsoll.toml"), "--monitoring", str(monitoring))
        async with serving_process(arguments, opened, status=status, clock=clock, on_ready=ready.set):
            await ready.wait()
            yield url


async def test_the_log_stays_short_while_rounds_of_10_000_accounts_are_written_and_a_crowd_reads(
    tmp_path: Path, scale: float, tally: Tally
) -> None:
    rounds, done = max(round(20 * scale), 3), dict[str, int]()
    (tmp_path / "plimsoll.toml").write_text(SETTINGS)
    database = tmp_path / "data" / "plimsoll.sqlite"
    log = LongestLog(database)
    async with open_store(database) as store:
        world: Any = World(store)
        write_committee(tmp_path / "committee.json", world.committee)
        subjects = accounts(SUBJECTS)
        await world.certify(0, *subjects)
        async with served(world, tmp_path) as url, log.watched():
            with attacking(url, "ask_for_many_accounts", done):
                for number in range(1, rounds + 1):
                    world.clock.time += 12
                    await world.certify(number, *subjects)
                    await store.prune(world.config_digest, below_round=number - 5)
    tally.count(accounts=SUBJECTS, rounds=rounds, answers=done["answers"], longest_log_MiB=log.mebibytes)
    assert done["answers"] > 0
    assert log.mebibytes <= LOG_MIB
