"""Whether a broker lets this operator in, without taking part in the rounds."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime

import aiomqtt

from node.gossip.budgets import PacketBudget
from node.gossip.careful_client import CarefulClient
from node.gossip.connection import BrokerAddress, client_context, quiet_logger
from node.gossip.topics import Topics
from riskschema.errors import TransientError

PROBE_SECONDS = 15.0
REFUSAL_SECONDS = 1.0
"""In TLS 1.3 a broker refuses a certificate after the handshake: how long that may take to arrive."""


async def probe_broker(address: BrokerAddress, topics: Topics, *, quietly: bool) -> datetime | None:
    """Let an operator in at a broker, as a node would; return when the broker's certificate ends.

    Args:
        address: The broker.
        topics: As the operator uses them.
        quietly: Only shake hands: a second session of one name would end that of the node that runs.

    Raises:
        TransientError: (``broker_unreachable``) it does not answer, or does not let the operator in.
    """
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            until = await _shake_hands(address)
            if not quietly:
                await _subscribe(address, topics)
            return until
    except TimeoutError as error:
        raise _unreachable(address, f"no answer within {PROBE_SECONDS:g} s") from error
    except (aiomqtt.MqttError, OSError, ssl.SSLError) as error:
        raise _unreachable(address, str(error) or type(error).__name__) from error


async def _shake_hands(address: BrokerAddress) -> datetime | None:
    context = None if address.tls is None else await asyncio.to_thread(client_context, address.tls)
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        if context is None:
            return None
        try:
            async with asyncio.timeout(REFUSAL_SECONDS):
                await reader.read(1)
            raise ConnectionResetError("the broker ended the connection")
        except TimeoutError:
            pass  # it waits for who we are
        ends = writer.get_extra_info("peercert")["notAfter"]
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)
    finally:
        writer.transport.abort()


async def _subscribe(address: BrokerAddress, topics: Topics) -> None:
    context = None if address.tls is None else await asyncio.to_thread(client_context, address.tls)
    async with CarefulClient(
        address.host,
        address.port,
        username=topics.me,
        password=address.password,
        identifier=topics.me,
        tls_context=context,
        clean_session=True,
        logger=quiet_logger(),
        packets=PacketBudget(time.monotonic),
    ) as client:
        granted = await client.subscribe([(each, 0) for each in topics.subscriptions()])
        if any(each != 0 for each in granted):
            raise aiomqtt.MqttError("the broker refuses the topics of this network")


def _unreachable(address: BrokerAddress, why: str) -> TransientError:
    return TransientError(f"{address.host}:{address.port}: {why}", code="broker_unreachable")
