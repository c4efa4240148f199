"""How much one sender may send by one connection: whoever floods spends a budget of its own, and nobody else's.

A hostile broker can write any sender's name on its noise. What it spends is then that sender's budget at this broker;
what the same sender says by another broker is heard as before.
"""

from __future__ import annotations

from collections.abc import Callable

MESSAGES_PER_SLOT = 48
"""A round has three messages and a certificate of each sender, sent twice; the rest is catching up."""
BYTES_PER_SLOT = 8 * 1024 * 1024
"""Two proposals of the largest size, and answers to a node that catches up."""
SLOTS_SAVED = 2
"""Unused budget is kept for so many slots: bursts are normal, after a reconnection for example."""


class Budget:
    """Messages and bytes, refilled with time.

    Args:
        interval: Seconds of a slot.
        clock: Seconds that only go forward.
    """

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self._at = clock()
        self._messages = float(MESSAGES_PER_SLOT * SLOTS_SAVED)
        self._bytes = float(BYTES_PER_SLOT * SLOTS_SAVED)

    def spend(self, size: int) -> bool:
        """Take a message of `size` bytes off the budget; say whether there was enough."""
        now = self._clock()
        slots, self._at = (now - self._at) / self._interval, now
        self._messages = min(self._messages + slots * MESSAGES_PER_SLOT, MESSAGES_PER_SLOT * SLOTS_SAVED)
        self._bytes = min(self._bytes + slots * BYTES_PER_SLOT, BYTES_PER_SLOT * SLOTS_SAVED)
        if self._messages < 1 or self._bytes < size:
            return False
        self._messages -= 1
        self._bytes -= size
        return True


class Budgets:
    """One budget per (connection, claimed sender).

    Args:
        interval: Seconds of a slot.
        clock: Seconds that only go forward.
    """

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self._budgets: dict[tuple[str, int], Budget] = {}

    def spend(self, connection: str, sender: int, size: int) -> bool:
        """Take a message off a budget; say whether there was enough. Senders are those of the committee: bounded."""
        key = (connection, sender)
        budget = self._budgets.get(key)
        if budget is None:
            budget = self._budgets[key] = Budget(self._interval, self._clock)
        return budget.spend(size)
