"""The start of a key whose guard may have forgotten what it signed: two slots of listening, and nothing is written.

All that is sent meanwhile is a signed presence, which brokers keep: two machines with one key connect under one name,
so that each connection ends the other's, and neither would hear what the other says while it is away.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import structlog

from attest.agreement.listening import Listening
from attest.agreement.rules import AgreementRules
from node.gossip.transport import Channel, Transport
from riskschema.errors import ProtocolViolation, TransientError
from riskschema.ports import Clock

_log = structlog.get_logger("node.listening")


async def listen(
    rules: AgreementRules, *, me: int, sign: Callable[[bytes], bytes], transport: Transport, clock: Clock
) -> int:
    """Listen until the key may be taken up; return the slot in which that began.

    Args:
        rules: The committee's.
        me: This operator's index.
        sign: The identity's signature over 32 bytes.
        transport: The way to the others.
        clock: Time; not before the genesis.

    Raises:
        FatalError: (``key_in_use``) another machine uses the key.
    """
    began = Listening(rules, me=me, sign=sign, boot_number=secrets.randbits(64), now_ms=_now(clock))
    _log.info("listening", slots=2, detail="the guard of the key may have forgotten what it signed")
    wrong = ""
    while True:
        now = _now(clock)
        for payload in began.on_tick(now):
            transport.send(Channel.PRESENCE, payload)
        while (arrival := transport.take()) is not None:
            if arrival.channel in (Channel.MESSAGE, Channel.PRESENCE):
                _hear(began, arrival.payload, now)
        try:
            if began.is_over(now):
                return began.began
        except TransientError as error:
            if error.message != wrong:
                wrong = error.message
                _log.warning("listening on", reason=error.code, detail=error.message)
        await _wait(transport, clock, min(began.next_wake(), now + rules.interval_ms // 4) / 1_000)


def _hear(listening: Listening, payload: bytes, now: int) -> None:
    try:
        listening.on_message(payload, now)
    except ProtocolViolation as error:
        _log.debug("refused", reason=error.code)


async def _wait(transport: Transport, clock: Clock, until: float) -> None:
    tasks = [asyncio.ensure_future(transport.wait()), asyncio.ensure_future(clock.sleep_until(until))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _now(clock: Clock) -> int:
    return int(1_000 * clock.now())
