"""Payloads that were heard lately, by hash: what comes by several brokers, or again, is taken once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

MAX_REMEMBERED = 8_192
DIGEST_BYTES = 16


class Repetition:
    """Remembers for a while, and so much.

    Not for ever: what was refused because it came too early is heard again when its sender repeats it.

    Args:
        seconds: How long.
        clock: Seconds that only go forward.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def is_news(self, sender: int, channel: str, payload: bytes) -> bool:
        """Say whether this was not heard lately from this sender on this channel."""
        now = self._clock()
        while self._seen and (len(self._seen) >= MAX_REMEMBERED or self._oldest <= now - self._seconds):
            self._seen.popitem(last=False)
        return _digest(sender, channel, payload) not in self._seen

    def remember(self, sender: int, channel: str, payload: bytes) -> None:
        """Take note that this was heard."""
        self._seen[_digest(sender, channel, payload)] = self._clock()

    @property
    def _oldest(self) -> float:
        return next(iter(self._seen.values()))


def _digest(sender: int, channel: str, payload: bytes) -> bytes:
    salt, kind = sender.to_bytes(16, "big"), channel.encode()
    return blake2b(payload, digest_size=DIGEST_BYTES, salt=salt, person=kind).digest()
