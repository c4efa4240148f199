"""Nodes of one process, or one node alone: every payload goes straight into the inboxes of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.gossip.inbox import Inbox
from node.gossip.transport import Arrival, Channel


class MemoryHub:
    """Connects the transports that it made."""

    def __init__(self) -> None:
        self._inboxes: dict[int, Inbox] = {}

    def join(self, me: int) -> MemoryTransport:
        """Return the transport of an operator; one that joins again gets nothing that came before."""
        self._inboxes[me] = inbox = Inbox()
        return MemoryTransport(self, me, inbox)

    def deliver(self, arrival: Arrival, to: int | None) -> None:
        """Put a payload before all others, or before one."""
        for operator, inbox in self._inboxes.items():
            if operator != arrival.sender and to in (None, operator):
                inbox.put("memory", arrival)


class MemoryTransport:
    """`node.gossip.transport.Transport` within a process.

    Args:
        hub: What carries it to the others.
        me: This operator.
        inbox: What others sent.
    """

    def __init__(self, hub: MemoryHub, me: int, inbox: Inbox) -> None:
        self._hub = hub
        self._me = me
        self._inbox = inbox

    def send(self, channel: Channel, payload: bytes, *, to: int | None = None) -> None:
        """Deliver at once."""
        self._hub.deliver(Arrival(sender=self._me, channel=channel, payload=payload), to)

    def repeat_on_connecting(self, said: Callable[[], Sequence[bytes]]) -> None:
        """Repeat nothing: within a process nobody is ever cut off."""

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._inbox.wait()

    def take(self) -> Arrival | None:
        """Return the next payload, if there is one."""
        return self._inbox.take()
