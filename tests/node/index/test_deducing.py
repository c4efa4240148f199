"""Aave accounts follow from the index: after any actions the same bytes as from contracts alone, for fewer calls."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.protocols.aave_v3 import Deployment, adapter
from devnet.errors import TransactionReverted
from devnet.local_chain import Devnet
from devnet.prices import read_prices, set_prices
from riskschema.ports import ProtocolAdapter
from riskschema.units import Address
from tests.node.index.index_rounds import rounds_of

pytestmark = pytest.mark.chain

MOST = 2**256 - 1
SYMBOLS = ("WETH", "WBTC", "USDC")
STEPS = 8

Action = Callable[[], object]


@pytest.fixture(autouse=True)
def _few_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask about one account in a round that nothing touched, so that all others follow from the index alone."""
    monkeypatch.setattr("adapters.sampling.SAMPLE", 1)


def venue(chain: Devnet) -> ProtocolAdapter:
    deployment = Deployment(addresses_provider=Address(chain.deployment.aave.addresses_provider))
    return adapter(deployment, chain_id=chain.deployment.chain_id, assets={})


def actions(chain: Devnet, rng: random.Random) -> Iterator[Action]:
    """Yield what users and governance may do; contracts refuse some of it."""
    pool, users = chain.deployment.aave.pool, [user.address for user in chain.deployment.users]
    token = {symbol: chain.deployment.asset(symbol).token for symbol in SYMBOLS}
    claim = {symbol: chain.call("Pool", pool, "getReserveData", token[symbol])[0][8] for symbol in SYMBOLS}

    for user in users:
        chain.anvil.rpc.request("anvil_setBalance", user, hex(10**20))

    def do(function: str, *arguments: Any, sender: str) -> Action:
        return partial(chain.send, "Pool", pool, function, *arguments, sender=sender)

    while True:
        user, other = rng.sample(users, 2)
        symbol, debt = rng.sample(SYMBOLS, 2)
        amount = rng.choice([1, 10**6, 10**15, 10**18])
        yield partial(
            chain.send, "MintableToken", token[symbol], "mint", user, 10**22, sender=chain.deployment.deployer
        )
        yield partial(chain.send, "MintableToken", token[symbol], "approve", pool, MOST, sender=user)
        yield do("supply", token[symbol], amount, user, 0, sender=user)
        yield do("borrow", token[debt], rng.choice([1, 10**5, 10**8]), rng.choice([1, 2]), 0, user, sender=user)
        yield do("repay", token[debt], MOST, 2, user, sender=user)
        yield do("withdraw", token[symbol], rng.choice([1, MOST]), user, sender=user)
        yield do("setUserUseReserveAsCollateral", token[symbol], rng.random() < 0.5, sender=user)
        yield do("setUserEMode", rng.choice([0, 1]), sender=user)
        yield do("liquidationCall", token[symbol], token[debt], other, MOST, rng.random() < 0.5, sender=user)
        yield partial(chain.send, "AToken", claim[symbol], "transfer", other, amount, sender=user)
        yield partial(chain.anvil.advance_time, rng.choice([1, 86_400, 30 * 86_400]))


async def test_after_random_actions_a_remembering_node_reads_what_a_new_one_reads(
    chain: Devnet, tmp_path: Path
) -> None:
    rng, done = random.Random(1), 0
    async with rounds_of(chain, tmp_path, partial(venue, chain)) as rounds:
        await rounds.compare()
        kinds = actions(chain, rng)
        for _ in range(STEPS):
            for act in [next(kinds) for _ in range(11)]:
                if rng.random() < 0.5:
                    try:
                        act()
                        done += 1
                    except TransactionReverted:
                        pass
            if rng.random() < 0.3:
                prices = read_prices(chain)
                moved = {symbol: prices[symbol] * rng.randint(85, 112) // 100 for symbol in ("WETH", "WBTC")}
                set_prices(chain, moved, arbitrage=False)
            await rounds.compare()
    assert done > STEPS


async def test_a_round_in_which_nothing_happens_asks_about_few_and_sees_prices_and_terms_all_the_same(
    chain: Devnet, tmp_path: Path
) -> None:
    async with rounds_of(chain, tmp_path, partial(venue, chain)) as rounds:
        first, before = await rounds.compare()
        assert await rounds.fewest_calls() < before - 2 * len(rounds.everyone)

        set_prices(chain, {"WETH": read_prices(chain)["WETH"] * 9 // 10}, arbitrage=False)
        fallen, _ = await rounds.compare()
        assert [silo.health for silo in fallen.silos] != [silo.health for silo in first.silos]
        assert await rounds.fewest_calls() < before - 2 * len(rounds.everyone)

        weth = chain.deployment.asset("WETH").token
        provider = chain.deployment.aave.addresses_provider
        configurator = chain.call("PoolAddressesProvider", provider, "getPoolConfigurator")[0]
        chain.send(
            "PoolConfigurator",
            configurator,
            "configureReserveAsCollateral",
            weth,
            5_000,
            6_000,
            10_500,
            sender=chain.deployment.deployer,
        )
        lowered, _ = await rounds.compare()
        assert [silo.health for silo in lowered.silos] != [silo.health for silo in fallen.silos]
        assert await rounds.fewest_calls() < before - 2 * len(rounds.everyone)


async def test_an_index_that_is_wrong_about_settings_is_found_by_the_draw_and_nothing_is_deduced_from_it(
    chain: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rounds_of(chain, tmp_path, partial(venue, chain)) as rounds:
        reader, told = await rounds.pinned()
        honest = await venue(chain).read(reader, rounds.everyone)
        monkeypatch.setattr("adapters.sampling.SAMPLE", len(rounds.everyone))
        pledged = 0b10 * sum(4**index for index in range(8))
        for book, forge in (("configuration", lambda bits: bits ^ pledged), ("emode", lambda mode: mode + 1)):
            forged = {**told, book: {account: forge(units) for account, units in told[book].items()}}
            with capture_logs() as logs:
                assert await venue(chain).read(reader, rounds.everyone, forged) == honest
            assert [entry["event"] for entry in logs] == ["index contradicted"]
