"""How much one sender may send by one connection, and a broker in all: whoever floods spends a budget of its own.

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
PACKETS_PER_SECOND = 250
PACKETS_SAVED = 8_000
"""Of a connection, whoever sent them and whatever they are: 31 operators that spend all their budgets in slots of six
seconds send as many. A packet that is dropped for its sender's budget was read and parsed all the same."""


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


class PacketBudget:
    """Packets of one broker, however often it is reached anew.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self._packets = float(PACKETS_SAVED)
        self.exceeded = False
        """More came than was left; whoever does something about it takes this back."""

    def spend(self) -> bool:
        """Take a packet off the budget; say whether there was one left."""
        now = self._clock()
        self._packets = min(self._packets + (now - self._at) * PACKETS_PER_SECOND, float(PACKETS_SAVED))
        self._at = now
        if self._packets < 1:
            self.exceeded = True
            return False
        self._packets -= 1
        return True
