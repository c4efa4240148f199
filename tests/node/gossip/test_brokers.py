"""What every broker must do for the network, and what it must not let an operator do to another."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from node.gossip.brokers import BrokerTransport
from node.gossip.connection import BrokerAddress
from node.gossip.topics import network_name
from node.gossip.transport import LARGEST_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, Channel
from tests.node.gossip.cut_proxy import cut_proxy
from tests.node.gossip.running_brokers import PASSWORD, RunningBroker, connected, embedded, mosquitto
from tests.patience import HANG_SECONDS, eventually

KINDS = {"embedded": embedded, "mosquitto": mosquitto}


@pytest.fixture(params=sorted(KINDS))
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    async with KINDS[request.param](tmp_path) as running:
        yield running


def client(broker: RunningBroker, index: int, **other: Any) -> aiomqtt.Client:
    """A plain MQTT client with an operator's credentials, that keeps to none of our rules."""
    address = broker.address(index)
    name = broker.members[index].name
    settings: dict[str, Any] = {
        "username": name,
        "identifier": name,
        "password": address.password,
        "tls_context": context(address),
    }
    return aiomqtt.Client(address.host, address.port, timeout=HANG_SECONDS, **(settings | other))


def context(address: BrokerAddress) -> ssl.SSLContext | None:
    if address.tls is None:
        return None
    made = ssl.create_default_context(cafile=str(address.tls.trusted))
    made.load_cert_chain(address.tls.certificate, address.tls.key, PASSWORD)
    return made


def topic(broker: RunningBroker, index: int, *levels: str) -> str:
    return "/".join(("plimsoll", network_name(broker.council), broker.members[index].name, *levels))


async def heard(transport: BrokerTransport) -> tuple[int, Channel, bytes]:
    async with asyncio.timeout(HANG_SECONDS):
        await transport.wait()
    arrival = transport.take()
    assert arrival is not None
    return arrival.sender, arrival.channel, arrival.payload


async def test_what_one_sends_all_others_hear(broker: RunningBroker) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(connected(broker, index)) for index in range(4)]
        for size in (1, 1_000, MAX_PAYLOAD_BYTES[Channel.MESSAGE]):
            nodes[0].send(Channel.MESSAGE, bytes(size))
            assert [await heard(node) for node in nodes[1:]] == [(0, Channel.MESSAGE, bytes(size))] * 3
        nodes[1].send(Channel.MESSAGE, b"next")
        assert await heard(nodes[0]) == (1, Channel.MESSAGE, b"next")  # and not its own


async def test_what_is_for_one_nobody_else_hears(broker: RunningBroker) -> None:
    async with connected(broker, 0) as asking, connected(broker, 1) as asked, client(broker, 2) as curious:
        await curious.subscribe(topic(broker, 0, "request", broker.members[1].name))
        await curious.subscribe(topic(broker, 0, "message"))
        asking.send(Channel.REQUEST, b"question", to=1)
        asking.send(Channel.MESSAGE, b"for all")
        assert await heard(asked) == (0, Channel.REQUEST, b"question")
        assert (await anext(aiter(curious.messages))).payload == b"for all"


async def test_nobody_writes_in_the_name_of_another(broker: RunningBroker) -> None:
    async with connected(broker, 0) as listening, client(broker, 1) as liar:
        await liar.publish(topic(broker, 2, "message"), b"in the name of 2")
        await liar.publish(topic(broker, 2, "certificate"), b"in the name of 2", retain=True)
        await liar.publish(topic(broker, 1, "message"), b"in its own")
        assert await heard(listening) == (1, Channel.MESSAGE, b"in its own")
    async with connected(broker, 3) as later:
        async with connected(broker, 0) as other:
            other.send(Channel.MESSAGE, b"now")
        assert await heard(later) == (0, Channel.MESSAGE, b"now")


async def test_whoever_connects_later_hears_the_newest_certificate_of_each(broker: RunningBroker) -> None:
    async with connected(broker, 0) as node, connected(broker, 1) as witness:
        for payload in (b"old", b"new"):
            node.send(Channel.CERTIFICATE, payload)
            assert await heard(witness) == (0, Channel.CERTIFICATE, payload)
        async with connected(broker, 2) as later:
            assert await heard(later) == (0, Channel.CERTIFICATE, b"new")


async def test_a_packet_that_is_too_large_ends_only_its_own_connection(broker: RunningBroker) -> None:
    async with connected(broker, 0) as node, connected(broker, 1) as other:
        with pytest.raises(aiomqtt.MqttError):
            await flood(broker, 2, bytes(LARGEST_PAYLOAD_BYTES + 2_000))
        node.send(Channel.MESSAGE, b"still here")
        assert await heard(other) == (0, Channel.MESSAGE, b"still here")


async def test_a_last_will_says_nothing_in_the_name_of_another(broker: RunningBroker) -> None:
    will = aiomqtt.Will(topic(broker, 2, "message"), b"last will in the name of 2")
    async with connected(broker, 0) as listening:
        try:
            async with client(broker, 1, will=will) as liar:
                transport = liar._client.socket()
                transport.shutdown(2)  # without a goodbye, so that the will is due
                async for _ in liar.messages:
                    pass
        except aiomqtt.MqttError:
            pass
        async with connected(broker, 3) as honest:
            honest.send(Channel.MESSAGE, b"alive")
            assert await heard(listening) == (3, Channel.MESSAGE, b"alive")


async def test_a_last_certificate_is_told_again_after_a_cut(broker: RunningBroker) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(cut_proxy(broker.url))
        node = await stack.enter_async_context(connected(broker, 0))
        other = await stack.enter_async_context(connected(broker, 1, url=proxy.url))
        node.send(Channel.CERTIFICATE, b"kept")
        assert await heard(other) == (0, Channel.CERTIFICATE, b"kept")
        proxy.refuses = True
        proxy.cut()
        await eventually(lambda: is_cut(other))
        node.send(Channel.CERTIFICATE, b"newer")
        proxy.refuses = False
        assert await heard(other) == (0, Channel.CERTIFICATE, b"newer")
        node.send(Channel.MESSAGE, b"again")
        assert await heard(other) == (0, Channel.MESSAGE, b"again")


async def test_what_open_rounds_may_have_lost_is_said_again_after_a_cut(
    broker: RunningBroker,
) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(cut_proxy(broker.url))
        node = await stack.enter_async_context(connected(broker, 0, url=proxy.url))
        other = await stack.enter_async_context(connected(broker, 1))
        said: list[bytes] = []
        node.repeat_on_connecting(lambda: said)
        proxy.refuses = True
        proxy.cut()
        await eventually(lambda: is_cut(node))
        for payload in (b"observation", b"share"):
            node.send(Channel.MESSAGE, payload)
            said.append(payload)
        proxy.refuses = False
        assert await heard(other) == (0, Channel.MESSAGE, b"observation")
        assert await heard(other) == (0, Channel.MESSAGE, b"share")


async def flood(broker: RunningBroker, index: int, payload: bytes) -> None:
    """Publish, and listen until the broker ends the connection."""
    async with client(broker, index) as greedy, beside(greedy.publish(topic(broker, index, "message"), payload)):
        async for _ in greedy.messages:
            pass


async def is_cut(transport: BrokerTransport) -> bool:
    return not any(connection.connected.is_set() for connection in transport.connections)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something beside the block, whatever becomes of it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
