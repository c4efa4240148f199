"""The process that serves the HTTP API, as the process with the rounds sees it: started, watched, started again, ended.

The two share nothing but the database file, a loopback port and a pipe, and whatever becomes of the one that serves,
rounds go on. It inherits the listening socket, so that the port stays taken while it is started again, and no other
file; its environment is made anew, so that no secret is in it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE

from node.status import NodeStatus
from riskschema.ports import Clock

READY = b"ready\n"
"""What the process says when it begins to serve. Besides it says something once a second, and ends when nobody hears
it: so it never outlives the process that started it."""
SILENT_SECONDS = 30.0
"""Without a word for so long it is killed: a reader that hangs would keep the write-ahead log from being cut."""
END_SECONDS = 15.0
"""To finish its requests after SIGTERM."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
SETTLED_SECONDS = 60.0
"""A process that lived so long is started again at once."""
COMPONENT = "serving process"
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "NO_COLOR", "PATH", "TERM", "TZ")
"""Of the environment; anything else may be a secret."""


@asynccontextmanager
async def serving_process(
    arguments: Sequence[str],
    opened: socket.socket,
    *,
    status: NodeStatus,
    clock: Clock,
    on_ready: Callable[[], None],
) -> AsyncIterator[None]:
    """Keep ``plimsoll serve`` running until the context is left.

    Args:
        arguments: Of ``plimsoll serve``; ``--listener`` is added.
        opened: The socket it accepts on; closed in the end.
        status: Learns of its failures.
        clock: Time.
        on_ready: Called the first time it serves.
    """
    descriptor = opened.fileno()
    command = (sys.executable, "-P", "-m", "node.cli", "serve", *arguments, "--listener", str(descriptor))
    keeper = asyncio.create_task(_Keeper(command, descriptor, status=status, clock=clock, on_ready=on_ready).run())
    try:
        yield
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
        opened.close()


class _Keeper:
    def __init__(
        self,
        command: Sequence[str],
        descriptor: int,
        *,
        status: NodeStatus,
        clock: Clock,
        on_ready: Callable[[], None],
    ) -> None:
        self._command = command
        self._descriptor = descriptor
        self._status = status
        self._clock = clock
        self._on_ready: Callable[[], None] | None = on_ready

    async def run(self) -> None:
        """Start it again whenever it ends, sooner or later."""
        pause = FIRST_PAUSE
        while True:
            begin = time.monotonic()
            ended = await self._live()
            self._status.fail(COMPONENT, "serving_stopped", at=self._clock.now(), detail=ended)
            if time.monotonic() - begin > SETTLED_SECONDS:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _live(self) -> str:
        """Run it once; return how it ended."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=DEVNULL,
                stdout=PIPE,
                env=_environment(),
                pass_fds=(self._descriptor,),
                process_group=0,  # Ctrl-C is for this process, which then ends the other in its turn
            )
        except OSError as error:
            return f"cannot be started: {error.strerror or error}"
        try:
            return await self._listen(process)
        finally:
            await _end(process)

    async def _listen(self, process: asyncio.subprocess.Process) -> str:
        if process.stdout is None:
            raise RuntimeError("the pipe was asked for")
        while True:
            try:
                async with asyncio.timeout(SILENT_SECONDS):
                    line = await process.stdout.readline()
            except TimeoutError:
                process.kill()
                return f"silent for {SILENT_SECONDS:g} s"
            except ValueError:  # longer than the stream keeps
                process.kill()
                return "wrote a line that has no end"
            if not line:
                return f"exit status {await process.wait()}"
            if line == READY:
                self._status.recover(COMPONENT, at=self._clock.now())
                if self._on_ready is not None:
                    self._on_ready()
                    self._on_ready = None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _environment() -> dict[str, str]:
    kept = {name: value for name in INHERITED if (value := os.environ.get(name)) is not None}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
