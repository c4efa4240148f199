"""Runs a node again and again, each time until it kills itself (SIGKILL) at another point of a round.

    python crash_driver.py DIRECTORY POINT...

Every life runs one whole round first, so that it shows that the death before did no lasting harm, and dies in the
next. Lives are forked from this process, which has imported and warmed up everything once. Lines of JSON on standard
output tell what landed in each life and what was certified when it ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from attest.formats.certificate import decode_certificate
from attest.keys.guard import Guard
from node.clock import SystemClock
from node.composition import open_node
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest
from node.publishing.sender import Sender
from node.round.assessing import warm_up
from node.round.result import RoundResult
from node.settings import load_settings
from node.telemetry import configure_logging
from riskschema.rounds import RoundStep, StoredMessage
from storage.store import SqlStore

WRITES: dict[str, tuple[type, str]] = {
    "observation stored": (SqlStore, "put_message"),
    "proposal stored": (SqlStore, "put_message"),
    "report stored": (SqlStore, "put_report"),
    "signed": (Guard, "sign_once"),
    "share stored": (SqlStore, "put_message"),
    "certified": (SqlStore, "certify"),
    "transaction stored": (SqlStore, "put_transaction"),
    "transaction broadcast": (Sender, "broadcast"),
}
"""Where the process dies right after a write that is durable."""

ENDING = "end"
"""The last life: it ends by itself after two rounds."""


class Armed:
    """Whether this life has shown that it works."""

    def __init__(self) -> None:
        self.rounds = 0

    def note(self, result: RoundResult) -> None:
        if result.transaction is not None:  # on a busy machine a transaction may land after its slot
            tell(landed=result.round)
            self.rounds += 1

    def kill(self) -> None:
        if self.rounds:
            os.kill(os.getpid(), signal.SIGKILL)


class SkippingClock(SystemClock):
    """The machine's clock, which skips the waits for slots; what was skipped is kept for the next life."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._skipped = float(file.read_text()) if file.exists() else 0.0

    def now(self) -> float:
        return time.time() + self._skipped

    async def sleep_until(self, timestamp: float) -> None:
        remaining = timestamp - self.now()
        if remaining > 0.2:
            self._skipped += remaining
            self._file.write_text(str(self._skipped))
        else:
            await asyncio.sleep(max(0.0, remaining))


def die_after(write: str, armed: Armed) -> None:
    """Let the process die once a write has returned."""
    owner, method = WRITES[write]
    original: Any = getattr(owner, method)

    def matches(arguments: tuple[Any, ...]) -> bool:
        messages = [each for each in arguments if isinstance(each, StoredMessage)]
        return not messages or messages[0].kind == write.removesuffix(" stored")

    async def awaited(*arguments: Any, **options: Any) -> Any:
        result = await original(*arguments, **options)
        if matches(arguments):
            armed.kill()
        return result

    def called(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        armed.kill()
        return result

    setattr(owner, method, awaited if asyncio.iscoroutinefunction(original) else called)


async def live(directory: Path, point: str) -> None:
    """Run one life."""
    armed, stop = Armed(), StopRequest()
    if point in WRITES:
        die_after(point, armed)

    async def before_step(step: RoundStep, round_number: int) -> None:
        if step == point:
            armed.kill()
        await stop.check(step, round_number)

    def on_round(result: RoundResult) -> None:
        armed.note(result)
        if point == ENDING and armed.rounds == 2:
            stop.ask()

    clock = SkippingClock(directory / "skipped-seconds")
    settings = load_settings(directory / "plimsoll.toml")
    async with open_node(settings, directory, clock=clock, before_step=before_step) as node:
        await run_rounds(node, stop, on_round=on_round)


async def prepare(directory: Path) -> None:
    """Compile the numeric kernels once for all lives."""
    async with open_node(load_settings(directory / "plimsoll.toml"), directory) as node:
        await warm_up(node)


def certified(directory: Path) -> dict[int, str]:
    """Return the certified reports in the database."""
    with closing(sqlite3.connect(directory / "plimsoll.sqlite")) as database:
        kept = database.execute("SELECT round, certificate FROM reports WHERE certificate IS NOT NULL").fetchall()
    return {number: decode_certificate(certificate).report_hash.hex() for number, certificate in kept}


def tell(**values: object) -> None:
    """Write a line that survives this process."""
    os.write(1, json.dumps(values).encode() + b"\n")


def main() -> None:
    """Run all lives; a life that does not end as it should ends everything."""
    configure_logging(level="WARNING")
    directory = Path(sys.argv[1])
    asyncio.run(prepare(directory))
    for point in (*sys.argv[2:], ENDING):
        child = os.fork()
        if not child:
            status = 1
            try:
                asyncio.run(live(directory, point))
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        tell(point=point, ended=os.waitstatus_to_exitcode(ended), certified=certified(directory))


if __name__ == "__main__":
    main()
