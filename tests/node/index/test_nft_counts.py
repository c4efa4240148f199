"""How many NFTs accounts have follows from the index: the same bytes after any actions, and fewer calls."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from adapters.protocols.uniswap_v3 import Deployment, adapter
from devnet.errors import TransactionReverted
from devnet.local_chain import Devnet
from riskschema.errors import TransientError
from riskschema.holders import Units
from riskschema.ports import ProtocolAdapter
from riskschema.units import Address
from tests.adapters.actions.uniswap import Positions
from tests.node.index.index_rounds import Rounds, rounds_of

pytestmark = pytest.mark.chain

STEPS, ACTIONS = 6, 5
USERS = ("holder", "market-maker", "edge-ether", "blue-edge", "multi-collateral")


@pytest.fixture(autouse=True)
def _few_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask about one account of a kind in a round that nothing touched: all others follow from the index alone."""
    monkeypatch.setattr("adapters.sampling.SAMPLE", 1)


def venue(chain: Devnet) -> ProtocolAdapter:
    deployment = Deployment(position_manager=Address(chain.deployment.uniswap.position_manager))
    return adapter(deployment, chain_id=chain.deployment.chain_id, assets={})


async def test_after_random_actions_a_remembering_node_reads_what_a_new_one_reads(
    chain: Devnet, tmp_path: Path
) -> None:
    random, kinds = Random(5), set[str]()
    users = Positions(chain, [chain.deployment.user(name).address for name in USERS])
    async with rounds_of(chain, tmp_path, partial(venue, chain)) as rounds:
        await rounds.compare()
        for _ in range(STEPS):
            for _ in range(ACTIONS):
                with contextlib.suppress(TransactionReverted):
                    kinds.add(users.act(random))
            await rounds.compare()
    assert {"mint", "transferFrom"} <= kinds


async def test_accounts_without_nfts_are_hardly_asked_about(chain: Devnet, tmp_path: Path) -> None:
    async with rounds_of(chain, tmp_path, partial(venue, chain)) as rounds:
        reader, told = await rounds.pinned()
        before = rounds.calls
        without_index = await venue(chain).read(reader, rounds.everyone)
        asked = rounds.calls - before
        assert await venue(chain).read(reader, rounds.everyone, told) == without_index
        assert rounds.calls - before - asked <= asked - (len(rounds.everyone) - 2)


def two_swapped(rounds: Rounds, told: Units) -> Units:
    """Return an index that has one NFT too many of one account and one too few of another: the sum is right."""
    owners = [account for account in rounds.everyone if account in told["nfts"]]
    counts = dict(told["nfts"])
    counts[owners[0]] += 1
    counts[owners[1]] -= 1
    return {**told, "nfts": counts}


async def test_an_index_that_is_wrong_about_a_count_is_found_at_once_and_said(chain: Devnet, tmp_path: Path) -> None:
    async with rounds_of(chain, tmp_path, partial(venue, chain), agreement=2) as rounds:
        reader, told = await rounds.pinned()
        honest, node = await venue(chain).read(reader, rounds.everyone), venue(chain)
        with capture_logs() as logs:
            assert await node.read(reader, rounds.everyone, two_swapped(rounds, told)) == honest
            assert await node.read(reader, rounds.everyone, told) == honest
    assert [entry["event"] for entry in logs] == ["index contradicted", "index agrees again"]


async def test_one_endpoint_that_contradicts_the_index_is_not_believed(chain: Devnet, tmp_path: Path) -> None:
    async with rounds_of(chain, tmp_path, partial(venue, chain)) as rounds:
        reader, told = await rounds.pinned()
        with pytest.raises(TransientError, match="by the index of all holders") as refused:
            await venue(chain).read(reader, rounds.everyone, two_swapped(rounds, told))
    assert refused.value.code == "answers_contradict"
