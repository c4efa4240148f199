"""What cannot be done in a round is said to the machine, and to people; only what a person must mend ends the node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from attest.agreement.effects import Abstain, Effects
from node.round.node import Node
from node.round.work import Brought
from riskschema.errors import FatalError, PlimsollError, TransientError

ROUND = "round"
"""The component that is not ready after a round without a report of this node."""
LONGEST_SECONDS = 30.0
"""Some work may take two slots (its messages count that long), or this where slots are shorter: a committee of one has
nobody to wait for it."""


async def guarded(node: Node, round_number: int, work: Callable[[], Awaitable[Brought]]) -> Brought:
    """Run some work of a round within its time; an expected failure is an abstention with its reason."""
    longest = max(2.0 * node.rules.committee.round_interval_seconds, LONGEST_SECONDS)
    try:
        async with asyncio.timeout(longest):
            return await work()
    except FatalError:
        raise
    except TimeoutError:
        step = node.status.step
        error: PlimsollError = TransientError(
            f"round {round_number} took {longest:g} s in step {step}", code="deadline"
        )
    except PlimsollError as raised:
        error = raised
    failure = error
    return lambda: fail(node, round_number, failure)


def fail(node: Node, round_number: int, error: PlimsollError) -> Effects:
    """Tell the machine that this node takes no further part in a round, and people why."""
    _note(node, error)
    return tuple(
        effect for effect in node.machine.on_failed(round_number, error.code) if not isinstance(effect, Abstain)
    )


async def abstain(node: Node, ended: Abstain) -> Effects:
    """Take note that a round ended without this node's report, or without a certificate."""
    _note(node, TransientError(f"round {ended.round} ended without a report", code=ended.code))
    return ()


def _note(node: Node, error: PlimsollError) -> None:
    node.metrics.round_ended("abstained")
    node.metrics.abstained(error.code)
    node.status.fail(ROUND, error.code, at=node.clock.now(), detail=error.message)
    node.ended.append(error)
