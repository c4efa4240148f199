"""An operator whose database is empty, 64 hours after genesis: it takes over state and hours, and takes part.

Real nodes with real stores, the local chain, and slots of four hours; time is moved on by the test.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from attest.formats.certificate import decode_certificate
from attest.formats.committee import round_at
from attest.wire.envelope import open_body, read_envelope
from attest.wire.messages import Share
from devnet.local_chain import Devnet
from devnet.prices import answer_again
from node.composition import open_node
from node.gossip.memory import MemoryHub
from node.local import network as local
from node.local.network import LocalNetwork, prepare_local_network
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest
from node.round.node import Node
from node.settings import load_settings
from tests.node.local_node import chain_time, write_cheap_keys
from tests.patience import HANG_SECONDS, eventually

pytestmark = pytest.mark.chain

NODES, JOINER = 4, 3
HOUR = 3_600
SLOT_HOURS = 4
SLOTS = 16
STATE_HOURS = 48
"""So many a state carries; the rest comes as rows."""


class MovedClock:
    """Time that the test moves on."""

    def __init__(self, time: float) -> None:
        self.time = time
        self._moved = asyncio.Event()

    def now(self) -> float:
        return self.time

    async def sleep_until(self, timestamp: float) -> None:
        while self.time < timestamp:
            await self._moved.wait()

    def move(self, time: float) -> None:
        self.time = max(self.time, time)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Network:
    """Operators of one committee in this process, who hear each other in memory."""

    def __init__(self, devnet: Devnet, prepared: LocalNetwork) -> None:
        self.devnet = devnet
        self.prepared = prepared
        self.clock = MovedClock(float(chain_time(devnet)))
        self.first = round_at(prepared.committee, int(self.clock.time)) + 1
        self._hub = MemoryHub()
        self.nodes: dict[int, Node] = {}
        self._ends: list[asyncio.Task[object]] = []

    async def start(self, operator: int, stack: AsyncExitStack) -> None:
        config = self.prepared.operators[operator].config_file
        opened = await stack.enter_async_context(open_node(load_settings(config), config.parent, clock=self.clock))
        self.nodes[operator] = replace(opened, transport=self._hub.join(operator))
        stop = StopRequest()
        running = asyncio.create_task(run_rounds(self.nodes[operator], stop))
        self._ends.append(running)
        stack.push_async_callback(self._end, running, stop)

    async def slot(self, number: int) -> None:
        """Let a slot go by: whoever takes part certifies its report, if its leader is there."""
        rules = next(iter(self.nodes.values())).rules
        late = (
            rules.proposal_deadline_ms(number) // 1_000 + 1
        )  # one operator is missing: leaders wait for it until then
        await asyncio.to_thread(self._chain_at, late - 10)
        self.clock.move(late)
        if rules.leader(number) in self.nodes:
            await eventually(lambda: self._certified(number))

    async def _certified(self, number: int) -> bool:
        failed = [each for each in self._ends if each.done()]
        assert not failed, failed
        return all(node.machine.highest_certified.round >= number for node in self.nodes.values())

    def _chain_at(self, time: int) -> None:
        self.devnet.anvil.rpc.request("evm_setNextBlockTimestamp", max(time, chain_time(self.devnet) + 1))
        self.devnet.anvil.rpc.request("evm_mine")
        answer_again(self.devnet)

    @staticmethod
    async def _end(running: asyncio.Task[object], stop: StopRequest) -> None:
        stop.ask()
        async with asyncio.timeout(HANG_SECONDS):
            await running


@asynccontextmanager
async def network(chain: Devnet, directory: Path) -> AsyncIterator[tuple[Network, AsyncExitStack]]:
    prepared = await asyncio.to_thread(prepare, chain, directory)
    async with AsyncExitStack() as stack:
        yield Network(chain, prepared), stack


def prepare(chain: Devnet, directory: Path) -> LocalNetwork:
    """Write what four operators need, without a broker that anybody reaches and without publishing."""
    directory.chmod(0o700)
    for index in range(1, NODES + 1):
        (directory / f"operator-{index}").mkdir(mode=0o700)
        write_cheap_keys(directory / f"operator-{index}" / "keys")
    now = chain_time(chain)
    prepared = prepare_local_network(chain, directory, port=0, now=now - now % HOUR, nodes=NODES)
    for operator in prepared.operators:
        text = operator.config_file.read_text()
        text = re.sub(r"\[publish\].*?(?=\[\[network)", "", text, flags=re.DOTALL)
        operator.config_file.write_text(
            text.replace('finality = "latest"', f'finality = "latest"\ntimeout = {HANG_SECONDS}')
        )
    return prepared


async def signs_what_is_certified(node: Node, other: Node, number: int) -> bool:
    """Say whether a node signed, for a round, the report that another one holds as certified."""
    report = await other.store.report(other.config_digest, number)
    if report is None or report.certificate is None:
        return False
    certified = decode_certificate(report.certificate).report_hash
    said = [open_body(read_envelope(each.payload)) for each in await node.store.messages(node.config_digest, number)]
    shares = [each for each in said if isinstance(each, Share)]
    return bool(shares) and all(share.report_hash == certified for share in shares)


async def hold_all_hours(node: Node, other: Node) -> bool:
    """Say whether two nodes hold the same hours, older ones than a state carries too."""
    hours = await node.store.hours(node.config_digest)
    return len(hours) > STATE_HOURS and hours == await other.store.hours(other.config_digest)


async def test_an_operator_with_an_empty_database_64_hours_after_genesis_takes_part(
    chain: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ROUND_SECONDS_OF_SEVERAL", SLOT_HOURS * HOUR)
    monkeypatch.setattr("node.local.broker.find_mosquitto", lambda: None)
    async with network(chain, tmp_path) as (running, stack):
        for operator in range(NODES):
            if operator != JOINER:
                await running.start(operator, stack)
        number = running.first + SLOTS
        for each in range(running.first, number):
            await running.slot(each)
        await running.start(JOINER, stack)
        joiner, joined = running.nodes[JOINER], number
        while not any(
            [await signs_what_is_certified(joiner, running.nodes[0], each) for each in range(joined, number)]
        ):
            assert number < joined + 10, "it still takes no part"
            await running.slot(number)
            number += 1
        assert await eventually(lambda: hold_all_hours(joiner, running.nodes[0]))
