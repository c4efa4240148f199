"""Users of the real contracts do what they like, and after each action the reading is what the contracts say."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

import pytest

from adapters.chains import PinnedChain
from adapters.discovery import discover
from devnet.aave_origin import deploy_aave_origin
from devnet.errors import TransactionReverted
from devnet.local_chain import Devnet
from devnet.prices import read_prices, set_prices
from riskschema.portfolio import VenueReading
from riskschema.ports import ProtocolAdapter
from riskschema.units import Address
from tests.adapters.actions.aave import Pool
from tests.adapters.actions.morpho import Singleton
from tests.adapters.actions.uniswap import Positions
from tests.adapters.conftest import Pin

pytestmark = pytest.mark.chain

ACTIONS = 24
USERS = ("holder", "market-maker", "edge-ether", "blue-edge", "multi-collateral")


class Venue(Protocol):
    """Contracts with users."""

    def adapter(self) -> ProtocolAdapter: ...

    def act(self, random: Random) -> str: ...

    def check(self, reading: VenueReading) -> None: ...


def aave(chain: Devnet, users: list[str]) -> Venue:
    deployed = chain.deployment.aave
    return Pool(chain, ("Pool", "AToken"), deployed.pool, deployed.addresses_provider, users, stable=True)


def aave_origin(chain: Devnet, users: list[str]) -> Venue:
    market = deploy_aave_origin(chain)
    names = ("PoolInstance", "ATokenInstance")
    market.configure("setEModeCategory", 1, 9_000, 9_300, 10_100, "majors")
    for asset in chain.deployment.assets:
        market.configure("setAssetCollateralInEMode", asset.token, 1, asset.symbol != "USDC")
        market.configure("setAssetBorrowableInEMode", asset.token, 1, True)
    pool = Pool(market.chain, names, market.pool, market.addresses_provider, users, stable=False)
    lender = chain.deployment.trader
    for asset in chain.deployment.assets:
        chain.send("MintableToken", asset.token, "approve", market.pool, 2**256 - 1, sender=lender)
        amount = asset.decimals * 10**asset.decimals
        market.act("supply", asset.token, amount, lender, 0, sender=lender)
    return pool


VENUES: dict[str, Callable[[Devnet, list[str]], Venue]] = {
    "aave 3.0": aave,
    "aave 3.6": aave_origin,
    "morpho blue": Singleton,
    "uniswap v3": Positions,
}


@pytest.mark.parametrize("venue", VENUES)
async def test_after_every_action_the_reading_is_what_the_contracts_say(chain, pin, venue) -> None:
    await drive(chain, pin, venue, seed=1, actions=ACTIONS)


async def drive(chain: Devnet, pin: Pin, venue: str, *, seed: int, actions: int) -> None:
    """Let users act, prices move and time pass, and compare after each."""
    users = [chain.deployment.user(name).address for name in USERS]
    contracts, random = VENUES[venue](chain, users), Random(f"{venue} {seed}")
    adapter, done, kinds = contracts.adapter(), 0, set[str]()
    for user in users:
        chain.anvil.set_balance(user, 10**24)  # gas for however many actions
    while done < actions:
        try:
            kinds.add(happen(chain, contracts, random))
        except TransactionReverted:
            continue
        done += 1
        reader = await pin()
        reading = await adapter.read(reader, [Address(user) for user in users])
        if done % 6 == 0:
            assert await read_indexed(adapter, reader, users) == reading
        contracts.check(reading)
    assert len(kinds) >= 5
    assert len(reading.silos) >= 3


def happen(chain: Devnet, contracts: Venue, random: Random) -> str:
    """Move a price, let time pass, or let somebody act; return what happened."""
    choice = random.random()
    if choice < 0.12:
        symbol = random.choice(("WETH", "WBTC"))
        price = read_prices(chain)[symbol]
        set_prices(chain, {symbol: int(price * random.uniform(0.75, 1.25))}, arbitrage=False)
        return "price"
    if choice < 0.2:
        chain.anvil.advance_time(int(10 ** random.uniform(0, 7)))
        return "time"
    return contracts.act(random)


async def read_indexed(venue: ProtocolAdapter, reader: PinnedChain, users: list[str]) -> VenueReading:
    """Read with all holders known from logs, once their sums are found to be the contracts' totals."""
    found = await discover(venue, reader, start_block=0)
    units = await venue.holdings(reader, found.known, found.holders)
    held: dict[str, dict[Address, int]] = {}
    for holder, amount in zip(found.holders, units, strict=True):
        assert amount is not None
        held.setdefault(holder.book, {})[holder.account] = amount
    for book in await venue.books(reader, found.known):
        if book.total is not None:
            assert sum(held.get(book.name, {}).values()) == book.total
    return await venue.read(reader, [Address(user) for user in users], held)
