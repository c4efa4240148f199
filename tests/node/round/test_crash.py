"""kill -9 at every step of a round, and right after everything that is written down.

After each death the next life must certify and land a round; no round ever has two signed reports; what was certified
before the death is still there, and it or a newer report is on the chain.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from devnet.launch import launch
from devnet.local_chain import Devnet
from riskschema.rounds import RoundStep
from tests.node.conftest import Prepare
from tests.node.local_node import LocalNode
from tests.node.round.crash_driver import ENDING, WRITES
from tests.patience import HANG_SECONDS

pytestmark = pytest.mark.chain

DRIVER = Path(__file__).with_name("crash_driver.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def running_chain() -> Iterator[Devnet]:
    """A chain on the wall clock, as the driver's processes are."""
    with launch() as devnet:
        yield devnet


@pytest.fixture
def network(running_chain: Devnet, tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> LocalNode:
    # The driver skips what is left of a slot, so that long slots cost nothing, and a busy machine lands within one.
    monkeypatch.setattr("node.local.network.ROUND_SECONDS", 20)
    monkeypatch.setattr("node.local.network.MAX_FUTURE_SKEW", 3600)
    return prepare(running_chain, tmp_path)


@pytest.mark.parametrize("points", [[step.value for step in RoundStep], list(WRITES)], ids=["steps", "writes"])
def test_a_node_that_is_killed_anywhere_continues_and_contradicts_nothing(
    network: LocalNode, points: list[str]
) -> None:
    lives = killed(network.directory, points)
    assert [life["point"] for life in lives] == [*points, ENDING]
    assert [life["ended"] for life in lives] == [-signal.SIGKILL] * len(points) + [0]

    signed, accepted = network.signed(), network.accepted()
    assert {round_number: len(reports) for round_number, reports in signed.items()} == dict.fromkeys(signed, 1)
    final = lives[-1]["certified"]
    for life, following in pairwise(lives):
        assert life["certified"].items() <= final.items(), "a certified report was lost or changed"
        assert following["landed"][0] >= max(map(int, life["certified"])), "the node went back"
    landed = {number for life in lives for number in life["landed"]}
    assert landed <= accepted.keys()
    assert {number: accepted[number].hex() for number in accepted} == {
        number: final[str(number)] for number in accepted
    }
    assert max(map(int, final)) == max(accepted), "the newest certified report never landed"


def killed(directory: Path, points: list[str]) -> list[dict[str, Any]]:
    """Run the driver; return what each life told."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, str(DRIVER), str(directory), *points],
        capture_output=True,
        text=True,
        env=environment,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3_000:]
    lives: list[dict[str, Any]] = []
    landed: list[int] = []
    for line in map(json.loads, ended.stdout.splitlines()):
        if "landed" in line:
            landed.append(line["landed"])
        else:
            lives.append({**line, "landed": landed})
            landed = []
    assert all(life["landed"] for life in lives), f"a life without a report: {lives}\n{ended.stderr[-3_000:]}"
    return lives
