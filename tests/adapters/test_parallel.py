"""Reads at once: the first failure ends the others, and leaves a deadline around them what it is."""

from __future__ import annotations

import asyncio

import pytest

from adapters.parallel import in_parallel
from riskschema.errors import TransientError


async def failing(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def lost() -> TransientError:
    return TransientError("lost", code="endpoint_unreachable")


async def test_results_come_in_their_order() -> None:
    async def after(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    assert await in_parallel(after(turns) for turns in (3, 1, 2)) == (3, 1, 2)
    assert await in_parallel(()) == ()


async def test_a_failure_ends_the_others_and_is_raised() -> None:
    ended = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(TransientError, match="lost"):
        await in_parallel([endless(), failing(lost())])
    assert ended == [True]


async def test_a_bug_does_not_hide_behind_a_failure() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_parallel([failing(lost()), failing(ZeroDivisionError())])


async def test_a_deadline_around_a_failure_still_ends_in_a_timeout() -> None:
    async def late() -> None:
        async with asyncio.timeout(0.01):
            with pytest.raises(TransientError):
                await in_parallel([failing(lost())])
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await late()
