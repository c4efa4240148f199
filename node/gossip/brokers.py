"""Several brokers as one transport: publish to all, hear from all, take each payload once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from node.gossip.budgets import Budgets
from node.gossip.connection import BrokerAddress, Connection
from node.gossip.inbox import Inbox
from node.gossip.repetition import Repetition
from node.gossip.topics import Topics
from node.gossip.transport import MAX_PAYLOAD_BYTES, RETAINED, Arrival, Channel
from node.status import NodeStatus
from riskschema.ports import Clock

HEARD_SLOTS = 0.25
"""How long a payload counts as heard: it comes by all brokers within that, and is repeated after half a slot."""


@asynccontextmanager
async def open_brokers(
    addresses: Sequence[BrokerAddress], topics: Topics, *, interval: float, status: NodeStatus, clock: Clock
) -> AsyncIterator[BrokerTransport]:
    """Connect to all brokers, and again whenever a connection ends, until the context is left.

    Args:
        addresses: The brokers.
        topics: Of the committee.
        interval: Seconds of a slot.
        status: Learns which brokers are not reached.
        clock: For the status.
    """
    transport = BrokerTransport(addresses, topics, interval=interval, status=status, clock=clock)
    keepers = [asyncio.create_task(connection.keep()) for connection in transport.connections]
    for keeper in keepers:
        keeper.add_done_callback(transport.end)
    try:
        yield transport
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


class BrokerTransport:
    """`node.gossip.transport.Transport` over MQTT brokers. Made by `open_brokers`."""

    def __init__(
        self,
        addresses: Sequence[BrokerAddress],
        topics: Topics,
        *,
        interval: float,
        status: NodeStatus,
        clock: Clock,
    ) -> None:
        self._topics = topics
        self._inbox = Inbox()
        self._budgets = Budgets(interval, time.monotonic)
        self._excess: dict[str, Counter[int]] = {}
        self._repetition = Repetition(HEARD_SLOTS * interval, time.monotonic)
        self._retained: dict[str, bytes] = {}
        self._said: Callable[[], Sequence[bytes]] = tuple
        self.dropped: Counter[str] = Counter()
        """Payloads that were not looked at, by the reason: ``foreign``, ``too_large``, ``budget``, ``full``."""
        self.connections = tuple(
            Connection(
                address,
                user=topics.me,
                subscriptions=topics.subscriptions,
                loudest=self._loudest,
                take=self._take,
                greet=self._greeting,
                status=status,
                clock=clock,
            )
            for address in addresses
        )

    def send(self, channel: Channel, payload: bytes, *, to: int | None = None) -> None:
        """Publish to every broker that is connected."""
        if len(payload) > MAX_PAYLOAD_BYTES[channel]:
            raise ValueError(f"a {channel} of {len(payload)} bytes")
        topic = self._topics.topic(channel, to)
        retain = channel in RETAINED
        if retain:
            self._retained[topic] = payload
        for connection in self.connections:
            connection.publish(topic, payload, retain=retain)

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._inbox.wait()

    def take(self) -> Arrival | None:
        """Return the next payload, if there is one."""
        return self._inbox.take()

    def end(self, keeper: asyncio.Task[None]) -> None:
        """Let a defect in keeping a connection end the rounds, too, instead of making them deaf."""
        if not keeper.cancelled() and (defect := keeper.exception()) is not None:
            self._inbox.fail(defect)

    def repeat_on_connecting(self, said: Callable[[], Sequence[bytes]]) -> None:
        """Send what `said` returns to every broker that is reached from now on."""
        self._said = said

    def _greeting(self) -> Sequence[tuple[str, bytes, bool]]:
        """Return what a broker should keep of this node, and what open rounds lack if it was away."""
        kept = [(topic, payload, True) for topic, payload in self._retained.items()]
        topic = self._topics.topic(Channel.MESSAGE, None)
        return (*kept, *((topic, payload, False) for payload in self._said()))

    def _loudest(self, broker: str) -> int | None:
        """Return who sent most beyond its budget by a broker since this was asked last; None: nobody did."""
        return next((sender for sender, _ in self._excess.pop(broker, Counter()).most_common(1)), None)

    def _take(self, broker: str, topic: str, payload: bytes) -> None:
        """Drop what is not worth a look, from cheap to dear; keep the rest for the rounds."""
        known = self._topics.read(topic)
        if known is None:
            self.dropped["foreign"] += 1
            return
        sender, channel = known
        if len(payload) > MAX_PAYLOAD_BYTES[channel]:
            self.dropped["too_large"] += 1
        elif not self._budgets.spend(broker, sender, len(payload)):
            self.dropped["budget"] += 1
            self._excess.setdefault(broker, Counter())[sender] += 1
        elif self._repetition.is_news(sender, channel, payload):
            # remembered only where it is kept: what one broker's noise displaced comes by the others
            if self._inbox.put(broker, Arrival(sender=sender, channel=channel, payload=payload)):
                self._repetition.remember(sender, channel, payload)
            else:
                self.dropped["full"] += 1
