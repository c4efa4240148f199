"""A node that runs for minutes without a break: its memory and its open files stay where they were."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median

import aiohttp
import pytest

from tests.soak.node_process import running_network
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.chain, pytest.mark.timeout(3_600), pytest.mark.xdist_group("node")]

SEED = 21
SECONDS = 330
SETTLED_AFTER = 60
"""Seconds in which caches and pools fill up."""
MOST_GROWTH_MIB = 8
MOST_MORE_FILES = 8
PROC = Path("/proc/self/statm")


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


def open_files(pid: int) -> int:
    """Return how many files and connections a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.skipif(not PROC.exists(), reason="needs /proc: memory and open files of another process")
async def test_memory_and_open_files_do_not_grow_while_rounds_go_on(tmp_path: Path, scale: float, tally: Tally) -> None:
    with running_network(tmp_path, seed=SEED) as node:
        node.start()
        url = node.url()
        node.wait_for_landed(3, seconds=60)
        landed = len(node.landed())
        begin, samples = time.monotonic(), []
        while (elapsed := time.monotonic() - begin) < max(SECONDS * scale, 30):
            samples.append((elapsed, resident_mib(node.pid), open_files(node.pid)))
            await ask(url)
            await asyncio.sleep(1.0)
        landed = len(node.landed()) - landed
        node.stop()
        certified = node.certified()
        assert max(node.landed()) == max(certified)
    settled = [each for each in samples if each[0] >= min(SETTLED_AFTER, elapsed / 3)]
    third = len(settled) // 3
    memory = [median(each[1] for each in part) for part in (settled[:third], settled[-third:])]
    files = [max(each[2] for each in part) for part in (settled[:third], settled[-third:])]
    tally.seeds = str(SEED)
    tally.count(
        minutes=round(elapsed / 60, 1), landed_reports=landed, resident_MiB=f"{memory[0]:.0f} → {memory[1]:.0f}"
    )
    tally.count(open_files=f"{files[0]} → {files[1]}")
    assert memory[1] - memory[0] < MOST_GROWTH_MIB, [(round(s), round(m)) for s, m, _ in samples[::15]]
    assert files[1] - files[0] <= MOST_MORE_FILES, [(round(s), f) for s, _, f in samples[::15]]
    assert landed > 0.9 * elapsed - 2


async def ask(url: str) -> None:
    """Ask what a monitor asks; answers about accounts are left out, which the API keeps up to a bound of its own."""
    async with aiohttp.ClientSession() as session:
        for path in ("/readyz", "/metrics", "/v1/rounds/latest"):
            async with session.get(url + path) as response:
                assert response.status == 200, await response.text()
