"""The connection to one broker: kept, and made again whenever it ends. MQTT's library is used here only.

Everything is sent once (QoS 0): an acknowledgement by a broker proves nothing, so that rounds repeat what matters.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt
import msgspec

from node.gossip.budgets import PacketBudget
from node.gossip.careful_client import BoundedHandshake, CarefulClient
from node.gossip.transport import LARGEST_PAYLOAD_BYTES
from node.status import NodeStatus
from riskschema.ports import Clock

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0
"""Seconds before a connection is made again: doubled while none succeeds."""
SEND_SECONDS = 5.0
"""A broker that does not take a payload within that is reconnected to."""
KEEPALIVE_SECONDS = 10
MAX_UNSENT = 64
"""Payloads of this node that a slow broker may leave waiting; further ones do not reach it."""
MAX_QUEUED = 256
"""Payloads that wait for this process, which looks at each for microseconds."""
MUTED_SECONDS = 600.0
"""Who floods a broker is not listened to by it for so long."""
NODELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
"""Without it a small message may wait 40 ms for the acknowledgement of the one before."""

Take = Callable[[str, str, bytes], None]


class BrokerAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a broker is, and how it and this node prove who they are."""

    url: str
    """``mqtt://host:port`` with a password, or ``mqtts://host:port`` with certificates."""
    password: str | None = None
    tls: Tls | None = None

    @property
    def host(self) -> str:
        """The host."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port."""
        parts = urlsplit(self.url)
        return parts.port or (8883 if parts.scheme == "mqtts" else 1883)


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Mutual TLS 1.3."""

    trusted: Path
    """PEM: the broker's own certificate, or the authority it is signed by."""
    certificate: Path
    """PEM: this operator's."""
    key: Path
    """PEM: the identity, encrypted."""
    password: str

    def __repr__(self) -> str:
        """Return no secret."""
        return f"Tls(trusted={self.trusted}, certificate={self.certificate})"


class Connection:
    """One broker.

    Args:
        address: Where it is.
        user: MQTT user and client id.
        subscriptions: Returns the topic filters of all but some senders.
        loudest: Called with the broker's name where it sends too much: returns who spent most beyond its budget.
        take: Called with (broker, topic, payload) for everything that comes; must not fail.
        greet: Returns what is published whenever a connection is made: topic, payload, whether it is retained.
        status: Learns when the broker is not reached.
        clock: For the status.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        user: str,
        subscriptions: Callable[[Collection[int]], Sequence[str]],
        loudest: Callable[[str], int | None],
        take: Take,
        greet: Callable[[], Sequence[tuple[str, bytes, bool]]],
        status: NodeStatus,
        clock: Clock,
    ) -> None:
        self.name = f"broker {address.host}:{address.port}"
        self._address = address
        self._user = user
        self._subscriptions = subscriptions
        self._loudest = loudest
        self._muted: set[int] = set()
        self._take = take
        self._greet = greet
        self._status = status
        self._clock = clock
        self._packets = PacketBudget(time.monotonic)
        self._outgoing: asyncio.Queue[tuple[str, bytes, bool]] = asyncio.Queue(MAX_UNSENT)
        self.connected = asyncio.Event()
        """Set while subscribed."""

    async def keep(self) -> None:
        """Connect, hear, and connect again, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._live()
                reason = "the broker closed the connection"
            except (aiomqtt.MqttError, OSError, ssl.SSLError) as error:
                reason = str(error) or type(error).__name__
            was_connected = self.connected.is_set()
            self.connected.clear()
            self._status.fail(self.name, "broker_unreachable", at=self._clock.now(), detail=reason)
            self._mute_who_floods()
            pause = FIRST_PAUSE if was_connected else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Send soon, if the broker is connected; what does not reach it is repeated by whom it matters to."""
        if self.connected.is_set():
            with suppress(asyncio.QueueFull):
                self._outgoing.put_nowait((topic, payload, retain))

    async def _live(self) -> None:
        """Connect, then hear and speak until either fails."""
        context = None if self._address.tls is None else await asyncio.to_thread(client_context, self._address.tls)
        async with CarefulClient(
            self._address.host,
            self._address.port,
            username=self._user,
            password=self._address.password,
            identifier=self._user,
            tls_context=context,
            clean_session=True,
            keepalive=KEEPALIVE_SECONDS,
            max_queued_incoming_messages=MAX_QUEUED,
            socket_options=NODELAY,
            logger=quiet_logger(),
            packets=self._packets,
        ) as client:
            await self._subscribe(client)
            self._outgoing = asyncio.Queue(MAX_UNSENT)  # what waited for the connection before is late
            self.connected.set()
            self._status.recover(self.name, at=self._clock.now())
            tasks = [asyncio.create_task(each) for each in (self._hear(client), self._speak(client))]
            tasks += [asyncio.create_task(self._hear_the_muted_again(client))] if self._muted else []
            try:
                done, _ = await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _mute_who_floods(self) -> None:
        """Leave out one sender from now on: an honest broker would lose all of us by what one operator sends."""
        if self._packets.exceeded:
            self._packets.exceeded = False
            if (sender := self._loudest(self.name)) is not None:
                self._muted.add(sender)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        await client.subscribe([(each, 0) for each in self._subscriptions(self._muted)])

    async def _hear_the_muted_again(self, client: aiomqtt.Client) -> None:
        await asyncio.sleep(MUTED_SECONDS)
        self._muted.clear()
        await self._subscribe(client)

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            if isinstance(payload, bytes | bytearray) and len(payload) <= LARGEST_PAYLOAD_BYTES:
                self._take(self.name, message.topic.value, bytes(payload))

    async def _speak(self, client: aiomqtt.Client) -> None:
        for topic, payload, retain in self._greet():
            await client.publish(topic, payload, qos=0, retain=retain, timeout=SEND_SECONDS)
        while True:
            topic, payload, retain = await self._outgoing.get()
            await client.publish(topic, payload, qos=0, retain=retain, timeout=SEND_SECONDS)


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return how an operator proves to a broker who it is, and what it believes of the broker.

    Raises:
        OSError: a file is missing, or no key or certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = BoundedHandshake
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(tls.trusted)
    context.load_cert_chain(tls.certificate, tls.key, tls.password)
    return context


def quiet_logger() -> logging.Logger:
    """Return a logger that tells nothing but defects: the status says what is not reached."""
    logger = logging.getLogger("plimsoll.mqtt")
    logger.setLevel(logging.CRITICAL)
    return logger
