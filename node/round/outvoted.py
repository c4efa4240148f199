"""Whose prices a round outvoted: a vote is when agreed value and vote lie outside of each other's confidence.

Nothing is decided by it: the median leaves such votes without effect. But an operator wants to know that its market
data is off, and the others whose is.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from attest.agreement.outcome import AgreedValue, Outcome
from attest.wire.messages import FactorVote
from node.round.node import Node

_log = structlog.get_logger("node.outvoted")


def note_outvoted(node: Node, outcome: Outcome) -> None:
    """Count the votes of all operators that a round outvoted; name this node's when that begins and ends."""
    for operator, votes in node.peers.votes(outcome.round).items():
        node.peers.outvoted(operator, len(outvoted(votes, outcome.values)))
    own = {value.factor: vote for vote, value in outvoted(node.recent_votes, outcome.values)}
    agreed = {value.factor: value for value in outcome.values}
    for factor in sorted(own.keys() - node.outvoted):
        _log.warning(
            "price outvoted",
            factor=factor,
            own=own[factor].value.wire(),
            agreed=agreed[factor].value.wire(),
            sources=node.recent_sources.get(factor, ()),
            round=outcome.round,
        )
    for factor in sorted(node.outvoted - own.keys()):
        _log.info("price agrees again", factor=factor, round=outcome.round)
    node.outvoted.clear()
    node.outvoted.update(own)
    node.metrics.outvoted(own)


def outvoted(votes: Iterable[FactorVote], values: Iterable[AgreedValue]) -> list[tuple[FactorVote, AgreedValue]]:
    """Return the votes far from what was agreed, with that."""
    agreed = {value.factor: value for value in values if not value.stale}
    pairs = ((vote, agreed[vote.factor]) for vote in votes if vote.factor in agreed)
    return [
        (vote, value) for vote, value in pairs if abs(vote.value - value.value) > max(vote.confidence, value.confidence)
    ]
