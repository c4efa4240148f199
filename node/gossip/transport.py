"""What the rounds ask of a transport: send to all, or to one; receive what others sent. Nothing more is believed of it.

A transport may lose, delay, repeat and reorder, and may show one node what it hides from another. Who said what is
proved by the payload alone; the sender given here is a claim, which decides whose budget a message spends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec


class Channel(StrEnum):
    """What kind of payload travels; the last but one level of an MQTT topic, and the name of its budget."""

    MESSAGE = "message"
    """A sealed message of an open round (`attest.wire.envelope`)."""
    CERTIFICATE = "certificate"
    """The highest certificate that the sender verified; brokers retain it."""
    PRESENCE = "presence"
    """The newest sign of life of the sender's key, kept by brokers: the only channel on which a node hears itself."""
    REQUEST = "request"
    """A question to one operator."""
    ANSWER = "answer"
    """The answer to one operator's question."""


RETAINED = frozenset({Channel.CERTIFICATE, Channel.PRESENCE})
"""Kept by brokers for who connects later; the newest of each sender."""
DIRECTED = frozenset({Channel.REQUEST, Channel.ANSWER})
"""Sent to one operator."""

MAX_PAYLOAD_BYTES: dict[Channel, int] = {
    Channel.MESSAGE: 2_097_152,
    Channel.CERTIFICATE: 8_192,
    Channel.PRESENCE: 65_536,
    Channel.REQUEST: 4_096,
    Channel.ANSWER: 2_098_176,
}
"""Anything larger is dropped before it is looked at."""
LARGEST_PAYLOAD_BYTES = max(MAX_PAYLOAD_BYTES.values())


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A payload that came in."""

    sender: int
    """Whose topic it came by: a claim."""
    channel: Channel
    payload: bytes


class Transport(Protocol):
    """The network as one node sees it."""

    def send(self, channel: Channel, payload: bytes, *, to: int | None = None) -> None:
        """Hand a payload to every broker that is reached, without waiting; one that is not is no error.

        Args:
            channel: What it is.
            payload: At most `MAX_PAYLOAD_BYTES` of its channel.
            to: The operator it is for, on a directed channel.
        """
        ...

    def repeat_on_connecting(self, said: Callable[[], Sequence[bytes]]) -> None:
        """Send the messages that `said` returns to every broker that is reached from now on: it may have lost them."""
        ...

    async def wait(self) -> None:
        """Wait until there is something to take; may be given up and asked again."""
        ...

    def take(self) -> Arrival | None:
        """Return the next payload, None: there is nothing; senders take turns, so that none keeps another waiting."""
        ...
