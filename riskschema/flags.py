"""Reasons to read an assessment with care. `riskschema.reasons` has the words for each."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Flag(StrEnum):
    """A flag's place here is its bit in an account leaf: new ones go to the end, none is taken out."""

    HISTORY_SIMULATED = "history_simulated"
    HISTORY_SHORT = "history_short"
    HISTORY_FILLED = "history_filled"
    QUOTE_STALE = "quote_stale"
    VENUE_UNREAD = "venue_unread"
    UNPRICED = "unpriced"
    SATURATED = "saturated"

    @property
    def bit(self) -> int:
        """Its bit, counted from 0."""
        return _PLACES[self]


_PLACES = {flag: place for place, flag in enumerate(Flag)}


def flag_bits(flags: Iterable[Flag]) -> int:
    """Return the bitmap of flags as an account leaf holds it."""
    return sum(1 << flag.bit for flag in set(flags))


def flags_of(bits: int) -> tuple[Flag, ...]:
    """Return the flags of a bitmap by name; a bit that this release does not know has none."""
    return tuple(flag for flag in Flag if bits >> flag.bit & 1)
