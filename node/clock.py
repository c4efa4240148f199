"""The machine's clock behind the `Clock` port."""

from __future__ import annotations

import asyncio
import time

LONGEST_SLEEP_SECONDS = 1.0


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    async def sleep_until(self, timestamp: float) -> None:
        """Wait until `timestamp`, looking at the clock every second: it may be set meanwhile."""
        while (remaining := timestamp - time.time()) > 0:  # noqa: ASYNC110 - a timer may fire a little early
            await asyncio.sleep(min(remaining, LONGEST_SLEEP_SECONDS))
