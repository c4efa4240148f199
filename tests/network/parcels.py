"""What goes between operators, and what the weather does to it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from attest.agreement.state import AgreedState
from attest.wire.messages import ReportReference


@dataclass(frozen=True)
class Message:
    """A signed peer message."""

    payload: bytes


@dataclass(frozen=True)
class Passed:
    """A certificate that somebody passes on."""

    payload: bytes


@dataclass(frozen=True)
class Wanted:
    """The question for a certificate that somebody named."""

    asker: int
    reference: ReportReference


@dataclass(frozen=True)
class StateRequest:
    """The question for the state after a report."""

    asker: int
    reference: ReportReference


@dataclass(frozen=True)
class StateAnswer:
    """A state."""

    reference: ReportReference
    state: AgreedState


Parcel = Message | Passed | Wanted | StateRequest | StateAnswer


@dataclass(frozen=True)
class Weather:
    """What the network does to a parcel."""

    loss: float = 0.0
    doubling: float = 0.0
    longest_delay_ms: int = 400
    parts: tuple[frozenset[int], ...] = ()
    """Operators of different groups do not hear each other; none: all are connected."""
    deaf: frozenset[int] = frozenset()
    """Operators whose brokers show them nothing."""
    slow: tuple[int | None, ...] = (0,)
    """How long an assessment takes, milliseconds; None: it fails."""
    crashes: float = 0.0

    def carries(self, sender: int, receiver: int) -> bool:
        """Say whether there is a way between two operators."""
        if receiver in self.deaf:
            return False
        return not self.parts or any(sender in part and receiver in part for part in self.parts)


CALM = Weather()


def stormy(random: Random, n: int, interval_ms: int) -> Weather:
    """Draw bad weather."""
    everyone = random.sample(range(n), n)
    cut = random.randint(1, n - 1)
    return Weather(
        loss=random.choice([0.0, 0.0, 0.1, 0.4]),
        doubling=random.choice([0.0, 0.2]),
        longest_delay_ms=random.choice([500, 3_000, 15_000]),
        parts=(frozenset(everyone[:cut]), frozenset(everyone[cut:])) if random.random() < 0.2 else (),
        deaf=frozenset(everyone[:1]) if random.random() < 0.2 else frozenset(),
        slow=random.choice([(0,), (0, 0, 0, 1_000, 4_000, None), (interval_ms * 21 // 20, interval_ms * 8 // 5)]),
        crashes=random.choice([0.0, 0.0, 0.005, 0.02]),
    )
