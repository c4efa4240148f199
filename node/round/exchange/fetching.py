"""What this node asks others for, and how much it tells them: one report's state at a time, page by page."""

from __future__ import annotations

from collections import Counter

from attest.agreement.catch_up import StateDownload
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate
from attest.hours.hourly import HourRow
from attest.wire.messages import Answer, Part

PAGES_PER_SLOT = 32
"""Answers to one operator in one slot: so far below what it hears of one sender (`node/gossip/budgets.py`) that it also
hears what this node says of the round."""


class Fetch:
    """A state, then the hours that it commits to, asked of one operator.

    Args:
        certificate: Of the report, verified.
        peer: Who is asked.
    """

    def __init__(self, certificate: Certificate, peer: int) -> None:
        self.download = StateDownload(certificate)
        self.peer = peer
        self.state: AgreedState | None = None
        """Once all its pages are there and proved."""
        self.rows: list[HourRow] = []
        """Not proved yet."""
        self.next_hour = 0

    @property
    def part(self) -> Part:
        """What is asked for now."""
        return Part.STATE if self.state is None else Part.HOURS

    @property
    def start(self) -> int:
        """Where the next page begins."""
        return self.download.next_start if self.state is None else self.next_hour

    def awaits(self, sender: int, answer: Answer) -> bool:
        """Say whether an answer is the one that is waited for."""
        asked = (self.peer, self.part, self.download.reference, self.start)
        return (sender, answer.part, answer.reference, answer.start) == asked


class CatchUp:
    """Whom this node asked last, and whom it answered how often in this slot."""

    def __init__(self) -> None:
        self.fetch: Fetch | None = None
        self._asked = 0
        self._slot = 0
        self._answered: Counter[int] = Counter()

    def begin(self, certificate: Certificate, peers: tuple[int, ...]) -> Fetch:
        """Ask the next operator in turn: whoever did not answer is asked again after all others."""
        peer = peers[self._asked % len(peers)]
        self._asked += 1
        self.fetch = Fetch(certificate, peer)
        return self.fetch

    def may_answer(self, peer: int, slot: int) -> bool:
        """Count an answer; say whether it is within what a slot allows."""
        if slot != self._slot:
            self._slot = slot
            self._answered.clear()
        self._answered[peer] += 1
        return self._answered[peer] <= PAGES_PER_SLOT
