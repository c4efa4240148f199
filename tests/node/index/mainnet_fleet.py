"""The fake mainnet behind six endpoints of different limits, two of which lie; and a reader that is killed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from tests.builders.fake_mainnet import FakeMainnet
from tests.patience import eventually

AGREEMENT = 3
REORGANISED = 30
"""Blocks."""


class Fleet(msgspec.Struct):
    """Endpoints of one chain."""

    chains: list[FakeMainnet]
    urls: list[str]
    """Each with the range of logs that its operator knows it to give, where it is short."""

    @property
    def log_requests(self) -> int:
        """Queries of logs that all were asked so far."""
        return sum(chain.requests.get("eth_getLogs", 0) for chain in self.chains)

    def reorganise(self) -> None:
        """Put another branch in the place of the last blocks, five blocks longer."""
        for chain in self.chains:
            chain.fork = chain.blocks - REORGANISED
            chain.blocks += 5


def limited(*, blocks: int, logs: int, accounts: int, latency: float) -> list[FakeMainnet]:
    """Return the chain as six endpoints show it: three of them honest ones that can fill an index."""

    def endpoint(*, range_limit: int = 10**9, log_limit: int = 10**9, lying: bool = False) -> FakeMainnet:
        return FakeMainnet(
            blocks=blocks,
            logs=logs,
            accounts=accounts,
            latency=latency,
            range_limit=range_limit,
            log_limit=log_limit,
            lying=lying,
        )

    return [
        endpoint(range_limit=1_000),
        endpoint(lying=True),
        endpoint(range_limit=10),
        endpoint(range_limit=10_000),
        endpoint(range_limit=10_000, lying=True),
        endpoint(log_limit=10_000),
    ]


@asynccontextmanager
async def serving(chains: Sequence[FakeMainnet]) -> AsyncIterator[Fleet]:
    """Serve each on a port of its own."""
    runners = [web.AppRunner(chain.application()) for chain in chains]
    urls = []
    try:
        for runner, chain in zip(runners, chains, strict=True):
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            span = f",{chain.range_limit}" if chain.range_limit < 10**9 else ""
            urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}{span}")
        yield Fleet(list(chains), urls)
    finally:
        for runner in runners:
            await runner.cleanup()


async def filled_however_often_killed(
    fleet: Fleet, path: Path, *, kills: int, rng: random.Random, most: int = 24
) -> dict[str, int]:
    """Return what everybody has, after a reader that was killed after some requests, at most so many, each time others.

    The chain is reorganised while the first one reads.
    """
    asked = 0
    for life in range(kills + 1):
        reader = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.builders.filling", str(path), str(AGREEMENT), *fleet.urls),
            # one that comes to its end before it is killed must not wait for somebody to read what it found
            stdout=asyncio.subprocess.PIPE if life == kills else asyncio.subprocess.DEVNULL,
        )
        if life == kills:
            output, _ = await reader.communicate()
            found: dict[str, int] = json.loads(output.splitlines()[-1])  # before it: what the reader logs
            return found
        asked = fleet.log_requests + rng.randint(1, most)

        async def read_enough(enough: int = asked, reader: asyncio.subprocess.Process = reader) -> bool:
            return fleet.log_requests >= enough or reader.returncode is not None

        await eventually(read_enough)
        if life == 0:
            fleet.reorganise()
        if reader.returncode is None:
            reader.send_signal(signal.SIGKILL)
        await reader.wait()
    raise AssertionError
