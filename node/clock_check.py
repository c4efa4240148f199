"""Whether this machine's clock can be right: the chains are the only other clocks that a node sees.

What a key signs is bound to the slot of the clock, and the guard never goes back. One report signed for a slot a year
ahead, or a guard opened anew by such a clock, would keep the key silent for that year.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from attest.agreement.rules import AgreementRules
from riskschema.errors import FatalError, TransientError
from riskschema.portfolio import BlockReference

MOST_AHEAD_SECONDS = 3_600
"""Of the newest head: four times the age at which no block is pinned any more; finality may lag by a part of it."""
MOST_BEHIND_SECONDS = 60
"""No chain dates its blocks further ahead than some seconds."""


def check_clock(now: float, heads: Sequence[BlockReference]) -> None:
    """Refuse a clock that is far from the newest block.

    Args:
        now: What the clock says, Unix seconds.
        heads: The head of every chain that is read, at the finality that is configured.

    Raises:
        TransientError: (``clock_wrong``) by how much, and against which block.
    """
    newest = max(heads, key=lambda head: head.timestamp, default=None)
    if newest is None:
        return
    ahead = now - newest.timestamp
    block = f"block {newest.number} of chain {newest.chain_id}"
    if ahead > MOST_AHEAD_SECONDS:
        raise TransientError(
            f"this machine's clock is {_duration(ahead)} ahead of the newest block it can read, {block}: set the "
            "clock; if it is right, the chain or its endpoint stands still",
            code="clock_wrong",
        )
    if ahead < -MOST_BEHIND_SECONDS:
        raise TransientError(
            f"this machine's clock is {_duration(-ahead)} behind {block}: set the clock", code="clock_wrong"
        )


def check_first_round(rules: AgreementRules, first_round: int, now: float) -> None:
    """Refuse to wait for a round that only a wrong clock can have put so far ahead.

    Args:
        rules: The committee's.
        first_round: The lowest that may be signed.
        now: Unix seconds, checked before.

    Raises:
        FatalError: (``guard_ahead``) until when nothing could be signed.
    """
    start = rules.slot_start(first_round)
    # a right clock, too, leaves the rest of its own slot and the next one to wait for
    longest = max(MOST_AHEAD_SECONDS, 2 * rules.committee.round_interval_seconds)
    if start - max(now, rules.committee.genesis_time) > longest:
        raise FatalError(
            f"the key signed, or may have signed, for rounds up to {first_round - 1}, whose time comes "
            f"{datetime.fromtimestamp(start, UTC):%Y-%m-%d %H:%M} UTC: a clock was wrong. Start again then, or found a "
            "new contract (docs/operating.md, The clock); nothing else is safe",
            code="guard_ahead",
        )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
