"""A long chain behind an endpoint that limits ranges: filled, followed, reorganised, proved throughout.

The full length is measured by ``python -m bench.index``.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from adapters.chains import Chain, open_chain
from adapters.protocols.uniswap_v3 import Deployment, adapter
from node.index.backfill import catch_up
from node.index.following import VenueHolders, VenueIndex
from riskschema.units import Address
from storage.holder_index import HolderIndex, open_holder_index
from tests.builders.fake_mainnet import CHAIN_ID, FIRST_ACCOUNT, NFTS, FakeMainnet
from tests.builders.filling import options_of
from tests.builders.token_chain import account
from tests.node.index.mainnet_fleet import filled_however_often_killed, limited, serving

VENUE = adapter(Deployment(position_manager=Address(NFTS)), chain_id=CHAIN_ID, assets={})
BLOCKS, LOGS, ACCOUNTS = 60_000, 15_000, 3_000


@asynccontextmanager
async def opened(mainnet: FakeMainnet) -> AsyncIterator[Chain]:
    """Serve the chain on loopback and open it."""
    runner = web.AppRunner(mainnet.application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with open_chain(
            rpc_url=f"http://127.0.0.1:{port}", chain_id=CHAIN_ID, finality="latest", timeout_seconds=60.0
        ) as chain:
            yield chain
    finally:
        await runner.cleanup()


async def holders(index: HolderIndex, chain: Chain) -> VenueHolders:
    following = VenueIndex(VENUE, index, start_block=0)
    return await following.holders(chain, await chain.pin(await chain.head()))


@pytest.mark.parametrize(("range_limit", "log_limit"), [(1_000, 10**9), (10**9, 1_000)])
async def test_a_long_chain_is_indexed_through_limits_then_followed_with_one_log_request_through_a_reorganisation(
    tmp_path: Path, range_limit: int, log_limit: int
) -> None:
    mainnet = FakeMainnet(blocks=BLOCKS, logs=LOGS, accounts=ACCOUNTS, range_limit=range_limit, log_limit=log_limit)
    async with opened(mainnet) as chain:
        with open_holder_index(tmp_path / "index.sqlite", venue=VENUE.venue, start_block=0) as index:
            await catch_up(VENUE, index, chain, await chain.pin(await chain.head()), start_block=0)
        with open_holder_index(tmp_path / "index.sqlite", venue=VENUE.venue, start_block=0) as index:
            for _ in range(3):
                mainnet.blocks += 25
                mainnet.requests.clear()
                found = await holders(index, chain)
                assert mainnet.requests["eth_getLogs"] == 1
                assert mainnet.requests["eth_call"] < 40
            mainnet.fork = mainnet.blocks - 30
            mainnet.blocks += 5
            found = await holders(index, chain)
    expected = {
        account(FIRST_ACCOUNT + each): held for each in range(ACCOUNTS) if (held := mainnet.held(each, mainnet.blocks))
    }
    assert dict(found.units["nfts"]) == expected
    assert sum(expected.values()) == mainnet.minted(mainnet.blocks)


async def test_through_limits_lies_latency_a_reorganisation_and_deaths_everybody_is_found(tmp_path: Path) -> None:
    chains = limited(blocks=BLOCKS // 2, logs=LOGS // 2, accounts=ACCOUNTS, latency=0.08)
    async with serving(chains) as fleet:
        found = await filled_however_often_killed(fleet, tmp_path / "index.sqlite", kills=2, rng=random.Random(1))
    truth = chains[0]
    expected = {
        account(FIRST_ACCOUNT + each): held for each in range(ACCOUNTS) if (held := truth.held(each, truth.blocks))
    }
    assert found == expected
    assert sum(expected.values()) == truth.minted(truth.blocks)
    assert chains[2].requests.get("eth_getLogs", 0) < 1_000, "an endpoint of ten blocks was asked to fill the index"


async def test_an_index_that_a_single_liar_filled_is_right_again_by_itself_once_it_tells_the_truth(
    tmp_path: Path,
) -> None:
    mainnet = FakeMainnet(blocks=BLOCKS, logs=LOGS, accounts=LOGS, lying=True)
    async with opened(mainnet) as chain:
        with open_holder_index(tmp_path / "index.sqlite", venue=VENUE.venue, start_block=0) as index:
            await catch_up(VENUE, index, chain, await chain.pin(await chain.head()), start_block=0)
            told: list[str] = []
            mainnet.lying = False
            found = await VenueIndex(VENUE, index, start_block=0).proved(chain, told.append)
    assert len(told) > 1
    assert sum(found.units["nfts"].values()) == mainnet.minted(mainnet.blocks)
    assert all(
        held == mainnet.held(int(each, 16) - FIRST_ACCOUNT, BLOCKS) for each, held in found.units["nfts"].items()
    )


async def test_few_logs_are_read_in_ranges_that_enough_endpoints_take(tmp_path: Path) -> None:
    chains = [FakeMainnet(blocks=600_000, logs=600, accounts=50, range_limit=limit) for limit in (1_000, 10**9)]
    async with serving(chains) as fleet:
        endpoints = options_of(fleet.urls)
        async with open_chain(
            endpoints=endpoints, chain_id=CHAIN_ID, agreement=2, finality="latest", timeout_seconds=60.0
        ) as chain:
            with open_holder_index(tmp_path / "index.sqlite", venue=VENUE.venue, start_block=0) as index:
                await catch_up(VENUE, index, chain, await chain.pin(await chain.head()), start_block=0)
                assert sum((await holders(index, chain)).units["nfts"].values()) == 600
