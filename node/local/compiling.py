"""The numeric kernels compiled in a process of their own, while this one fetches, imports and deploys.

A process, because compiling holds the interpreter lock for half of its time, and because it can be killed: Ctrl-C does
not wait for the compiler. What it compiles is found in the cache by everyone who comes later.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from node.local.screen import Screen

REPORT_SECONDS = 0.5
LINES = 4
"""Where there is no terminal: how many lines of progress are written."""


@asynccontextmanager
async def kernels_compiling(screen: Screen) -> AsyncIterator[asyncio.Task[None]]:
    """Begin to compile what the cache lacks; yield the task that ends when all is there.

    It never fails: what it could not compile is compiled where it is needed. Leaving the context kills the compiler.
    """
    task = asyncio.ensure_future(_compile(screen))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _compile(screen: Screen) -> None:
    if not await asyncio.to_thread(_lacking):
        return
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "node.local.compiling", stdout=PIPE, stderr=DEVNULL
        )
    except OSError as error:
        screen.say(f"no process to compile in ({error.strerror}): it is done later")
        return
    try:
        await _follow(process, screen)
        await process.wait()  # killing one that has ended would reap it before asyncio, which then warns
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _lacking() -> bool:
    from aggregator.warm_up import lacks_kernels  # noqa: PLC0415 - brings numba, which takes a second

    return lacks_kernels()


async def _follow(process: Process, screen: Screen) -> None:
    """Tell how far the compiler is until it ends."""
    if process.stdout is None:
        raise RuntimeError("the compiler's output is not read")
    screen.say("compiling the numeric kernels beside the rest: the first time this takes up to a minute")
    told = 0
    async for line in process.stdout:
        ready, total = map(int, line.split())
        screen.show(f"compiling: {ready} of {total} numeric kernels")
        if not screen.is_live and ready * LINES // total > told:
            told = ready * LINES // total
            screen.say(f"compiled {ready} of {total} numeric kernels")
    screen.show("")


def main() -> None:
    """Compile every kernel into the cache; print how many are ready, and of how many, until all are."""
    from aggregator.parameters import load_parameters  # noqa: PLC0415
    from aggregator.warm_up import enter_every_kernel, progress  # noqa: PLC0415

    worker = threading.Thread(target=enter_every_kernel, args=(load_parameters(None),))
    worker.start()
    while worker.is_alive():
        worker.join(REPORT_SECONDS)
        print(*progress(), flush=True)  # noqa: T201 - a line for the parent process


if __name__ == "__main__":
    main()
