"""A node on the wall clock, as an operator runs it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from devnet.launch import launch
from devnet.local_chain import Devnet
from node.composition import open_node
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest
from node.round.assessing import warm_up
from node.round.node import thread_executor
from node.round.result import RoundResult
from riskschema.rounds import RoundStep
from tests.node.conftest import Prepare
from tests.node.local_node import LocalNode
from tests.patience import HANG_SECONDS, wait_until

pytestmark = pytest.mark.chain

ROOT = Path(__file__).parents[2]


@pytest.fixture
def running(tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNode]:
    """A network with a round every second on a chain that goes with the wall clock."""
    monkeypatch.setattr("node.local.network.ROUND_SECONDS", 1)
    with launch() as devnet:
        yield prepare(devnet, tmp_path)


async def test_rounds_go_on_while_a_transaction_waits_for_its_block(running: LocalNode) -> None:
    stop = StopRequest()
    results: list[RoundResult] = []

    def note(result: RoundResult) -> None:
        results.append(result)
        mining(running.devnet, on=len(results) not in {1, 2, 3})
        if len(results) >= 4 and max(running.accepted()) > results[1].round:
            stop.ask()

    async with open_node(running.settings, running.directory) as node:
        await warm_up(node)
        await run_rounds(node, stop, on_round=note)

    certified, accepted = [result.round for result in results], running.accepted()
    assert [result.transaction for result in results[1:3]] == [None, None]
    assert accepted.keys() <= set(certified)
    assert max(accepted) > certified[1], "what waited, or what overtook it, landed"


def mining(devnet: Devnet, *, on: bool) -> None:
    devnet.anvil.rpc.request("evm_setAutomine", on)
    if on:
        devnet.anvil.mine()


async def test_a_round_that_takes_too_long_is_given_up_and_the_next_one_is_not(
    running: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.round.failing.LONGEST_SECONDS", 0.0)
    stop = StopRequest()
    results: list[RoundResult] = []
    stuck: set[int] = set()
    reasons: set[str] = set()

    async def hang_once(step: RoundStep, round_number: int) -> None:
        reasons.update(node.status.ready(node.clock.now()))
        if step is RoundStep.ASSESS and not stuck:
            stuck.add(round_number)
            await asyncio.sleep(3_600)
        await stop.check(step, round_number)

    def note(result: RoundResult) -> None:
        results.append(result)
        stop.ask()

    async with open_node(running.settings, running.directory, before_step=hang_once) as node:
        await warm_up(node)
        await run_rounds(node, stop, on_round=note)
    assert "deadline" in reasons
    assert stuck.isdisjoint(result.round for result in results)
    assert len(results) == 1


async def test_heavy_work_that_was_given_up_does_not_add_up() -> None:
    running_now, most = [0], [0]

    def work() -> None:
        running_now[0] += 1
        most[0] = max(most[0], running_now[0])
        time.sleep(0.1)
        running_now[0] -= 1

    with thread_executor() as executor:
        for _ in range(3):
            with suppress(TimeoutError):
                await asyncio.wait_for(executor.run(work), timeout=0.02)
        await executor.run(work)
    assert most == [1]


def test_a_stop_finishes_the_step_and_leaves_a_database_that_continues(running: LocalNode) -> None:
    before = operate_until_stopped(running)
    assert before
    after = operate_until_stopped(running)
    assert after[: len(before)] == before
    assert len(after) > len(before)
    assert all(len(reports) == 1 for reports in running.signed().values())
    assert max(after) in running.accepted()


def operate_until_stopped(network: LocalNode) -> list[int]:
    """Run `plimsoll run` until it certified two more rounds, send SIGTERM; return the certified rounds."""
    known = len(certified_rounds(network))
    command = [sys.executable, "-m", "node.cli", "run", "--config", str(network.network.config_file), "--port", "0"]
    log = network.directory / "log"

    def has_worked() -> bool:
        return len(certified_rounds(network)) >= known + 2 and '"serving"' in log.read_text()

    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stderr=stream)
    wait_until(lambda: has_worked() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    status, said = process.wait(HANG_SECONDS), log.read_text()
    assert status == 0, said
    events = [json.loads(line) for line in said.splitlines()]  # those of the serving process too
    assert {"progress", "serving", "round certified"} <= {event["event"] for event in events}
    assert events[-1]["detail"] == "stopped"
    assert "Traceback" not in said
    return certified_rounds(network)


def certified_rounds(network: LocalNode) -> list[int]:
    if not (network.directory / network.settings.database).exists():
        return []
    with closing(network.database()) as database:
        if not database.execute("SELECT name FROM sqlite_master WHERE name = 'reports'").fetchall():
            return []
        rows = database.execute("SELECT round FROM reports WHERE certificate IS NOT NULL ORDER BY round")
        return [number for (number,) in rows]
