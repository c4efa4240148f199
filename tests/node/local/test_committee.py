"""Four nodes, each a process of its own, agree over a real broker, publish, and get over what is killed."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from devnet.launch import start_devnet
from devnet.local_chain import Devnet
from devnet.prices import answer_again
from node.local.broker import local_broker
from node.local.committee import accepted_transaction
from node.local.network import LocalNetwork, prepare_local_network
from node.local.processes import node_processes
from tests.node.gossip.running_brokers import require_mosquitto
from tests.patience import eventually

pytestmark = pytest.mark.chain

NODES = 4


class Running:
    """A committee at work."""

    def __init__(self, devnet: Devnet, network: LocalNetwork, nodes: Any) -> None:
        self.devnet = devnet
        self.network = network
        self.nodes = nodes

    def certified(self, operator: int) -> list[int]:
        """The rounds that an operator knows to be certified, computed by itself or taken over."""
        database = self.network.operators[operator].directory / "plimsoll.sqlite"
        if not database.exists():
            return []
        query = "SELECT round FROM reports WHERE certificate IS NOT NULL UNION SELECT round FROM adopted_reports"
        try:
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
                return sorted(number for (number,) in connection.execute(query))
        except sqlite3.OperationalError:  # not made yet
            return []

    async def answer_again(self) -> None:
        """Let feeds answer: a chain that stands still believes no newer report."""
        await asyncio.to_thread(answer_again, self.devnet)

    async def every_node_certifies_after(self, round_number: int, *, operators: Sequence[int] = range(NODES)) -> int:
        """Wait for a round above one that these nodes have certified; return the lowest of their newest."""

        async def newest() -> int:
            self.nodes.check()
            await self.answer_again()
            lowest = min(max(self.certified(operator), default=0) for operator in operators)
            return lowest if lowest > round_number else 0

        return await eventually(newest)

    def all_know_the_same_reports(self) -> bool:
        """Say whether all that two nodes know of one round is the same report."""
        known: dict[int, set[bytes]] = {}
        query = (
            "SELECT round, report_hash FROM reports WHERE certificate IS NOT NULL "
            "UNION SELECT round, report_hash FROM adopted_reports"
        )
        for operator in self.network.operators:
            with closing(sqlite3.connect(operator.directory / "plimsoll.sqlite")) as connection:
                for number, report in connection.execute(query):
                    known.setdefault(number, set()).add(report)
        return len(known) > 3 and all(len(reports) == 1 for reports in known.values())

    async def isaccepted_transaction(self, above: int) -> int:
        """Wait until the contract accepted a round above one, with a quorum's signatures; return it."""

        async def accepted() -> int:
            rounds = [number for number in self.certified(0) if number > above]
            found = [number for number in rounds if accepted_transaction(self.devnet, self.network, number)]
            return max(found, default=0)

        return await eventually(accepted)


@asynccontextmanager
async def committee(directory: Path, *, faulty: int = 0) -> AsyncIterator[Running]:
    async with start_devnet() as devnet:
        now = int(time.time()) - 8
        prepared = await asyncio.to_thread(prepare_local_network, devnet, directory, port=0, now=now, nodes=NODES)
        async with node_processes(prepared.operators, faulty=faulty) as nodes:
            yield Running(devnet, prepared, nodes)


async def test_four_nodes_certify_over_mosquitto_and_get_over_a_killed_node_and_a_killed_broker(tmp_path: Path) -> None:
    require_mosquitto()
    async with committee(tmp_path) as running:
        network = running.network
        broker = local_broker(tmp_path, network.committee, network.operators, port=network.broker_port)
        async with broker:
            first = await running.every_node_certifies_after(0)
            accepted = await running.isaccepted_transaction(0)
            victim = await running.nodes.kill(2)
            lowest = await running.every_node_certifies_after(first + 1, operators=(0, 1, 3))
            await running.nodes.start(victim)
            back = await running.every_node_certifies_after(lowest)
        # the broker is gone: nobody hears anybody
        again = local_broker(tmp_path, network.committee, network.operators, port=network.broker_port)
        async with again:
            last = await running.every_node_certifies_after(back)
            assert await running.isaccepted_transaction(accepted) > accepted
    assert last > back > lowest > first
    assert running.all_know_the_same_reports()
