"""Who is asked about in a round in which nothing happened, so that an index that is wrong about somebody is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import structlog

from riskschema.instruments import VenueId
from riskschema.portfolio import BlockReference

SAMPLE, ROUNDS = 8, 32
"""Of a group one in `ROUNDS` is asked about, at least `SAMPLE`."""

T = TypeVar("T")

_log = structlog.get_logger("adapters")


def drawn(candidates: Sequence[T], block: BlockReference, *, rounds: int = ROUNDS) -> Sequence[T]:
    """Return whose turn it is: nobody could know before the block."""
    if not candidates:
        return ()
    count = min(len(candidates), max(SAMPLE, -(-len(candidates) // rounds)))
    first = int(block.hash, 16) % len(candidates)
    return (*candidates, *candidates)[first : first + count]


class Trust:
    """Whether what the index of a venue says is what its contracts say; the log has each change once.

    Args:
        venue: Whose index it is.
    """

    def __init__(self, venue: VenueId) -> None:
        self._venue = venue
        self._contradicted = False

    def note(self, contradicted: bool) -> None:
        """Note whether the contracts contradicted the index."""
        if contradicted and not self._contradicted:
            _log.warning("index contradicted", venue=self._venue)
        elif self._contradicted and not contradicted:
            _log.info("index agrees again", venue=self._venue)
        self._contradicted = contradicted
