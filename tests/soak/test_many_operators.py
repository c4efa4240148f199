"""Many operators with real keys over a real broker; and a broker that loses messages. Their chains are made up."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from attest.agreement.rules import AgreementRules
from node.gossip import embedded_broker
from tests.node.gossip.running_brokers import RunningBroker, embedded_for, mosquitto_for, require_mosquitto
from tests.soak.bare_nodes import found
from tests.soak.committee_watch import measured, same_reports, tell
from tests.soak.rows import Tally

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(7_200),
    pytest.mark.xdist_group("node"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc: processor time of other processes"),
]

SEED = 31
MANY, SLOT_SECONDS, ROUNDS = 31, 12, 60
FEW, SHORT_SLOT_SECONDS, ROUNDS_OF_LOSS = 7, 4, 150
LOST = 0.01
PROCESSES = 2
"""Among which the nodes are shared out."""


@pytest.mark.parametrize("broker", ["mosquitto", "embedded"])
async def test_thirty_one_operators_certify_every_round(
    broker: str, tmp_path: Path, scale: float, tally: Tally
) -> None:
    if broker == "mosquitto":
        require_mosquitto()
    tally.count(broker=broker)
    wanted = max(round(ROUNDS * scale), 10)
    seconds = await rounds_of(tmp_path, MANY, wanted, SLOT_SECONDS, broker, tally)
    assert None not in seconds.values()


async def test_rounds_certify_where_one_message_in_a_hundred_is_lost(
    tmp_path: Path, scale: float, tally: Tally
) -> None:
    random, lost = Random(SEED), 0
    hand_out = embedded_broker._HardenedBroker._hand_out

    def lose(self: Any, session: Any, packet: bytes) -> None:
        nonlocal lost
        if random.random() < LOST:
            lost += 1
        else:
            hand_out(self, session, packet)

    with patch.object(embedded_broker._HardenedBroker, "_hand_out", lose):
        wanted = max(round(ROUNDS_OF_LOSS * scale), 20)
        seconds = await rounds_of(tmp_path, FEW, wanted, SHORT_SLOT_SECONDS, "embedded", tally)
    tally.seeds = str(SEED)
    tally.count(lost_messages=lost)
    assert lost
    assert None not in seconds.values()


async def rounds_of(
    folder: Path, n: int, wanted: int, interval: int, broker: str, tally: Tally
) -> dict[int, float | None]:
    """Run n operators in several processes; return how long after its beginning every slot had its certificate."""
    council, members = found(folder, n, interval=interval)
    rules = AgreementRules.of(council)
    serving: AbstractAsyncContextManager[RunningBroker] = (
        mosquitto_for(folder, council, members) if broker == "mosquitto" else embedded_for(council, members)
    )
    delivered: dict[int, float] = {}
    async with serving as running, AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(nodes(folder, running.url, range(start, n, PROCESSES), delivered))
            for start in range(PROCESSES)
        ]

        async def in_between() -> None:
            assert all(process.returncode is None for process in processes), "nodes ended by themselves"

        slots, cost = await measured(delivered, wanted, [process.pid for process in processes], in_between)
    same_reports(folder / f"node{index}" / "plimsoll.sqlite" for index in range(n))
    seconds = {each: delivered[each] - rules.slot_start(each) if each in delivered else None for each in slots}
    tally.count(operators=n)
    tell(tally, rules, seconds, cost, ())
    tally.table = "rounds of many operators"
    return seconds


@asynccontextmanager
async def nodes(folder: Path, url: str, indices: range, delivered: dict[int, float]) -> AsyncIterator[Process]:
    """Run some of the operators in a process; note the earliest delivery of every round's certificate."""
    command = [sys.executable, "-m", "tests.soak.bare_nodes", str(folder), url, *map(str, indices)]
    with (folder / f"log{indices.start}").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=log)
    listening = asyncio.create_task(listen(process, delivered))
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await listening
    assert process.returncode == 0, (folder / f"log{indices.start}").read_text()[-3_000:]


async def listen(process: Process, delivered: dict[int, float]) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        number, moment = line.split()
        delivered[int(number)] = min(float(moment), delivered.get(int(number), float("inf")))
