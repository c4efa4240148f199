"""Clocks of the publisher's tests: its limits are minutes, its waits are moments."""

from __future__ import annotations

import asyncio
import time

MOMENT = 0.03


class WallClock:
    """Time as it passes."""

    def now(self) -> float:
        return time.time()

    async def sleep_until(self, timestamp: float) -> None:
        await asyncio.sleep(max(0.0, timestamp - time.time()))


class SkippingClock:
    """A clock whose sleeper wakes up a moment later and finds that the time has come.

    What a publisher does before a deadline depends on how often it may look, not on how fast the machine is.
    """

    def __init__(self) -> None:
        self._skipped = 0.0

    def now(self) -> float:
        return time.time() + self._skipped

    async def sleep_until(self, timestamp: float) -> None:
        await asyncio.sleep(MOMENT)
        self._skipped += max(0.0, timestamp - self.now())
