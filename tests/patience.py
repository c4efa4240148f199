"""How long tests wait for what takes moments: only what hangs, however busy the machine is, meets this limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

HANG_SECONDS = 600.0
"""For one wait of a test; pytest's own limit for a whole test (pyproject.toml) is longer."""
POLL_SECONDS = 0.02


async def eventually(check: Callable[[], Awaitable[Found]]) -> Found:
    """Return the first answer that is true."""
    async with asyncio.timeout(HANG_SECONDS):
        while not (found := await check()):  # noqa: ASYNC110  # what is waited for happens in another program
            await asyncio.sleep(POLL_SECONDS)
        return found


def wait_until(check: Callable[[], Found]) -> Found:
    """Return the first answer that is true, without an event loop."""
    deadline = time.monotonic() + HANG_SECONDS
    while not (found := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not happen within {HANG_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    return found
