"""Four operators of a local network in one process, each a whole node with its own files, on a transport in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from devnet.local_chain import Devnet
from node.composition import open_node
from node.gossip.memory import MemoryHub, MemoryTransport
from node.local.network import prepare_local_network
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest
from node.round.node import Node
from node.round.result import RoundResult
from node.settings import Settings, load_settings
from tests.node.local_node import chain_time, write_cheap_keys

NODES = 4


class ShiftedClock:
    """The machine's time, moved to where a chain is."""

    def __init__(self, now: int) -> None:
        self._shift = now - time.time()

    def now(self) -> float:
        return time.time() + self._shift

    async def sleep_until(self, timestamp: float) -> None:
        await asyncio.sleep(max(timestamp - self.now(), 0.0))


class Council:
    """Running nodes, and what each of them finished."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.results: list[list[RoundResult]] = [[] for _ in nodes]
        self.tasks: list[asyncio.Task[Any]] = []

    async def certified(self, operator: int, rounds: int) -> bool:
        for task in self.tasks:
            if task.done():
                task.result()
        return len(self.results[operator]) >= rounds


def as_it_is(index: int, settings: Settings) -> Settings:
    """Change nothing of an operator's settings."""
    del index
    return settings


@asynccontextmanager
async def council(
    devnet: Devnet,
    directory: Path,
    change: Callable[[int, Node], Node],
    *,
    configure: Callable[[int, Settings], Settings] = as_it_is,
) -> AsyncIterator[Council]:
    """Run them; `change` may put something else into an operator's node, `configure` its settings. None publishes."""
    for index in range(1, NODES + 1):
        write_cheap_keys(directory / f"operator-{index}" / "keys")
        (directory / f"operator-{index}").chmod(0o700)
    now = chain_time(devnet)
    prepared = prepare_local_network(devnet, directory, port=0, now=now, nodes=NODES)
    hub, clock, stop = MemoryHub(), ShiftedClock(now), StopRequest()

    @asynccontextmanager
    async def join(*_: Any, me: int, **__: Any) -> AsyncIterator[MemoryTransport]:
        yield hub.join(me)

    async with AsyncExitStack() as stack:
        stack.enter_context(patch("node.composition.open_transport", join))
        nodes = []
        for index, operator in enumerate(prepared.operators):
            settings = msgspec.structs.replace(configure(index, load_settings(operator.config_file)), publish=None)
            node = await stack.enter_async_context(open_node(settings, operator.directory, clock=clock))
            nodes.append(change(index, node))
        running = Council(nodes)
        running.tasks = [
            asyncio.create_task(run_rounds(node, stop, on_round=results.append))
            for node, results in zip(nodes, running.results, strict=True)
        ]
        try:
            yield running
        finally:
            stop.ask()
            await asyncio.gather(*running.tasks, return_exceptions=True)
