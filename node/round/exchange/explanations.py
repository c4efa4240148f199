"""Disagreements that this node finds the reason of, one at a time, and what it keeps to help others with theirs."""

from __future__ import annotations

from attest.agreement.effects import Disagreement
from attest.formats.header import report_hash
from attest.reports.differences import CertifiedLeaves, DifferentAccount
from attest.wire.messages import Answer, Part, ReportReference

PAUSE_SLOTS = 16
"""Between two explanations."""


class Explanation:
    """What is being found out about one disagreement.

    Args:
        found: The disagreement.
        peer: Who is asked.
    """

    def __init__(self, found: Disagreement, peer: int) -> None:
        self.found = found
        self.peer = peer
        self.reference = ReportReference(round=found.certified.round, report_hash=report_hash(found.certified))
        self.leaves = CertifiedLeaves(found.certified)
        self.account: DifferentAccount | None = None
        """Once it is known which one to look at."""

    @property
    def part(self) -> Part:
        """What is asked for now."""
        return Part.LEAVES if self.account is None else Part.PORTFOLIOS

    @property
    def start(self) -> int:
        """Where the next page begins."""
        return self.leaves.next_start if self.account is None else self.account.place or 0

    def awaits(self, sender: int, answer: Answer) -> bool:
        """Say whether an answer is the one that is waited for."""
        asked = (self.peer, self.part, self.reference, self.start)
        return (sender, answer.part, answer.reference, answer.start) == asked


class Explanations:
    """The explanation that is under way, and what is kept to help others with theirs."""

    def __init__(self) -> None:
        self.current: Explanation | None = None
        self._begun: int | None = None
        self._read_in = -1
        self._leaves: tuple[ReportReference, tuple[bytes, ...]] | None = None

    def begin(self, found: Disagreement, slot: int) -> Explanation | None:
        """Begin one, unless nobody can be asked or the last one is not long ago; each time another is asked."""
        recently = self._begun is not None and 0 <= slot - self._begun < PAUSE_SLOTS
        if recently or not found.peers:
            return None
        self._begun = slot
        self.current = Explanation(found, found.peers[slot % len(found.peers)])
        return self.current

    def kept_leaves(self, reference: ReportReference) -> tuple[bytes, ...] | None:
        """Return the leaves of the report that was asked for last."""
        return self._leaves[1] if self._leaves is not None and self._leaves[0] == reference else None

    def may_read(self, slot: int) -> bool:
        """Say whether the leaves of another report may be read from the store: once a slot, whoever asks."""
        if slot == self._read_in:
            return False
        self._read_in = slot
        return True

    def keep_leaves(self, reference: ReportReference, leaves: tuple[bytes, ...]) -> None:
        """Keep them for the next page."""
        self._leaves = (reference, leaves)
