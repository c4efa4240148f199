"""A node hears and speaks by several brokers: what one of them does costs nothing while another works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from node.gossip.transport import Channel
from tests.node.gossip.cut_proxy import CutProxy, cut_proxy
from tests.node.gossip.running_brokers import RunningBroker, connected_to, embedded_for, make_members
from tests.node.gossip.test_brokers import heard

Brokers = Sequence[tuple[RunningBroker, CutProxy]]


@pytest.fixture
async def brokers(tmp_path: Path) -> AsyncIterator[Brokers]:
    """Three brokers of one committee, each behind a proxy."""
    made = make_members(tmp_path)
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(embedded_for(*made)) for _ in range(3)]
        yield [(broker, await stack.enter_async_context(cut_proxy(broker.url))) for broker in running]


def joined(brokers: Brokers, index: int):
    addresses = [replace(broker.address(index), url=proxy.url) for broker, proxy in brokers]
    return connected_to(addresses, brokers[0][0].council, index)


async def test_what_comes_by_three_brokers_is_taken_once(brokers: Brokers) -> None:
    async with joined(brokers, 0) as node, joined(brokers, 1) as other:
        for payload in (b"first", b"second", b"third"):
            node.send(Channel.MESSAGE, payload)
            assert await heard(other) == (0, Channel.MESSAGE, payload)
        assert not other.dropped


async def test_brokers_that_hang_or_are_gone_cost_nothing_while_one_works(brokers: Brokers) -> None:
    async with joined(brokers, 0) as node, joined(brokers, 1) as other:
        brokers[0][1].hangs.set()
        brokers[1][1].refuses = True
        brokers[1][1].cut()
        for number in range(20):
            node.send(Channel.MESSAGE, bytes([number]))
            assert await heard(other) == (0, Channel.MESSAGE, bytes([number]))


async def test_what_a_broker_invents_in_the_name_of_another_spends_the_budget_of_that_broker_only(
    brokers: Brokers,
) -> None:
    async with joined(brokers, 0) as node, joined(brokers, 1) as other:
        first = other.connections[0]
        topic = other._topics.topic(Channel.MESSAGE, None).replace(other._topics.me, node._topics.me)
        for number in range(1_000):
            other._take(first.name, topic, b"noise %d" % number)
        assert other.dropped["budget"] > 800
        brokers[0][1].refuses = True
        brokers[0][1].cut()
        for _ in range(1_000 - other.dropped["budget"] - other.dropped["full"]):
            assert (await heard(other))[2].startswith(b"noise")
        node.send(Channel.MESSAGE, b"signal")
        assert await heard(other) == (0, Channel.MESSAGE, b"signal")
