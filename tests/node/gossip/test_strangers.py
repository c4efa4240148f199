"""Who is no operator, or claims to be another one, is refused, and disturbs nobody by trying."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import pytest

from node.gossip.embedded_broker import open_embedded_broker
from node.gossip.topics import network_name
from node.gossip.transport import Channel
from riskschema.errors import FatalError
from tests.node.gossip.running_brokers import connected, embedded, make_members, mosquitto
from tests.node.gossip.test_brokers import client, context, heard

CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x"
CONNACK = b"\x20"


@pytest.mark.parametrize("wrong", ["password", "name", "client id", "nothing"])
async def test_the_embedded_broker_asks_for_the_password_before_it_ends_a_session(tmp_path: Path, wrong: str) -> None:
    async with embedded(tmp_path) as broker, connected(broker, 0) as victim, connected(broker, 1) as other:
        choices: dict[str, dict[str, Any]] = {
            "password": {"password": "wrong"},
            "name": {"username": broker.members[1].name},  # with the password of 0
            "client id": {"identifier": broker.members[1].name},
            "nothing": {"username": None, "password": None},
        }
        with pytest.raises(aiomqtt.MqttError):
            async with client(broker, 0, **choices[wrong]):
                pytest.fail("it was let in")
        other.send(Channel.MESSAGE, b"do you hear me?")
        assert await heard(victim) == (1, Channel.MESSAGE, b"do you hear me?")
        victim.send(Channel.MESSAGE, b"yes")
        assert await heard(other) == (0, Channel.MESSAGE, b"yes")


async def test_mosquitto_asks_for_a_certificate_of_the_committee(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    _, strangers = make_members(elsewhere, 1)
    async with mosquitto(tmp_path) as broker:
        name = broker.members[0].name
        anonymous = ssl.create_default_context(cafile=str(broker.trusted))
        stranger = ssl.create_default_context(cafile=str(broker.trusted))
        stranger.load_cert_chain(strangers[0].certificate, strangers[0].key, "correct horse")
        old = context(broker.address(0))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        for refused in (anonymous, stranger, old):
            assert await connack(broker.url, refused) != CONNACK
        assert await connack(broker.url, context(broker.address(0))) == CONNACK
        # another name than the certificate's is not believed: this client is operator 2, whatever it says
        async with (
            connected(broker, 0) as victim,
            connected(broker, 1) as other,
            client(broker, 2, username=name, identifier=name) as liar,
        ):
            await liar.publish(f"plimsoll/{network_name(broker.council)}/{name}/message", b"I am 0")
            victim.send(Channel.MESSAGE, b"I am 0 indeed")
            assert await heard(other) == (0, Channel.MESSAGE, b"I am 0 indeed")


async def connack(url: str, tls: ssl.SSLContext | None) -> bytes:
    """Return how the broker begins its answer to a correct CONNECT; nothing where it ends the connection instead."""
    parts = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
    except (ssl.SSLError, ConnectionError):
        return b""
    writer.write(CONNECT)
    try:
        return await reader.read(1)
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()


async def test_the_embedded_broker_is_for_this_machine_only() -> None:
    with pytest.raises(FatalError, match="loopback"):
        async with open_embedded_broker({}, network="n", port=0, host="0.0.0.0"):
            pass
