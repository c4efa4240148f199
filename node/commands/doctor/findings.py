"""What the doctor found: one line for each thing, and for what is wrong one remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from enum import StrEnum

import msgspec

from riskschema.errors import PlimsollError, TransientError
from riskschema.reasons import REASONS

LONGEST_TEXT = 400
"""Of a line: parts of it are the words of strangers."""


class State(StrEnum):
    """How something is."""

    GOOD = "ok"
    CARE = "care"
    """The node runs; somebody should look."""
    PASSING = "wait"
    """The node does not work like this, but it may pass by itself."""
    BROKEN = "fail"
    """A person must act before the node works."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line."""

    check: str
    state: State
    said: str
    code: str = ""
    """Reason code (docs/operating.md) of what is wrong."""
    remedy: str = ""

    def __post_init__(self) -> None:
        """Keep strangers from writing to the terminal, or without end."""
        msgspec.structs.force_setattr(self, "said", _plain(self.said))
        msgspec.structs.force_setattr(self, "remedy", _plain(self.remedy))


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """All findings."""

    healthy: bool
    """Nothing keeps the node from working."""
    findings: tuple[Finding, ...]


def good(check: str, said: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check=check, state=State.GOOD, said=said)


def care(check: str, code: str, said: str, remedy: str = "") -> Finding:
    """Return what does not keep the node from working."""
    return Finding(check=check, state=State.CARE, said=said, code=code, remedy=remedy or advice(code))


def wrong(check: str, error: PlimsollError, remedy: str = "") -> Finding:
    """Return what an expected failure says."""
    state = State.PASSING if isinstance(error, TransientError) else State.BROKEN
    return Finding(check=check, state=state, said=error.message, code=error.code, remedy=remedy or advice(error.code))


def advice(code: str) -> str:
    """Return what to do about a reason code."""
    reason = REASONS.get(code)
    return "" if reason is None else reason.long


async def within(seconds: float, check: str, examining: Awaitable[Sequence[Finding]]) -> Sequence[Finding]:
    """Examine something for a bounded time; a failure is a finding."""
    try:
        async with asyncio.timeout(seconds):
            return await examining
    except TimeoutError:
        return [wrong(check, TransientError(f"no answer within {seconds:g} s", code="deadline"))]
    except PlimsollError as error:
        return [wrong(check, error)]


def _plain(text: str) -> str:
    line = "".join(each if each.isprintable() else " " for each in text)
    if len(line) <= LONGEST_TEXT:
        return line
    half = LONGEST_TEXT // 2  # what is wrong comes first, what to do last
    return f"{line[:half]} … {line[-half:]}"
