"""A node that lies, a process of its own: what `./run --faulty` starts. No node imports it, and no committee has one.

It runs the same program as everybody, with a key of its own and without what keeps an honest node honest: between its
rounds and the brokers something changes, hides or delays what it says. Its lies take turns, by round.

It is for people who want to see lies being named, so it does what a changed program could do and no more. What tests
need beside that (partners in one hand, floods of noise, shares over reports of others, when a broker delivered what) is
in `tests/network/lying_operator.py`, which nobody who installs the program gets.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import msgspec

from attest.wire.envelope import Envelope, open_body, read_envelope, seal
from attest.wire.messages import FactorVote, MessageKind, Observation, Proposal
from node.commands.run_node import stop_with_input
from node.composition import open_node
from node.gossip.transport import Arrival, Channel, Transport
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest, stop_on_signals
from node.round.assessing import warm_up
from node.round.node import Node
from node.settings import load_settings
from node.telemetry import configure_logging
from riskschema.units import Wad

LATE_SLOTS = 1.5
"""How long after it learned of a certificate the liar passes it on, where it does at all."""


class Lie(StrEnum):
    """What a liar does in a round."""

    TWO_STORIES = "two stories"
    """Two observations and, where it leads, two proposals: each valid, each signed."""
    INVENTED = "invented factors"
    """A factor that nobody else knows, and twice the price of another; no proposal where it leads."""
    HIDING = "hiding"
    """No share, and the certificate late or not at all."""


class LyingTransport:
    """`node.gossip.transport.Transport` that tells others something else than the node said.

    Args:
        node: Whose key signs the lies; its guard is not asked.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._honest: Transport = node.transport
        self._interval = node.rules.committee.round_interval_seconds

    def send(self, channel: Channel, payload: bytes, *, to: int | None = None) -> None:
        """Send lies in the place of a message, or with it."""
        if channel is Channel.CERTIFICATE:
            if self._lie_of(self._node.machine.current_round) is Lie.HIDING:
                loop = asyncio.get_running_loop()
                loop.call_later(LATE_SLOTS * self._interval, lambda: self._honest.send(channel, payload))
                return
        elif channel is Channel.MESSAGE:
            for told in self._told(read_envelope(payload)):
                self._honest.send(channel, told)
            return
        self._honest.send(channel, payload, to=to)

    def repeat_on_connecting(self, said: Callable[[], Sequence[bytes]]) -> None:
        """Let the node repeat what it keeps: what it said before it lied."""
        self._honest.repeat_on_connecting(said)

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._honest.wait()

    def take(self) -> Arrival | None:
        """Return the next payload, if there is one."""
        return self._honest.take()

    def _lie_of(self, round_number: int) -> Lie:
        return tuple(Lie)[(round_number + self._node.me) % len(Lie)]

    def _told(self, said: Envelope) -> Sequence[bytes]:
        """Return what others hear in the place of a message."""
        lie, body = self._lie_of(said.round), open_body(said)
        match lie, body:
            case Lie.TWO_STORIES, Observation():
                other = msgspec.structs.replace(body, clock_ms=body.clock_ms + 1)
                return (said.payload, self._seal(other, said.round))
            case Lie.TWO_STORIES, Proposal():
                other_proposal = msgspec.structs.replace(body, observations=body.observations[:-1])
                return (said.payload, self._seal(other_proposal, said.round))
            case Lie.INVENTED, Observation():
                return (self._seal(_invented(body, said.round), said.round),)
            case Lie.INVENTED, Proposal():
                return ()
            case Lie.HIDING, _ if said.kind is MessageKind.SHARE:
                return ()
        return (said.payload,)

    def _seal(self, body: Observation | Proposal, round_number: int) -> bytes:
        rules = self._node.rules
        digest = rules.config_digest
        return seal(body, config_digest=digest, round_number=round_number, sender=self._node.me, sign=self._node.sign)


def _invented(honest: Observation, round_number: int) -> Observation:
    """Return an observation with a factor of nobody's, and with another value of the first one."""
    first, *others = honest.votes
    doubled = msgspec.structs.replace(first, value=Wad(2 * first.value))
    invented = FactorVote(factor=f"INVENTED{round_number}", value=Wad(10**18), confidence=Wad(10**15))
    votes = sorted((doubled, *others, invented), key=lambda vote: vote.factor)
    return msgspec.structs.replace(honest, votes=tuple(votes))


async def lie(config: Path) -> None:
    """Take part in the rounds of a committee, lying, until a signal or until standard input ends."""
    configure_logging(json=True)
    stop = StopRequest()
    stop_with_input(stop)
    async with (
        stop_on_signals(stop),
        open_node(load_settings(config), config.parent, before_step=stop.check) as node,
    ):
        await warm_up(node)
        await run_rounds(replace(node, transport=LyingTransport(node)), stop)


if __name__ == "__main__":
    asyncio.run(lie(Path(sys.argv[1])))
