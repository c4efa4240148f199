"""The loop: it alone feeds the round machine, and does what the machine asks for. To follow a round read `round.py`.

What comes next is, in this order: what this node worked out itself, the time, and what others say. A committee of one
runs the same loop with a transport in memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from attest.agreement.effects import Effects
from attest.agreement.machine import STEP_BACK_SLOTS
from attest.agreement.state_format import decode_state
from attest.formats.certificate import decode_certificate
from attest.formats.committee import round_at
from node.loop.hearing import hear
from node.loop.stopping import Stopping, StopRequest
from node.round.certified import hand_on
from node.round.failing import fail
from node.round.node import Node
from node.round.result import RoundEnd, RoundResult
from node.round.round import perform
from riskschema.errors import FatalError, InvalidData, PlimsollError

ATTEMPTS_ONCE = 5

_log = structlog.get_logger("node.loop")


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
    node.work.until_landed = once
    failures = 0
    try:
        await _send_last_report(node)
        asked = deque(await _enter_first_slot(node, stop))
        while True:
            while asked:
                asked.extend(await perform(node, asked.popleft()))
            while node.ended:
                result, failure = _end_of(node.ended.popleft())
                if result is not None and on_round is not None:
                    on_round(result)
                if once and failure is None:
                    return result
                failures += 1
                if once and failure is not None and (failures >= ATTEMPTS_ONCE or isinstance(failure, InvalidData)):
                    raise failure
            asked.extend(await _next(node, stop))
    except Stopping:
        return None
    finally:
        await node.work.end()


def _end_of(ended: RoundEnd) -> tuple[RoundResult | None, PlimsollError | None]:
    """Return what a round did, and why it did not do all of it."""
    if isinstance(ended, PlimsollError):
        return None, ended
    return ended, ended.landing if isinstance(ended.landing, PlimsollError) else None


async def _next(node: Node, stop: StopRequest) -> Effects:
    """Wait for what comes next, and take it to the machine."""
    while True:
        brought = node.work.take()
        if brought is not None:
            return _take_back(node, *brought)
        if _is_time(node):
            return node.machine.on_tick(_now_ms(node))
        arrival = node.transport.take()
        if arrival is not None:
            return await hear(node, arrival)
        waiting = _first(node.work.wait(), node.transport.wait(), _wake(node))
        await (waiting if node.work.is_under_way else stop.sleep(waiting))  # the steps of what is under way ask, too


def _take_back(node: Node, round_number: int, brought: Callable[[], Effects]) -> Effects:
    """Take what was worked out to the machine; what it refuses is a failure of this node's."""
    try:
        return brought()
    except FatalError:
        raise
    except PlimsollError as error:
        return fail(node, round_number, error)


def _now_ms(node: Node) -> int:
    return int(1_000 * node.clock.now())


def _is_time(node: Node) -> bool:
    """Say whether the machine should hear the time: something is due, or one reading was far ahead of the others."""
    if _stands_still(node):
        return False
    now, due = _now_ms(node), node.machine.next_wake()
    farthest = (STEP_BACK_SLOTS + 1) * node.rules.interval_ms
    if due - now > farthest and now >= 1_000 * node.rules.committee.genesis_time:
        _log.warning("clock went back", seconds=round((due - now) / 1_000))
        return True
    return now >= due


async def _wake(node: Node) -> None:
    """Wait until the machine has something to do; the clock is read anew at least once an interval."""
    if _stands_still(node):
        await asyncio.Event().wait()
    interval = node.rules.committee.round_interval_seconds
    with suppress(TimeoutError):  # by the event loop's own time: a wait until a wrong reading has an end
        await asyncio.wait_for(node.clock.sleep_until(node.machine.next_wake() / 1_000), interval)


def _stands_still(node: Node) -> bool:
    """Say whether time does not matter: a committee of one has nobody to wait for while it works."""
    return node.rules.n == 1 and node.work.is_under_way


async def _first(*waits: Awaitable[None]) -> None:
    """Wait until one of several waits is over; the others are given up."""
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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


async def _send_last_report(node: Node) -> None:
    """Publish the last certified report, if it has not expired: a crash may have come before its transaction."""
    last = await node.store.latest_certified(node.config_digest)
    if last is None or last.certificate is None:
        return
    certificate = decode_certificate(last.certificate)
    node.status.certify(last.round, at=certificate.header.observed_at)
    if certificate.header.valid_until > node.clock.now():
        await hand_on(node, certificate, decode_state(last.state), patience=0.0)
