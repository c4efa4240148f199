"""The Aave adapter against the real contracts of v3.6: what later releases changed, and what they forbid for a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from adapters.chains import PinnedChain
from adapters.protocols.aave_v3 import Deployment, adapter
from devnet.aave_origin import AaveOrigin, deploy_aave_origin
from devnet.errors import TransactionReverted
from devnet.local_chain import Devnet
from devnet.prices import set_prices
from riskschema.portfolio import Silo, VenueReading
from riskschema.units import WAD, ZERO_ADDRESS, Address

pytestmark = pytest.mark.chain

Pin = Callable[[], Awaitable[PinnedChain]]
UNLIMITED = 2**256 - 1
NO_DEBT = UNLIMITED
VARIABLE = 2
GRACE = 3_600


@pytest.fixture
def market(chain: Devnet) -> AaveOrigin:
    """The market of v3.6 with a lender's dollars in it."""
    found = deploy_aave_origin(chain)
    supply(found, chain.deployment.trader, "USDC", 1_000_000 * 10**6)
    return found


@pytest.fixture
def who(chain: Devnet) -> str:
    return chain.deployment.user("holder").address


def token(market: AaveOrigin, symbol: str) -> str:
    return market.chain.deployment.asset(symbol).token


def supply(market: AaveOrigin, account: str, symbol: str, amount: int) -> None:
    fund(market, account, symbol, amount)
    market.act("supply", token(market, symbol), amount, account, 0, sender=account)


def fund(market: AaveOrigin, account: str, symbol: str, amount: int) -> None:
    chain, asset = market.chain, token(market, symbol)
    chain.send("MintableToken", asset, "mint", account, amount, sender=chain.deployment.deployer)
    chain.send("MintableToken", asset, "approve", market.pool, UNLIMITED, sender=account)


def borrow(market: AaveOrigin, account: str, symbol: str, amount: int) -> None:
    market.act("borrow", token(market, symbol), amount, VARIABLE, 0, account, sender=account)


def prices(market: AaveOrigin, **dollars: int) -> None:
    set_prices(market.chain, {symbol: price * 10**8 for symbol, price in dollars.items()}, arbitrage=False)


async def read(market: AaveOrigin, pin: Pin, *accounts: str) -> VenueReading:
    venue = adapter(
        Deployment(addresses_provider=Address(market.addresses_provider)),
        chain_id=market.chain.deployment.chain_id,
        assets={},
    )
    return await venue.read(await pin(), [Address(account) for account in accounts])


async def silo_of(market: AaveOrigin, pin: Pin, account: str) -> Silo:
    [silo] = (await read(market, pin, account)).silos
    reported = market.told("getUserAccountData", account)[5]
    assert silo.health == (None if reported == NO_DEBT else reported)
    return silo


def restricted(silo: Silo) -> set[tuple[str, str | None]]:
    return {(each.kind, each.asset) for each in silo.restrictions}


def repaid_share(market: AaveOrigin, account: str, collateral: str, debt: str) -> float:
    """Liquidate for as much as the pool takes, and return the share of the debt that this repaid."""
    liquidator = market.chain.deployment.liquidator
    fund(market, liquidator, debt, 10**12)
    before = market.told("getUserAccountData", account)[1]
    pair = (token(market, collateral), token(market, debt))
    market.act("liquidationCall", *pair, account, UNLIMITED, False, sender=liquidator)
    return 1 - market.told("getUserAccountData", account)[1] / before


@pytest.mark.parametrize(("ether", "owed", "share"), [(1, 1_950, 1.0), (10, 19_500, 0.5)])
async def test_a_small_debt_may_be_repaid_whole_and_half_of_a_large_one(market, pin, who, ether, owed, share) -> None:
    supply(market, who, "WETH", ether * 10**18)
    borrow(market, who, "USDC", owed * 10**6)
    prices(market, WETH=2_350)  # 82.5 % of it is a little less than what is owed
    silo = await silo_of(market, pin, who)
    assert silo.health is not None
    assert 95 * WAD // 100 < silo.health < WAD
    assert silo.rule.close_factor == WAD * share
    assert repaid_share(market, who, "WETH", "USDC") == pytest.approx(share, abs=1e-3)


async def test_all_of_it_may_be_repaid_far_below_one(market, pin, who) -> None:
    supply(market, who, "WETH", 10 * 10**18)
    borrow(market, who, "USDC", 20_000 * 10**6)
    prices(market, WETH=2_270)
    silo = await silo_of(market, pin, who)
    assert silo.rule.close_factor == WAD
    assert repaid_share(market, who, "WETH", "USDC") == pytest.approx(1, abs=1e-3)


async def test_dust_of_another_collateral_does_not_free_a_large_debt(market, pin, who) -> None:
    supply(market, who, "WETH", 10 * 10**18)
    supply(market, who, "WBTC", 10**5)  # 60 dollars
    borrow(market, who, "USDC", 19_500 * 10**6)
    prices(market, WETH=2_350)
    assert (await silo_of(market, pin, who)).rule.close_factor == WAD // 2


async def test_a_collateral_of_a_category_alone_counts_at_the_categorys_threshold(market, pin, who) -> None:
    """In v3.6 a reserve need not have a threshold of its own; before, it then counted for nothing."""
    market.configure("setEModeCategory", 1, 9_000, 9_300, 10_100, "ether")
    market.configure("setAssetCollateralInEMode", token(market, "WETH"), 1, True)
    market.configure("setAssetBorrowableInEMode", token(market, "USDC"), 1, True)
    market.configure("configureReserveAsCollateral", token(market, "WETH"), 0, 0, 0)
    market.act("setUserEMode", 1, sender=who)
    supply(market, who, "WETH", 10 * 10**18)
    supply(market, who, "WBTC", 10**7)
    market.act("setUserUseReserveAsCollateral", token(market, "WETH"), True, sender=who)
    borrow(market, who, "USDC", 20_000 * 10**6)
    silo = await silo_of(market, pin, who)
    weights = {
        position.instrument.token.symbol: term.weight
        for position, term in zip(silo.positions, silo.rule.terms, strict=True)
        if position.quantity > 0
    }
    assert weights == {"WETH": 93 * WAD // 100, "WBTC": 75 * WAD // 100}


async def test_a_pause_forbids_everything_and_its_end_gives_grace(chain, market, pin, who) -> None:
    supply(market, who, "WETH", 10 * 10**18)
    borrow(market, who, "USDC", 20_000 * 10**6)
    weth = Address(token(market, "WETH"))
    market.configure("setReservePause", weth, True, 0)
    prices(market, WETH=2_300)
    assert restricted(await silo_of(market, pin, who)) == {("no_liquidation", None), ("paused", weth)}
    assert not takes(market, who, "WETH")
    fund(market, who, "USDC", 10**6)
    market.act("repay", token(market, "USDC"), 10**6, VARIABLE, who, sender=who)

    market.configure("setReservePause", weth, False, GRACE)
    silo = await silo_of(market, pin, who)
    assert restricted(silo) == {("no_liquidation", None), ("grace_period", weth)}
    ends = next(each.until for each in silo.restrictions if each.kind == "grace_period")
    with pytest.raises(TransactionReverted):
        repaid_share(market, who, "WETH", "USDC")
    chain.anvil.mine_at(ends)
    assert restricted(await silo_of(market, pin, who)) == set()
    assert repaid_share(market, who, "WETH", "USDC") > 0


def takes(market: AaveOrigin, account: str, symbol: str) -> bool:
    """Ask the pool whether it takes more of a reserve."""
    try:
        supply(market, account, symbol, 10**6)
    except TransactionReverted:
        return False
    return True


async def test_frozen_and_full_reserves_are_said_as_the_pool_refuses(market, pin, who) -> None:
    supply(market, who, "WETH", 10 * 10**18)
    borrow(market, who, "USDC", 10_000 * 10**6)
    weth, usdc = Address(token(market, "WETH")), Address(token(market, "USDC"))
    assert restricted(await silo_of(market, pin, who)) == set()

    market.configure("setSupplyCap", weth, 10)
    market.configure("setBorrowCap", usdc, 10_000)
    assert restricted(await silo_of(market, pin, who)) == {("supply_capped", weth), ("borrow_capped", usdc)}
    with pytest.raises(TransactionReverted):
        supply(market, who, "WETH", 10)
    with pytest.raises(TransactionReverted):
        borrow(market, who, "USDC", 1)

    market.configure("setSupplyCap", weth, 11)
    market.configure("setBorrowCap", usdc, 10_001)
    market.configure("setReserveFreeze", weth, True)
    assert restricted(await silo_of(market, pin, who)) == {("frozen", weth)}


async def test_a_deficit_is_said_to_those_who_have_the_asset(market, pin, who) -> None:
    lender = market.chain.deployment.trader
    supply(market, who, "WETH", 10 * 10**18)
    borrow(market, who, "USDC", 20_000 * 10**6)
    prices(market, WETH=1_000)
    repaid_share(market, who, "WETH", "USDC")
    assert market.told("getReserveDeficit", token(market, "USDC"))[0] > 0
    assert restricted(await silo_of(market, pin, lender)) == {("deficit", Address(token(market, "USDC")))}


async def test_a_sequencer_that_was_down_lets_only_the_far_fallen_be_liquidated(chain, market, pin, who) -> None:
    """The sentinel reads a feed that answers 0 while the sequencer is up."""
    supply(market, who, "WETH", 10 * 10**18)
    borrow(market, who, "USDC", 19_500 * 10**6)
    deployer = chain.deployment.deployer
    feed = created(market.chain, "PriceFeed", "sequencer", 1)
    sentinel = created(market.chain, "PriceOracleSentinel", market.addresses_provider, feed, GRACE)
    provider = ("PoolAddressesProvider", market.addresses_provider)
    market.chain.send(*provider, "setPriceOracleSentinel", sentinel, sender=deployer)
    prices(market, WETH=2_350)
    assert restricted(await silo_of(market, pin, who)) == {("no_liquidation", None), ("sequencer", None)}
    with pytest.raises(TransactionReverted):
        repaid_share(market, who, "WETH", "USDC")

    prices(market, WETH=2_200)
    assert restricted(await silo_of(market, pin, who)) == set()
    market.chain.send(*provider, "setPriceOracleSentinel", ZERO_ADDRESS, sender=deployer)
    prices(market, WETH=2_350)
    assert restricted(await silo_of(market, pin, who)) == set()


def created(chain: Devnet, name: str, *arguments: object) -> str:
    code = chain.artifacts[name].creation_code({}, *arguments)
    return str(chain.transact({"from": chain.deployment.deployer, "data": code})["contractAddress"])
