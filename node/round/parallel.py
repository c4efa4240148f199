"""Several reads at once that succeed together or fail together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from riskschema.errors import PlimsollError

T = TypeVar("T")


async def in_parallel(coroutines: Iterable[Coroutine[Any, Any, T]]) -> tuple[T, ...]:
    """Await all and return their results in order; the first failure cancels the others and is raised.

    (`asyncio.gather` lets the others go on, so that a failed round would read on beside the next one.)

    Raises:
        PlimsollError: the failure of one of them.
    """
    tasks: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    return tuple(task.result() for task in tasks)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return a bug before an expected failure: it must not hide behind one."""
    bugs, expected = group.split(lambda error: not isinstance(error, PlimsollError | BaseExceptionGroup))
    found: BaseException = bugs or expected or group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
