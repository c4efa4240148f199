"""The service around the rounds: enter each slot, run its round, say why when there is none, stop between steps."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from attest.agreement.effects import Effects
from attest.agreement.machine import STEP_BACK_SLOTS
from attest.formats.certificate import decode_certificate
from attest.formats.committee import round_at
from node.round.effects import rounds_begun
from node.round.node import Node
from node.round.round import RoundResult, run_round
from riskschema.errors import FatalError, InvalidData, PlimsollError, TransientError
from riskschema.rounds import RoundStep

LONGEST_ROUND_SECONDS = 30.0
"""A round may take two slots (its messages count that long), or this where slots are shorter: a committee of one has
nobody to wait for it."""
ATTEMPTS_ONCE = 5
ROUND = "round"

_log = structlog.get_logger("node.service")


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

    async def sleep(self, waiting: Awaitable[None]) -> None:
        """Wait.

        Raises:
            Stopping: a stop was asked for first.
        """
        sleeper = asyncio.ensure_future(waiting)
        stopper = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({sleeper, stopper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleeper, stopper):
                task.cancel()
            await asyncio.gather(sleeper, stopper, return_exceptions=True)
        if self._asked.is_set():
            raise Stopping
        sleeper.result()


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
    try:
        await _send_last_report(node)
        effects = await _enter_first_slot(node, stop)
        attempts = 0
        while True:
            for begun in rounds_begun(effects):
                attempts += 1
                ended = await _attempt(node, begun, once=once)
                if once and isinstance(ended, PlimsollError) and (attempts >= ATTEMPTS_ONCE or not _may_pass(ended)):
                    raise ended
                if isinstance(ended, RoundResult):
                    if on_round is not None:
                        on_round(ended)
                    if once:
                        return ended
            effects = await _next_slot(node, stop)
    except Stopping:
        return None


def _may_pass(error: PlimsollError) -> bool:
    """Tell a failure that another round may not meet from one that a person should look at."""
    return not isinstance(error, InvalidData)


async def _attempt(node: Node, effects: Effects, *, once: bool) -> RoundResult | PlimsollError:
    """Run one round; an expected failure is an abstention with its reason."""
    longest = max(2.0 * node.rules.committee.round_interval_seconds, LONGEST_ROUND_SECONDS)
    error: PlimsollError
    try:
        async with asyncio.timeout(None if once else longest):  # once: the publisher's own deadline may be longer
            result = await run_round(node, effects, until_landed=once)
    except TimeoutError:
        error = TransientError(
            f"round {node.status.round} took longer than {longest:g} s and was in step {node.status.step}",
            code="deadline",
        )
    except FatalError:
        raise
    except PlimsollError as raised:
        error = raised
    else:
        node.metrics.round_ended("certified")
        node.status.recover(ROUND, at=node.clock.now())
        return result.landing if once and isinstance(result.landing, PlimsollError) else result
    node.machine.on_failed(node.status.round or 0, error.code)
    node.metrics.round_ended("abstained")
    node.metrics.abstained(error.code)
    node.status.fail(ROUND, error.code, at=node.clock.now(), detail=error.message)
    return error


async def _enter_first_slot(node: Node, stop: StopRequest) -> Effects:
    """Take up the stored messages of the open rounds; wait for genesis and for the first round that is free."""
    first = node.first_round
    start = node.rules.slot_start(first)
    if start - node.clock.now() > 2 * node.rules.committee.round_interval_seconds:
        _log.info("waiting for the first round", round=first, starts=start)
    await stop.sleep(node.clock.sleep_until(start))
    now = max(node.clock.now(), float(start))
    slot = round_at(node.rules.committee, int(now))
    payloads = [
        message.payload
        for number in (slot - 1, slot)
        if number >= first
        for message in await node.store.messages(node.config_digest, number)
    ]
    return node.machine.on_restart(int(1_000 * now), payloads)


async def _next_slot(node: Node, stop: StopRequest) -> Effects:
    """Wait for the next slot; its round begins with the effects.

    The clock is read anew at least once an interval: where one reading was wrong, the machine turns back.
    """
    committee = node.rules.committee
    while True:
        now, start = node.clock.now(), node.rules.slot_start(node.machine.current_round + 1)
        if 1_000 * now >= node.machine.next_wake():
            return node.machine.on_tick(int(1_000 * now))
        if start - now > (STEP_BACK_SLOTS + 1) * committee.round_interval_seconds and now >= committee.genesis_time:
            _log.warning("clock went back", seconds=round(start - now))
            return node.machine.on_tick(int(1_000 * now))
        with suppress(TimeoutError):  # by the event loop's own time: a wait until a wrong reading has an end
            await stop.sleep(asyncio.wait_for(node.clock.sleep_until(start), committee.round_interval_seconds))


async def _send_last_report(node: Node) -> None:
    """Publish the last certified report, if it has not expired: a crash may have come before its transaction."""
    last = await node.store.latest_certified(node.config_digest)
    if last is None or last.certificate is None:
        return
    certificate = decode_certificate(last.certificate)
    node.status.certify(last.round, at=certificate.header.observed_at)
    if node.transmitter is not None and certificate.header.valid_until > node.clock.now():
        await node.transmitter.send(certificate, patience=0.0)
