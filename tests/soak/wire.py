"""A network in memory that loses, delays, doubles and reorders what operators send each other, and falls apart."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from attest.agreement.state import AgreedState
from attest.wire.messages import ReportReference


@dataclass(frozen=True)
class Message:
    """A signed peer message."""

    payload: bytes


@dataclass(frozen=True)
class PassedCertificate:
    """A certificate that somebody holds."""

    payload: bytes


@dataclass(frozen=True)
class StateRequest:
    """Whoever knows the state after a report may send it."""

    asker: int
    reference: ReportReference


@dataclass(frozen=True)
class StateAnswer:
    """A state, and the certificate of its report where the sender has it."""

    reference: ReportReference
    certificate: bytes
    state: AgreedState


Parcel = Message | PassedCertificate | StateRequest | StateAnswer


@dataclass(frozen=True)
class Weather:
    """What the network does to a parcel; delays in seconds."""

    loss: float
    doubling: float
    longest_delay: float
    partition: tuple[frozenset[int], ...] = ()
    """Operators of different groups do not hear each other; none: all are connected."""

    def connects(self, sender: int, receiver: int) -> bool:
        """Say whether there is a way between two operators."""
        return not self.partition or any({sender, receiver} <= group for group in self.partition)


CALM = Weather(loss=0.0, doubling=0.1, longest_delay=0.8)


class Wire:
    """Parcels under way, delivered in the order of their random times of arrival."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._under_way: list[tuple[float, int, int, Parcel]] = []
        self._count = 0
        self.weather = CALM

    def send(self, sender: int, receivers: Iterable[int], parcel: Parcel, now: float) -> None:
        """Send to each of the receivers; what arrives is the weather's business."""
        for receiver in receivers:
            if not self.weather.connects(sender, receiver) or self._random.random() < self.weather.loss:
                continue
            for _ in range(1 + (self._random.random() < self.weather.doubling)):
                arrival = now + self._random.random() * self.weather.longest_delay
                self._count += 1
                heapq.heappush(self._under_way, (arrival, self._count, receiver, parcel))

    def arrived(self, now: float) -> Iterable[tuple[float, int, Parcel]]:
        """Take out what has arrived: time, receiver, parcel."""
        while self._under_way and self._under_way[0][0] <= now:
            arrival, _, receiver, parcel = heapq.heappop(self._under_way)
            yield arrival, receiver, parcel
