"""One account on two real chains: one portfolio across both; without one of them the other is exact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from adapters.chains import Chain as OpenedChain
from devnet.launch import FIXED_GENESIS, launch
from devnet.local_chain import Devnet
from node.endpoints.opening import open_chains
from node.round.reading import ConfiguredVenue, Reading, configured_venues, read_portfolios
from node.settings import Chain, Endpoint
from riskschema.ports import PinnedReader
from riskschema.units import Address

pytestmark = pytest.mark.chain

AWAY = 10


@pytest.fixture(scope="module")
def away() -> Iterator[Devnet]:
    """A second chain with the same protocols and users, another chain id and another history."""
    with launch(chain_id=AWAY, genesis_timestamp=FIXED_GENESIS) as devnet:
        devnet.anvil.mine(3)
        user = devnet.deployment.user("saver").address
        usdc = devnet.deployment.asset("USDC").token
        devnet.send("MintableToken", usdc, "mint", user, 7_000_000, sender=devnet.deployment.trader)
        yield devnet


@pytest.fixture
def everyone(chain: Devnet) -> list[Address]:
    """All seeded users, who have the same keys on both."""
    return [Address(user.address) for user in chain.deployment.users]


def settings(devnet: Devnet) -> Chain:
    deployment = devnet.deployment
    tokens = [str(asset.token) for asset in deployment.assets]
    return Chain(
        chain_id=deployment.chain_id,
        endpoints=(Endpoint(url=devnet.url),),
        finality="latest",
        venues=(
            {"protocol": "aave_v3", "addresses_provider": deployment.aave.addresses_provider},
            {"protocol": "wallet", "tokens": tokens},
        ),
    )


async def read(devnets: list[Devnet], pinned: list[Devnet], accounts: list[Address]) -> Reading:
    """Read the accounts on all chains, of which some have a pin."""
    chains = [settings(devnet) for devnet in devnets]
    venues: list[ConfiguredVenue] = [venue for chain in chains for venue in configured_venues(chain)]
    async with AsyncExitStack() as stack:
        opened: dict[int, OpenedChain] = await open_chains(stack, chains, Path())
        readers: dict[int, PinnedReader] = {}
        for devnet in pinned:
            chain = opened[devnet.deployment.chain_id]
            readers[chain.chain_id] = await chain.pin(await chain.head())
        return await read_portfolios(venues, readers, accounts)


async def test_a_portfolio_is_the_silos_of_both_chains(chain: Devnet, away: Devnet, everyone: list[Address]) -> None:
    here, there = await read([chain], [chain], everyone), await read([away], [away], everyone)
    both = await read([chain, away], [chain, away], everyone)
    assert both.coverage_ppm == 1_000_000
    for across, home, abroad in zip(both.portfolios, here.portfolios, there.portfolios, strict=True):
        assert sorted(across.silos, key=str) == sorted((*home.silos, *abroad.silos), key=str)
        assert [block.chain_id for block in across.blocks] == [AWAY, chain.deployment.chain_id]
    assert here.portfolios != there.portfolios


async def test_a_chain_without_a_pin_is_out_for_all_and_the_other_is_exact(
    chain: Devnet, away: Devnet, everyone: list[Address]
) -> None:
    both = await read([chain, away], [chain, away], everyone)
    one = await read([chain, away], [chain], everyone)
    assert one.coverage_ppm == 500_000
    for whole, part in zip(both.portfolios, one.portfolios, strict=True):
        assert part.silos == tuple(silo for silo in whole.silos if silo.chain_id != AWAY)
        assert {(item.chain_id, item.code) for item in part.unread} == {(AWAY, "chain_out")}
