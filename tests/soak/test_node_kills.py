"""A node that is killed with SIGKILL at random moments, again and again, while prices move."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.soak.node_process import ROUND_SECONDS, running_network
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.chain, pytest.mark.timeout(3_600), pytest.mark.xdist_group("node")]

KILLS = 60
SEED = 20
WORKING_SECONDS = 0.5
"""A round of the local chain's users takes about half of this; then the node waits for the next slot."""
LONGEST_START = 4.0


def test_nothing_signed_or_certified_is_lost_or_doubled_however_often_the_node_dies(
    tmp_path: Path, scale: float, tally: Tally
) -> None:
    kills = max(round(KILLS * scale), 3)
    moments = random.Random(SEED)
    kept: dict[int, bytes] = {}
    starting = 0
    with running_network(tmp_path, seed=SEED) as node:
        for _ in range(kills):
            node.start()
            if moments.random() < 0.2:  # it dies while it opens what the last life left
                starting += 1
                time.sleep(moments.uniform(0.0, LONGEST_START))
            else:
                node.url()
                slot = node.next_slot() + moments.choice([0, 0, 1]) * ROUND_SECONDS
                time.sleep(max(slot + moments.uniform(0.0, WORKING_SECONDS) - time.time(), 0.0))
            node.kill()
            found = node.certified()
            assert kept.items() <= found.items(), f"a certified report is gone or another after death {node.lives}"
            kept = found
        node.start()
        before = len(node.landed())
        node.url()
        node.wait_for_landed(10, seconds=60)
        node.stop()
        final, landed, signed = node.certified(), node.landed(), node.signed()
    assert {number: len(reports) for number, reports in signed.items()} == dict.fromkeys(signed, 1)
    assert kept.items() <= final.items()
    assert landed.items() <= final.items(), "a report on the chain is not the one that is kept"
    assert max(landed) == max(final), "the newest certified report never landed"
    tally.seeds = str(SEED)
    tally.count(kills=kills, of_them_while_starting=starting, certified_rounds=len(final), landed_reports=len(landed))
    tally.count(landed_between_kills=before)
    assert before > kills // 4, "hardly anything landed between the deaths"
