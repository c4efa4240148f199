"""Stopping a node: between two steps, so that the one under way finishes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from riskschema.rounds import RoundStep


class Stopping(Exception):
    """Raised between two steps once a stop was asked for."""


class StopRequest:
    """Whether somebody asked the node to stop; checked between steps, so that the step under way finishes."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Ask for a stop."""
        self._asked.set()

    async def check(self, _step: RoundStep, _round: int) -> None:
        """Raise `Stopping` once a stop was asked for."""
        if self._asked.is_set():
            raise Stopping

    async def sleep(self, waiting: Awaitable[None]) -> None:
        """Wait.

        Raises:
            Stopping: a stop was asked for first.
        """
        sleeper = asyncio.ensure_future(waiting)
        stopper = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({sleeper, stopper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleeper, stopper):
                task.cancel()
            await asyncio.gather(sleeper, stopper, return_exceptions=True)
        if self._asked.is_set():
            raise Stopping
        sleeper.result()


@asynccontextmanager
async def stop_on_signals(stop: StopRequest) -> AsyncIterator[None]:
    """Let SIGINT and SIGTERM ask for a stop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.ask)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
