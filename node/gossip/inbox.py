"""What came in and was not looked at yet: bounded for each sender and connection, which take turns.

A broker may write any sender's name on its noise; what it fills is that sender's place at this broker.
"""

from __future__ import annotations

import asyncio
from collections import deque

from node.gossip.transport import Arrival

MAX_WAITING = 64
MAX_WAITING_BYTES = 8 * 1024 * 1024
"""For each sender by each connection; beyond, the newest is dropped: an honest sender repeats what matters."""


_Origin = tuple[str, int]
"""A connection, and the sender that a payload names."""


class _Waiting:
    def __init__(self) -> None:
        self.arrivals: deque[Arrival] = deque()
        self.bytes = 0


class Inbox:
    """A queue for each sender and connection, emptied in turns."""

    def __init__(self) -> None:
        self._queues: dict[_Origin, _Waiting] = {}
        self._turns: deque[_Origin] = deque()
        self._filled = asyncio.Event()
        self._defect: BaseException | None = None

    def put(self, connection: str, arrival: Arrival) -> bool:
        """Keep a payload; say whether there was room."""
        origin = (connection, arrival.sender)
        waiting = self._queues.setdefault(origin, _Waiting())
        size = len(arrival.payload)
        if len(waiting.arrivals) >= MAX_WAITING or waiting.bytes + size > MAX_WAITING_BYTES:
            return False
        if not waiting.arrivals:
            self._turns.append(origin)
        waiting.arrivals.append(arrival)
        waiting.bytes += size
        self._filled.set()
        return True

    async def wait(self) -> None:
        """Wait until there is a payload.

        Raises:
            Exception: the defect because of which nothing more will come.
        """
        while not self._turns:
            if self._defect is not None:
                raise self._defect
            self._filled.clear()
            await self._filled.wait()

    def take(self) -> Arrival | None:
        """Return a payload of the queue that was served longest ago; None: there is nothing."""
        if not self._turns:
            return None
        origin = self._turns.popleft()
        waiting = self._queues[origin]
        arrival = waiting.arrivals.popleft()
        waiting.bytes -= len(arrival.payload)
        if waiting.arrivals:
            self._turns.append(origin)
        return arrival

    def fail(self, defect: BaseException) -> None:
        """Let whoever waits know that nothing more will come, and why."""
        self._defect = defect
        self._filled.set()
