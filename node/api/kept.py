"""Bytes that are made anew once a second at most, however many ask for them."""

from __future__ import annotations

from collections.abc import Callable

from riskschema.ports import Clock

KEEP_SECONDS = 1.0


class Kept:
    """What `make` returned last, for a second.

    Args:
        make: From Unix seconds to the bytes; never awaited, so nobody asks meanwhile.
        clock: Time.
    """

    def __init__(self, make: Callable[[float], bytes], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._body = b""
        self._made_at: float | None = None

    def get(self) -> bytes:
        """Return the bytes."""
        now = self._clock.now()
        if self._made_at is None or not 0 <= now - self._made_at < KEEP_SECONDS:
            self._body, self._made_at = self._make(now), now
        return self._body
