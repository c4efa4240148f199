"""Observing, assessing and publishing run beside the loop; what they bring comes back to it one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from attest.agreement.effects import Effects

Brought = Callable[[], Effects]
"""Takes the result of some work to the machine; called by the loop, which alone feeds it."""


def nothing() -> Effects:
    """Bring nothing."""
    return ()


class Work:
    """What was begun and has not come back, each for a round."""

    def __init__(self) -> None:
        self.until_landed = False
        """Whether publishing is under way until the report landed, instead of until the next slot."""
        self._tasks: dict[asyncio.Task[Brought], int] = {}

    @property
    def is_under_way(self) -> bool:
        """Whether anything was begun that has not come back."""
        return bool(self._tasks)

    def begin(self, round_number: int, work: Coroutine[Any, Any, Brought]) -> None:
        """Run something beside the loop."""
        self._tasks[asyncio.create_task(work)] = round_number

    async def wait(self) -> None:
        """Wait until something comes back; for ever where nothing is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.Event().wait()

    def take(self) -> tuple[int, Brought] | None:
        """Return what came back, and its round; None: nothing did.

        Raises:
            Exception: what ended the work, where that was no expected failure.
        """
        task = next((task for task in self._tasks if task.done()), None)
        return None if task is None else (self._tasks.pop(task), task.result())

    async def end(self) -> None:
        """Stop all that is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
