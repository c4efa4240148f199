"""A minute of hostile HTTP against a running node: rounds go on and the node stays ready."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.soak.hostile_http import (
    Crowd,
    babble,
    drip,
    drip_after_a_good_start,
    hammer,
    knock_and_run,
    never_read,
    say_nothing,
)
from tests.soak.node_process import NodeProcess, running_network, wait_for
from tests.soak.rows import Tally
from tests.soak.test_node_endurance import MOST_MORE_FILES, PROC, open_files

pytestmark = [pytest.mark.soak, pytest.mark.chain, pytest.mark.timeout(3_600), pytest.mark.xdist_group("node")]

SEED = 22
ROUND_SECONDS = 3
"""Long enough that a busy machine alone makes no node late."""
WITHIN_THE_LIMIT_SECONDS = 45
BEYOND_THE_LIMIT_SECONDS = 20
USUAL_OPEN_FILES = 1_024
"""Soft limit of a process on most systems: neither the database nor an endpoint may go without."""
PATIENCE = 60.0
"""Seconds that a well-meant client waits for an answer: a busy machine is slow, silence is something else."""
PATIENCE_BEYOND_THE_LIMIT = 5.0
"""Less where no answer is expected."""


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process have as many connections as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000) if hard > 0 else 20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def probe(url: str, seconds: float, patience: float = PATIENCE, tries: int = 5) -> list[int]:
    """Ask whether the node is ready, on a new connection each time; 0 stands for no answer in so many tries.

    Those who knock and run fill the last places for moments: who was turned away then asks again, as browsers do.
    """
    answers = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(tries):
            answer = await ready(url, patience)
            if answer:
                break
        answers.append(answer)
        await asyncio.sleep(0.5)
    return answers


async def ready(url: str, patience: float) -> int:
    """Return the status that a new connection is told; 0: none."""
    timeout = aiohttp.ClientTimeout(total=patience)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/readyz") as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0


async def attacked(node: NodeProcess, url: str, seconds: float, **asking: Any) -> tuple[list[int], float]:
    """Return the answers to a well-meant client, and the landed reports per round."""
    before, begin = len(node.landed()), time.monotonic()
    answers = await probe(url, seconds, **asking)
    assert node.running, node.tell()
    return answers, ROUND_SECONDS * (len(node.landed()) - before) / (time.monotonic() - begin)


async def test_rounds_go_on_and_the_node_stays_ready_while_it_is_attacked(
    tmp_path: Path, scale: float, tally: Tally
) -> None:
    with running_network(tmp_path, seed=SEED, round_seconds=ROUND_SECONDS) as node, many_files():
        node.start(open_files=USUAL_OPEN_FILES)
        url = node.url()
        node.wait_for_landed(3, seconds=60)
        quiet = open_files(node.pid) if PROC.exists() else 0
        parts = urlsplit(url)
        crowd = Crowd(parts.hostname or "", parts.port or 0, seed=SEED)
        for attack, clients in ((drip, 50), (say_nothing, 40), (never_read, 40), (drip_after_a_good_start, 40)):
            crowd.send(attack, clients)
        for attack, clients in ((babble, 15), (knock_and_run, 5), (hammer, 5)):
            crowd.send(attack, clients)
        within, rate_within = await attacked(node, url, max(WITHIN_THE_LIMIT_SECONDS * scale, 15))
        crowd.send(say_nothing, 1_500)
        seconds = max(BEYOND_THE_LIMIT_SECONDS * scale, 15)
        beyond, rate_beyond = await attacked(node, url, seconds, patience=PATIENCE_BEYOND_THE_LIMIT, tries=1)
        await crowd.go_home()
        after = await probe(url, 10)
        if PROC.exists():  # a connection that was kept open for another request goes after half a minute
            wait_for(lambda: open_files(node.pid) <= quiet + MOST_MORE_FILES or None, 60, node.tell)
        node.wait_for_landed(3, seconds=60)
        node.stop()
    tally.seeds = str(SEED)
    tally.count(attacks=sum(crowd.done.values()), ready_probes=len(within) + len(beyond) + len(after))
    tally.count(landed_per_round=f"{rate_within:.2f}, beyond the limit {rate_beyond:.2f}")
    tally.count(answered_beyond_the_limit=f"{sum(each == 200 for each in beyond)} of {len(beyond)}")
    assert set(within) == {200}, within
    assert set(beyond) <= {0, 200}, beyond
    assert set(after) == {200}, after
    assert rate_within > 0.5
    assert rate_beyond > 0.5
