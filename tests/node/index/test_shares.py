"""Morpho positions follow from the index: after any actions the same bytes as from contracts alone, for fewer calls."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from adapters.protocols.morpho_blue import Deployment, adapter
from devnet.errors import TransactionReverted
from devnet.local_chain import Devnet
from devnet.prices import read_prices, set_prices
from riskschema.errors import TransientError
from riskschema.holders import Units
from riskschema.ports import ProtocolAdapter
from riskschema.units import Address, Hash32
from tests.adapters.actions.morpho import Singleton
from tests.node.index.index_rounds import rounds_of

pytestmark = pytest.mark.chain

STEPS, ACTIONS = 8, 6
USERS = ("holder", "market-maker", "edge-ether", "blue-edge", "multi-collateral")


@pytest.fixture(autouse=True)
def _few_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask about one position of a kind in a round that nothing touched: all others follow from the index alone."""
    monkeypatch.setattr("adapters.sampling.SAMPLE", 1)


def venue(chain: Devnet) -> ProtocolAdapter:
    deployed = chain.deployment.morpho
    markets = tuple(Hash32(market.market_id) for market in deployed.markets)
    deployment = Deployment(singleton=Address(deployed.singleton), markets=markets)
    return adapter(deployment, chain_id=chain.deployment.chain_id, assets={})


def earn_fees(chain: Devnet) -> None:
    """Let one user earn fees in every market, so that shares arise without a supply event."""
    deployed, owner = chain.deployment.morpho, chain.deployment.deployer
    recipient = chain.deployment.user("edge-ether").address
    chain.send("Morpho", deployed.singleton, "setFeeRecipient", recipient, sender=owner)
    for market in deployed.markets:
        parameters = chain.call("Morpho", deployed.singleton, "idToMarketParams", bytes.fromhex(market.market_id[2:]))
        chain.send("Morpho", deployed.singleton, "setFee", parameters, 10**17, sender=owner)


async def test_after_random_actions_a_remembering_node_reads_what_a_new_one_reads(
    chain: Devnet, tmp_path: Path
) -> None:
    random, done = Random(3), 0
    users = Singleton(chain, [chain.deployment.user(name).address for name in USERS])
    async with rounds_of(chain, tmp_path, partial(venue, chain)) as rounds:
        await rounds.compare()
        earn_fees(chain)
        for step in range(STEPS):
            for _ in range(ACTIONS):
                try:
                    users.act(random)
                    done += 1
                except TransactionReverted:
                    pass
            if step % 3 == 0:
                set_prices(chain, {"WETH": read_prices(chain)["WETH"] * 9 // 10}, arbitrage=False)
            chain.anvil.advance_time(random.choice([1, 86_400, 30 * 86_400]))
            await rounds.compare()
    assert done > STEPS


async def test_a_round_in_which_nothing_happens_asks_about_few_and_sees_prices_and_interest_all_the_same(
    chain: Devnet, tmp_path: Path
) -> None:
    async with rounds_of(chain, tmp_path, partial(venue, chain)) as rounds:
        first, before = await rounds.compare()
        held = len(first.silos)
        assert await rounds.fewest_calls() <= before - held // 2

        set_prices(chain, {"WETH": read_prices(chain)["WETH"] * 9 // 10}, arbitrage=False)
        chain.anvil.advance_time(30 * 86_400)
        later, calls = await rounds.compare()
        assert [silo.positions for silo in later.silos] != [silo.positions for silo in first.silos]
        assert [silo.health for silo in later.silos] != [silo.health for silo in first.silos]
        assert calls <= before - held // 2


def forged(told: Units, kind: str) -> Units:
    """Return what an index says that has twice the units of everybody in books of a kind."""
    return {
        name: {account: 2 * units for account, units in book.items()} if name.startswith(f"{kind}:") else book
        for name, book in told.items()
    }


@pytest.mark.parametrize("kind", ["borrow", "collateral"])
async def test_an_index_that_is_wrong_is_found_by_the_draw_and_said_and_nothing_is_taken_from_it(
    chain: Devnet, tmp_path: Path, kind: str
) -> None:
    async with rounds_of(chain, tmp_path, partial(venue, chain), agreement=2) as rounds:
        reader, told = await rounds.pinned()
        honest = await venue(chain).read(reader, rounds.everyone)
        node = venue(chain)
        with capture_logs() as logs:
            for _ in range(2):
                assert await node.read(reader, rounds.everyone, forged(told, kind)) == honest
            assert await node.read(reader, rounds.everyone, told) == honest
    assert [entry["event"] for entry in logs] == ["index contradicted", "index agrees again"]


async def test_one_endpoint_that_contradicts_the_index_is_not_believed(chain: Devnet, tmp_path: Path) -> None:
    async with rounds_of(chain, tmp_path, partial(venue, chain)) as rounds:
        reader, told = await rounds.pinned()
        with pytest.raises(TransientError, match="by the index of all holders") as refused:
            await venue(chain).read(reader, rounds.everyone, forged(told, "collateral"))
    assert refused.value.code == "answers_contradict"


async def test_a_withheld_withdrawal_of_collateral_is_found_within_some_rounds(chain: Devnet, tmp_path: Path) -> None:
    """Only the draw can find it: nothing seems new, and the sums of shares say nothing of collateral."""
    async with rounds_of(chain, tmp_path, partial(venue, chain), agreement=2) as rounds:
        reader, told = await rounds.pinned()
        node = venue(chain)
        stale = await node.read(reader, rounds.everyone, told)
        book = next(name for name, held in told.items() if name.startswith("collateral:") and len(held) > 1)
        withdraw_some(chain, book.partition(":")[2], next(user for user in rounds.everyone if user in told[book]))
        honest, rest = stale, 0
        with capture_logs() as logs:
            while not logs and rest < 64:
                rest += 1
                reader, now = await rounds.pinned()
                honest = await venue(chain).read(reader, rounds.everyone)
                reading = await node.read(reader, rounds.everyone, {**now, book: told[book]})
                assert (reading == honest) is bool(logs)
                chain.anvil.mine()
    assert [entry["event"] for entry in logs] == ["index contradicted"]


def withdraw_some(chain: Devnet, id_: str, user: Address) -> None:
    singleton = chain.deployment.morpho.singleton
    parameters = chain.call("Morpho", singleton, "idToMarketParams", bytes.fromhex(id_[2:]))
    chain.anvil.set_balance(user, 10**20)
    chain.send("Morpho", singleton, "withdrawCollateral", parameters, 10**6, user, user, sender=user)
