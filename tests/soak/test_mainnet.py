"""An index of a mainnet's length, read through limited, slow and lying endpoints, reorganised and often killed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from storage.holder_index import read_index_facts
from tests.builders.fake_mainnet import FIRST_ACCOUNT
from tests.builders.token_chain import account
from tests.node.index.mainnet_fleet import filled_however_often_killed, limited, serving
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.timeout(14_400), pytest.mark.xdist_group("node")]

BLOCKS, LOGS, ACCOUNTS = 9_000_000, 2_000_000, 200_000
KILLS = 12
REQUESTS = 30_000
"""Log queries of a whole run, roughly: deaths lie all over it."""
SEED = 8


async def test_everybody_is_found_on_a_chain_of_nine_million_blocks(tmp_path: Path, scale: float, tally: Tally) -> None:
    blocks, logs = max(round(BLOCKS * scale), 90_000), max(round(LOGS * scale), 20_000)
    chains = limited(blocks=blocks, logs=logs, accounts=ACCOUNTS, latency=0.08)
    began = time.monotonic()
    async with serving(chains) as fleet:
        path = tmp_path / "index.sqlite"
        most = max(24, round(2 * REQUESTS * scale / KILLS))
        found = await filled_however_often_killed(fleet, path, kills=KILLS, rng=random.Random(SEED), most=most)
        requests = fleet.log_requests
    truth = chains[0]
    expected = {
        account(FIRST_ACCOUNT + each): held for each in range(ACCOUNTS) if (held := truth.held(each, truth.blocks))
    }
    assert found == expected
    size = read_index_facts(path).size
    tally.seeds = str(SEED)
    tally.count(blocks=blocks, logs=size.logs, holders=len(found), kills=KILLS, log_requests=requests)
    tally.count(megabytes=round(size.bytes / 10**6), seconds=round(time.monotonic() - began))
