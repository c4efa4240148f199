"""How fast an index is filled from an endpoint on the same machine, how large it is, and what a round asks afterwards.

    python -m bench.index [--blocks 9000000] [--logs 2000000]

The endpoint is a chain in memory (tests/builders/fake_mainnet.py) in a process of its own; seconds of this process's
own work are told beside those of the clock. Prints a table and, as the last line, JSON.
"""

import argparse
import asyncio
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from adapters.chains import Chain, open_chain
from adapters.protocols.uniswap_v3 import Deployment, adapter
from node.index.backfill import Progress, catch_up
from node.index.following import VenueIndex
from riskschema.ports import ProtocolAdapter
from riskschema.units import Address
from storage.holder_index import open_holder_index, read_index_facts
from tests.builders.fake_mainnet import CHAIN_ID, NFTS


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--blocks", type=int, default=9_000_000)
    arguments.add_argument("--logs", type=int, default=2_000_000)
    arguments.add_argument("--accounts", type=int, default=200_000)
    arguments.add_argument("--range-limit", type=int, default=10**9)
    arguments.add_argument("--log-limit", type=int, default=10**9)
    options = vars(arguments.parse_args())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    limits = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "tests.builders.fake_mainnet", "--port", str(port), *limits]
    with subprocess.Popen(command) as endpoint, tempfile.TemporaryDirectory() as directory:
        try:
            figures = asyncio.run(measure(f"http://127.0.0.1:{port}", Path(directory) / "index.sqlite"))
        finally:
            endpoint.kill()
    figures = {**options, **figures}
    for name, value in figures.items():
        print(f"{name:24} {value:>16,}")
    print(json.dumps(figures))


async def measure(url: str, path: Path) -> dict[str, Any]:
    """Fill an index, open it again, and run a round."""
    venue = adapter(Deployment(position_manager=Address(NFTS)), chain_id=CHAIN_ID, assets={})
    await _up(url)
    async with open_chain(rpc_url=url, chain_id=CHAIN_ID, finality="latest", timeout_seconds=60.0) as chain:
        with open_holder_index(path, venue=venue.venue, start_block=0) as index:
            reader = await chain.pin(await chain.head())
            seen = [Progress(block=0, target=0, logs=0)]
            began, worked = time.perf_counter(), time.process_time()
            logged = working = 0.0

            def watch(progress: Progress) -> None:
                nonlocal logged, working
                if progress.uncounted and not logged:
                    logged, working = time.perf_counter() - began, time.process_time() - worked
                seen.append(progress)

            await catch_up(venue, index, chain, reader, start_block=0, watch=watch)
            counted = time.perf_counter() - began - logged
            await _asked(url)
            round_seconds, holders = await _round(venue, index, chain)
            asked = await _asked(url)
        began = time.perf_counter()
        with open_holder_index(path, venue=venue.venue, start_block=0):
            opened = time.perf_counter() - began
    facts = read_index_facts(path)
    return {
        "logs_per_second": round(seen[-1].logs / logged),
        "logs_per_second_of_work": round(seen[-1].logs / working),
        "backfill_seconds": round(logged, 1),
        "counting_seconds": round(counted, 1),
        "holders": holders,
        "file_megabytes": round(facts.size.bytes / 10**6),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000),
        "opening_seconds": round(opened, 2),
        "round_seconds": round(round_seconds, 2),
        "round_log_requests": asked.get("eth_getLogs", 0),
        "round_calls": asked.get("eth_call", 0),
    }


async def _round(venue: ProtocolAdapter, index: Any, chain: Chain) -> tuple[float, int]:
    began = time.perf_counter()
    following = VenueIndex(venue, index, start_block=0)
    found = await following.holders(chain, await chain.pin(await chain.head()))
    return time.perf_counter() - began, sum(map(len, found.units.values()))


async def _asked(url: str) -> dict[str, int]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        told: dict[str, int] = await answer.json()
        return told


async def _up(url: str) -> None:
    while True:
        try:
            await _asked(url)
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main()
