"""The service around the rounds: enter each slot, run its round, say why when there is none, stop between steps."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from attest.certificate import decode_certificate
from attest.effects import Effects
from node.node import Node
from node.rounds import RoundResult, publish, run_round
from riskschema.errors import InvalidData, PlimsollError, TransientError
from riskschema.rounds import RoundStep

_log = structlog.get_logger("node.service")

LONGEST_ROUND_SECONDS = 30.0
"""A round may take two slots (its messages count that long), or this where slots are shorter: a committee of one has
nobody to wait for it."""
ATTEMPTS_ONCE = 5
ROUNDS = "round"


class Stopping(Exception):
    """Raised between two steps once a stop was asked for."""


class StopRequest:
    """Whether somebody asked the node to stop; checked between steps, so that the step under way finishes."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Ask for a stop."""
        self._asked.set()

    async def check(self, _step: RoundStep, _round: int) -> None:
        """Raise `Stopping` once a stop was asked for."""
        if self._asked.is_set():
            raise Stopping

    async def sleep(self, waiting: Awaitable[None]) -> bool:
        """Wait for `waiting` or a stop; return False when it was a stop."""
        sleeper = asyncio.ensure_future(waiting)
        stopper = asyncio.ensure_future(self._asked.wait())
        await asyncio.wait({sleeper, stopper}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sleeper, stopper):
            task.cancel()
        await asyncio.gather(sleeper, stopper, return_exceptions=True)
        return not self._asked.is_set()


@asynccontextmanager
async def stop_on_signals(stop: StopRequest) -> AsyncIterator[None]:
    """Let SIGINT and SIGTERM ask for a stop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.ask)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def run_rounds(
    node: Node, stop: StopRequest, *, once: bool = False, on_round: Callable[[RoundResult], None] | None = None
) -> RoundResult | None:
    """Run a round in every slot until a stop is asked for.

    Args:
        node: Opened by `node.composition`.
        stop: Checked between steps and slots.
        once: Return after the first round whose report landed.
        on_round: Called after each finished round.

    Returns:
        The round, with `once`; None after a stop.

    Raises:
        PlimsollError: with `once`, why no round finished; FatalError always.
    """
    failures = 0
    try:
        await _finish_publishing(node)
        effects = await _enter_first_slot(node, stop)
        while True:
            result = await _attempt(node, effects, give_up=once and failures + 1 >= ATTEMPTS_ONCE)
            failures += result is None
            if result is not None and on_round is not None:
                on_round(result)
            if result is not None and once:
                return result
            effects = await _next_slot(node, stop)
    except Stopping:
        return None


async def _attempt(node: Node, effects: Effects, *, give_up: bool) -> RoundResult | None:
    """Run one round; an expected failure is an abstention with a reason, unless it is time to give up."""
    longest = max(2.0 * node.rules.committee.round_interval_seconds, LONGEST_ROUND_SECONDS)
    try:
        async with asyncio.timeout(longest):
            result = await run_round(node, effects)
    except TimeoutError:
        error: PlimsollError = TransientError(f"the round took longer than {longest:g} s", code="deadline")
    except (TransientError, InvalidData) as raised:
        error = raised
    else:
        node.metrics.round_ended("certified")
        node.status.recover(ROUNDS, at=node.clock.now())
        return result
    node.metrics.round_ended("abstained")
    node.metrics.abstained(error.code)
    node.status.fail(ROUNDS, error.code, at=node.clock.now(), detail=error.message)
    if give_up:
        raise error
    return None


async def _enter_first_slot(node: Node, stop: StopRequest) -> Effects:
    """Take up the stored messages of the open rounds; wait for genesis and for the guard's first free round."""
    first = max(node.first_round, 1)
    if not await stop.sleep(node.clock.sleep_until(node.rules.slot_start(first))):
        raise Stopping
    now = int(node.clock.now())
    slot = (now - node.rules.committee.genesis_time) // node.rules.committee.round_interval_seconds
    payloads = [
        message.payload
        for number in (slot - 1, slot)
        if number >= first
        for message in await node.store.messages(node.network, number)
    ]
    effects = node.machine.on_restart(now, payloads)
    return effects or await _next_slot(node, stop)


async def _next_slot(node: Node, stop: StopRequest) -> Effects:
    """Wait for the next slot; its round begins with the effects."""
    start = node.rules.slot_start(node.machine.current_round + 1)
    if not await stop.sleep(node.clock.sleep_until(start)):
        raise Stopping
    return node.machine.on_tick(int(node.clock.now()))


async def _finish_publishing(node: Node) -> None:
    """Publish the last certified report if a crash came before its transaction, and it has not expired."""
    last = await node.store.latest_certified(node.network)
    if last is None or last.certificate is None:
        return
    certificate = decode_certificate(last.certificate)
    node.status.certify(last.round, at=certificate.header.observed_at)
    if node.publisher is None or certificate.header.valid_until <= node.clock.now():
        return
    try:
        await publish(node, certificate)
    except (TransientError, InvalidData) as error:
        # The report may have landed before the crash; the next round publishes a newer one anyway.
        _log.warning("the last report was not published again", round=last.round, reason=error.code)
