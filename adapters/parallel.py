"""Several reads at once that succeed together or fail together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from riskschema.errors import PlimsollError

T = TypeVar("T")


async def in_parallel(coroutines: Iterable[Coroutine[Any, Any, T]]) -> tuple[T, ...]:
    """Await all and return their results in order; the first failure cancels the others and is raised.

    `asyncio.gather` lets the others go on, so that a failed round would read on beside the next one. Until Python 3.12
    a failed `asyncio.TaskGroup` leaves its task half cancelled, and no `asyncio.timeout` around it ends in a
    `TimeoutError` any more.

    Raises:
        PlimsollError: the failure of one of them; a bug comes before it, so that it does not hide behind one.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    failures = [failed for task in tasks if not task.cancelled() and (failed := task.exception()) is not None]
    for failed in sorted(failures, key=lambda failed: isinstance(failed, PlimsollError)):
        raise failed
    return tuple(task.result() for task in tasks)
