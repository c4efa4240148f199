"""Questions to one operator, and answers to it, signed."""

from __future__ import annotations

from attest.wire.envelope import seal
from attest.wire.messages import Answer, Part, ReportReference, Request
from node.gossip.transport import Channel
from node.round.node import Node


def ask(node: Node, peer: int, part: Part, reference: ReportReference, start: int) -> None:
    """Ask an operator for a page of what it keeps of a report."""
    request = Request(recipient=peer, part=part, reference=reference, start=start)
    node.transport.send(Channel.REQUEST, sealed(node, request), to=peer)


def sealed(node: Node, body: Request | Answer) -> bytes:
    """Return a whole message of this slot."""
    return seal(
        body,
        config_digest=node.rules.config_digest,
        round_number=node.machine.current_round,
        sender=node.me,
        sign=node.sign,
    )
