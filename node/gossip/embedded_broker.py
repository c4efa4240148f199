"""An MQTT broker in this process, for a machine without Mosquitto: amqtt, hardened. amqtt is used here only.

What amqtt 0.12 does by itself, and what is done here instead:

- a packet may have any size, and a client may send as fast as it likes: every byte is paid for (`_PacedReader`);
- a client that is refused has by then replaced the session of the one whose id it gave: the password comes first;
- a last will, and a retained message, pass no access list: wills are refused, the list is asked for everything;
- a message is lost where the table of sessions or subscriptions changes while a message is handed out, and retained
  messages come to whom did not ask: handing out here waits for nothing, so that nothing changes meanwhile;
- a subscriber that does not read fills the memory: beyond a bound it misses messages.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from amqtt.adapters import ReaderAdapter, StreamReaderAdapter, StreamWriterAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig
from amqtt.errors import AMQTTError, BrokerError, MQTTError, NoDataError
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.mqtt.publish import PublishPacket
from amqtt.session import Session

from node.gossip.topics import ROOT
from node.gossip.transport import LARGEST_PAYLOAD_BYTES, RETAINED
from riskschema.errors import FatalError

MAX_PACKET_BYTES = LARGEST_PAYLOAD_BYTES + 1_024
"""With topic and header."""
BYTES_PER_SECOND = 4 * 1024 * 1024
BURST_BYTES = 4 * MAX_PACKET_BYTES
READ_COST_BYTES = 128
"""What reading costs besides its bytes: tiny packets take time, too."""
CONNECT_SECONDS = 5.0
"""To say who one is."""
MAX_UNSENT_BYTES = 16 * 1024 * 1024
"""For one subscriber; beyond, messages to it are dropped."""
CONNECTIONS_PER_OPERATOR = 3
"""A reconnection may overlap with the connection that it replaces."""
SPARE_CONNECTIONS = 16


def hash_password(password: str) -> str:
    """Return what a broker keeps of a password: SHA-256, for passwords are random, 32 bytes, made by a program."""
    return hashlib.sha256(password.encode()).hexdigest()


@asynccontextmanager
async def open_embedded_broker(
    users: Mapping[str, str], *, network: str, port: int, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Serve until the context is left; yield the port.

    Args:
        users: Password hashes by user.
        network: The committee's name in topics.
        port: 0 takes a free one.
        host: Without TLS, so only this machine's own.

    Raises:
        FatalError: the port is taken, or the host is not loopback.
    """
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise FatalError(f"the embedded broker speaks without TLS: {host} is not loopback", code="invalid_settings")
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    broker = _HardenedBroker(users, network, f"{host}:{port}")
    try:
        await broker.start()
    except BrokerError as error:
        raise FatalError(f"broker on {host}:{port}: {error}", code="invalid_settings") from error
    try:
        yield broker.port
    finally:
        await broker.shutdown()


class _HardenedBroker(Broker):
    def __init__(self, users: Mapping[str, str], network: str, bind: str) -> None:
        most = CONNECTIONS_PER_OPERATOR * len(users) + SPARE_CONNECTIONS
        listener = ListenerConfig(bind=bind, max_connections=most)
        super().__init__(BrokerConfig(listeners={"default": listener}, plugins={}))
        self._users = dict(users)
        self._prefix = [ROOT, network]

    @property
    def port(self) -> int:
        server: Any = self._servers["default"].instance
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        writer.transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        try:
            await self._client_connected(listener_name, _PacedReader(reader), StreamWriterAdapter(writer))
        finally:
            writer.close()

    async def _initialize_client_session(
        self, reader: ReaderAdapter, writer: WriterAdapter, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        """Ask who it is before anything of the one it says it is is touched."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                handler, session = await BrokerProtocolHandler.init_from_connect(reader, writer, self.plugins_manager)
        except (AMQTTError, MQTTError, NoDataError, TimeoutError, ValueError) as error:
            await writer.close()
            raise AMQTTError(str(error)) from error
        if not self._is_welcome(session):
            handler.attach(session, reader, writer)
            await handler.mqtt_connack_authorize(authorize=False)
            await writer.close()
            raise AMQTTError("refused")
        await self._delete_session(session.client_id or "")
        session.parent = 0
        return handler, session

    def _is_welcome(self, session: Session) -> bool:
        expected = self._users.get(session.username or "", "")
        given = hash_password(session.password or "")
        known = hmac.compare_digest(expected, given)
        return bool(known and session.client_id == session.username and session.clean_session and not session.will_flag)

    async def _authenticate(self, session: Session, _listener: ListenerConfig) -> bool:
        return True  # in _initialize_client_session

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        levels = topic.split("/")
        if levels[:2] != self._prefix or not 4 <= len(levels) <= 5:
            return False
        if action == Action.PUBLISH:
            return bool(levels[2] == session.username)
        # what is for one operator is its own to hear
        return bool(len(levels) == 4 or levels[4] == session.username)

    async def _run_broadcast(self, _running_tasks: deque[Any]) -> None:
        message = await self._broadcast_queue.get()
        packet = _packet(message["topic"], message["data"], retain=False)
        for pattern, subscribers in self._subscriptions.items():
            if self._matches(message["topic"], pattern):
                for session, _ in subscribers:
                    self._hand_out(session, packet)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        pattern, _ = subscription
        if all(each is not session for each, _ in self._subscriptions.get(pattern, [])):
            return
        for topic, retained in self._retained_messages.items():
            if self._matches(topic, pattern):
                self._hand_out(session, _packet(topic, retained.data, retain=True))

    async def retain_message(
        self,
        source_session: Session | None,
        topic_name: str | None,
        data: bytes | bytearray | None,
        qos: int | None = None,
    ) -> None:
        """Retain what is meant to be: one certificate of each operator."""
        if topic_name is not None and topic_name.split("/")[3:] in [[channel] for channel in RETAINED]:
            await super().retain_message(source_session, topic_name, data, qos)

    def _hand_out(self, session: Session, packet: bytes) -> None:
        """Write to a subscriber, without waiting, unless it has too much to read already."""
        handler = self._get_handler(session)
        writer = getattr(getattr(handler, "writer", None), "_writer", None)
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() + len(packet) <= MAX_UNSENT_BYTES:
            writer.write(packet)


class _PacedReader(StreamReaderAdapter):
    """Reads within a budget: what comes faster waits in the sender's own socket. Too large a packet ends it all."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._left = float(BURST_BYTES)
        self._at = time.monotonic()
        self._refused = False

    async def read(self, n: int = -1) -> bytes:
        if self._refused or not 0 <= n <= MAX_PACKET_BYTES:
            self._refused = True
            raise ConnectionResetError
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * BYTES_PER_SECOND, BURST_BYTES) - n - READ_COST_BYTES
        self._at = now
        if self._left < 0:
            await asyncio.sleep(-self._left / BYTES_PER_SECOND)
        data: bytes = await super().read(n)
        return data


def _packet(topic: str, payload: bytes | bytearray, *, retain: bool) -> bytes:
    packet: bytes = PublishPacket.build(topic, bytes(payload), None, False, 0, retain).to_bytes()
    return packet
