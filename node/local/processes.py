"""The nodes of a local committee, each a process of its own that shares nothing with the others but the broker."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from node.local.operators import LocalOperator
from riskschema.errors import TransientError

LIAR = "node.local.liar"
"""The program that lies; this is the only place that names it."""
LOG = "log"
"""In an operator's directory."""
END_SECONDS = 60.0


@asynccontextmanager
async def node_processes(operators: Sequence[LocalOperator], *, faulty: int = 0) -> AsyncIterator[Nodes]:
    """Run all nodes until the context is left; the last `faulty` of them lie."""
    nodes = Nodes()
    try:
        for index, operator in enumerate(operators):
            await nodes.start(operator, lies=index >= len(operators) - faulty)
        yield nodes
    finally:
        await nodes.end()


class Nodes:
    """Running nodes."""

    def __init__(self) -> None:
        self._running: list[tuple[LocalOperator, Process]] = []

    async def start(self, operator: LocalOperator, *, lies: bool = False) -> None:
        """Start a node; it ends with this process, however that ends."""
        config = str(operator.config_file)
        honest = ("node.cli", "run", "--config", config, "--json", "--attached")
        with (operator.directory / LOG).open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m"),
                *((LIAR, config) if lies else honest),
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=log,
                process_group=0,
            )
        self._running.append((operator, process))

    async def kill(self, index: int) -> LocalOperator:
        """End a node as a crash would, for those who want to see what the others do; return whose it was."""
        operator, process = self._running.pop(index)
        process.kill()
        await process.wait()
        return operator

    def check(self) -> None:
        """Raise where a node ended by itself.

        Raises:
            TransientError: naming its log.
        """
        for operator, process in self._running:
            if process.returncode is not None:
                raise TransientError(
                    f"the node of {operator.directory.name} ended with status {process.returncode}: see "
                    f"{operator.directory / LOG}",
                    code="devnet",
                )

    async def end(self) -> None:
        """End all nodes: each finishes the step under way."""
        for _, process in self._running:
            if process.stdin is not None:
                process.stdin.close()
        waits = [process.wait() for _, process in self._running]
        try:
            async with asyncio.timeout(END_SECONDS):
                await asyncio.gather(*waits)
        except TimeoutError:
            for _, process in self._running:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
