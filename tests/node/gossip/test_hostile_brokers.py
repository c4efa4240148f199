"""A broker that breaks the protocol loses this node; it takes neither its memory nor its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest

from attest.agreement import open_rounds
from attest.formats.committee import Committee
from attest.keys.certificates import broker_certificate
from node.clock import SystemClock
from node.gossip import budgets, careful_client, connection
from node.gossip.brokers import BrokerTransport, open_brokers
from node.gossip.careful_client import MAX_PACKET_BYTES
from node.gossip.connection import BrokerAddress, Tls
from node.gossip.inbox import MAX_WAITING
from node.gossip.topics import topics_of
from node.gossip.transport import Channel
from node.status import NodeStatus
from riskschema.errors import ProtocolViolation
from tests.attest.agreement.round_kit import observation
from tests.attest.agreement.test_noise import calls
from tests.attest.agreement.wire_kit import Wire
from tests.builders.reports import committee, operators
from tests.network.fake_signer import fast_signatures
from tests.node.gossip.running_brokers import INTERVAL, PASSWORD, connected_to, embedded, make_members
from tests.node.gossip.test_brokers import heard
from tests.patience import HANG_SECONDS, POLL_SECONDS

CONNACK = b"\x20\x02\x00\x00"
PING = b"\xc0\x00"
PINGRESP = b"\xd0\x00"
PACKETS = 2_000
LONGEST = b"\xff\xff\xff\x7f"
"""The length of a packet of 268,435,455 bytes."""

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def hostile(talk: Talk) -> AsyncIterator[tuple[str, asyncio.Queue[bytes]]]:
    """Serve a broker that accepts a client and then does as it likes; what the client says after that is queued."""
    said: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await read_packet(reader)
            writer.write(CONNACK)
            _, body = await read_packet(reader)
            writer.write(b"\x90\x03" + body[:2] + b"\x00")
            await talk(reader, writer)
            said.put_nowait(await reader.read())
        except (ConnectionError, asyncio.IncompleteReadError):
            said.put_nowait(b"")
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", said


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, length, shift = (await reader.readexactly(1))[0], 0, 0
    while (byte := (await reader.readexactly(1))[0]) & 128:
        length, shift = length + ((byte & 127) << shift), shift + 7
    return first, await reader.readexactly(length + (byte << shift))


def announced(first_byte: int, size: int) -> bytes:
    digits = bytearray()
    while True:
        size, digit = divmod(size, 128)
        digits.append(digit | (128 if size else 0))
        if not size:
            return bytes([first_byte, *digits])


def reaching(address: BrokerAddress, council: Committee) -> AbstractAsyncContextManager[BrokerTransport]:
    """Let a node try one broker, again and again."""
    status = NodeStatus(round_interval=INTERVAL)
    return open_brokers([address], topics_of(council, 0), interval=INTERVAL, status=status, clock=SystemClock())


BREAKS = {
    "a packet of 256 MB": b"\x30" + LONGEST,
    "one byte more than the largest": announced(0x30, MAX_PACKET_BYTES + 1),
    "a message of QoS 1": b"\x32\x07\x00\x01a\x00\x01xy",
    "a message of QoS 2": b"\x34\x07\x00\x01a\x00\x01xy",
    "a ping": PING,
    "a release of what was not sent": b"\x62\x02\x00\x01",
    "a connection request": b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
}


@pytest.mark.parametrize("what", BREAKS)
async def test_a_packet_that_no_broker_may_send_ends_the_connection_at_once(what: str) -> None:
    council = committee(operators=operators([bytes([index + 1]) * 32 for index in range(4)]))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BREAKS[what])

    async with hostile(talk) as (url, said), reaching(BrokerAddress(url=url, password="p"), council):
        async with asyncio.timeout(HANG_SECONDS):
            assert await said.get() == b"", "nothing is answered, and nothing is waited for: not even a ping was sent"


async def test_a_hostile_broker_takes_nothing_from_what_is_heard_by_another(tmp_path: Path) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(PINGRESP * 1_000)
            await writer.drain()

    async with embedded(tmp_path) as broker, hostile(flood) as (url, _):
        bad = BrokerAddress(url=url, password="p")
        async with (
            connected_to([bad, broker.address(0)], broker.council, 0) as node,
            connected_to([broker.address(1)], broker.council, 1) as other,
        ):
            for number in range(20):
                other.send(Channel.MESSAGE, bytes([number]))
                assert await heard(node) == (1, Channel.MESSAGE, bytes([number]))


async def test_a_broker_that_floods_with_what_it_may_send_is_left_and_pays_for_few_verifications(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budgets, "PACKETS_SAVED", PACKETS)
    monkeypatch.setattr(budgets, "PACKETS_PER_SECOND", 0)
    looked_at = calls(monkeypatch, BrokerTransport, "_take")
    verified = calls(monkeypatch, open_rounds, "check_signature")
    with fast_signatures():
        wire = Wire(4)
        wire.tick(wire.rules.slot_start_ms(1), only=[0])
        said_once = wire.say(1, 1, observation(wire.now // 1_000))
    council = wire.rules.committee
    topic = topics_of(council, 1).topic(Channel.MESSAGE, None).encode()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(10 * PACKETS):
            forged = said_once[:-4] + number.to_bytes(4)
            writer.write(announced(0x30, 2 + len(topic) + len(forged)) + len(topic).to_bytes(2) + topic + forged)
            await writer.drain()

    async with hostile(flood) as (url, said), reaching(BrokerAddress(url=url, password="p"), council) as node:
        async with asyncio.timeout(HANG_SECONDS):
            for _ in range(2):
                assert await said.get() == b"", "the connection is ended, and so is the next one"
        assert 0 < len(looked_at) < PACKETS
        arrivals = []
        while (arrival := node.take()) is not None:
            arrivals.append(arrival.payload)
    for payload in 2 * arrivals:
        with pytest.raises(ProtocolViolation):
            wire.machines[0].on_message(payload)
    assert len(verified) == len(arrivals) <= MAX_WAITING, "of thousands of forgeries those that had room, each once"


async def test_a_sender_that_floods_is_not_listened_to_for_a_while_and_the_broker_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budgets, "PACKETS_SAVED", PACKETS)
    monkeypatch.setattr(connection, "MUTED_SECONDS", 0.1)
    council = committee(operators=operators([bytes([index + 1]) * 32 for index in range(4)]))
    names = [council.operators[index].identity.hex().encode() for index in range(4)]
    listened: list[bytes] = []
    again = asyncio.Event()

    def said_by(index: int, payload: bytes) -> bytes:
        topic = topics_of(council, index).topic(Channel.MESSAGE, None).encode()
        return announced(0x30, 2 + len(topic) + len(payload)) + len(topic).to_bytes(2) + topic + payload

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand out what the first peer floods to whoever subscribes to it, and a word of the second."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await read_packet(reader)
            writer.write(CONNACK)
            while True:
                first_byte, body = await read_packet(reader)
                if first_byte != 0x82:
                    continue
                listened.append(body)
                writer.write(announced(0x90, 2 + body.count(b"plimsoll/")) + body[:2] + bytes(body.count(b"plimsoll/")))
                if len(listened) == 1:
                    for number in range(10 * PACKETS):
                        writer.write(said_by(1, number.to_bytes(4)))
                        await writer.drain()
                writer.write(said_by(2, b"heard"))
                if len(listened) == 3:
                    again.set()
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with reaching(BrokerAddress(url=url, password="p"), council) as node:
            async with asyncio.timeout(HANG_SECONDS):
                while (await heard(node))[0] != 2:
                    pass
                await again.wait()
    assert [[name in body for name in names[1:]] for body in listened[:3]] == [
        [True, True, True],
        [False, True, True],
        [True, True, True],
    ]
    assert [b"/+/" in body for body in listened[:3]] == [True, False, True]


async def test_a_handshake_that_drips_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(careful_client, "HANDSHAKE_SECONDS", 1.0)
    council, members = make_members(tmp_path, 1)
    _, own = broker_certificate(["127.0.0.1"])
    (tmp_path / "trusted.pem").write_bytes(own)
    ended: asyncio.Queue[bool] = asyncio.Queue()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x03\x40\x00")  # a record of 16 KB, of which a byte comes now and then
        with suppress(ConnectionError):
            while True:
                writer.write(b"\x02")
                await writer.drain()
                await asyncio.sleep(POLL_SECONDS)
        ended.put_nowait(True)
        writer.transport.abort()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        tls = Tls(
            trusted=tmp_path / "trusted.pem",
            certificate=members[0].certificate,
            key=members[0].key,
            password=PASSWORD,
        )
        address = BrokerAddress(url=f"mqtts://127.0.0.1:{port}", tls=tls)
        async with reaching(address, council), asyncio.timeout(HANG_SECONDS):
            assert await ended.get()
