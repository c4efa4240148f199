"""The Uniswap adapter against the real pools: amounts and fees equal to what the contracts would pay."""

from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discovery import discover
from adapters.protocols.uniswap_v3 import Deployment, adapter
from adapters.protocols.uniswap_v3.liquidity import (
    MAX_SQRT_RATIO,
    MAX_TICK,
    MIN_SQRT_RATIO,
    amounts,
    sqrt_ratio_at_tick,
)
from devnet.local_chain import Devnet
from devnet.prices import set_prices
from riskschema.instruments import Token, UniswapV3Liquidity
from riskschema.ports import ProtocolAdapter
from riskschema.units import Address

UNLIMITED_128 = 2**128 - 1
FAR_DEADLINE = 2**40
REVERT = "0x60006000fd"
TICKS = st.integers(-MAX_TICK, MAX_TICK)
PRICES = st.integers(MIN_SQRT_RATIO, MAX_SQRT_RATIO)
LIQUIDITY = st.integers(0, 2**128 - 1)


@pytest.fixture
def uniswap(chain: Devnet) -> ProtocolAdapter:
    return make(chain)


def make(chain: Devnet, **options: int) -> ProtocolAdapter:
    deployment = Deployment(position_manager=Address(chain.deployment.uniswap.position_manager), **options)
    return adapter(deployment, chain_id=chain.deployment.chain_id, assets={})


def static(chain: Devnet, account: str, function: str, *arguments: object) -> tuple[int, int]:
    """What a transaction of `account` to the position manager would return."""
    manager = chain.artifacts["NonfungiblePositionManager"]
    request = {
        "from": account,
        "to": chain.deployment.uniswap.position_manager,
        "data": manager.call_data(function, *arguments),
    }
    answer = chain.anvil.rpc.request("eth_call", request, "latest")
    return manager.decode_result(function, len(arguments), answer)


def nfts(chain: Devnet, account: str) -> list[tuple[int, tuple[Any, ...]]]:
    manager = chain.deployment.uniswap.position_manager
    name = "NonfungiblePositionManager"
    (count,) = chain.call(name, manager, "balanceOf", account)
    ids = [chain.call(name, manager, "tokenOfOwnerByIndex", account, index)[0] for index in range(count)]
    return [(id_, chain.call(name, manager, "positions", id_)) for id_ in ids]


def paid_by_the_contracts(chain: Devnet, account: str) -> dict[str, int]:
    """What collecting everything would pay, by token."""
    paid: dict[str, int] = {}
    for id_, position in nfts(chain, account):
        collected = static(chain, account, "collect", (id_, account, UNLIMITED_128, UNLIMITED_128))
        for token, amount in zip(position[2:4], collected, strict=True):
            paid[token] = paid.get(token, 0) + amount
    return {token: amount for token, amount in paid.items() if amount}


@pytest.mark.chain
@pytest.mark.parametrize("percent", [100, 91, 130])
async def test_fees_are_what_collect_would_pay_at_any_price(chain, uniswap, pin, everyone, percent):
    set_prices(chain, {"WETH": 30 * percent * 10**8})
    reading = await uniswap.read(await pin(), everyone)

    assert reading.unread == ()
    assert len(reading.silos) >= 5
    for silo in reading.silos:
        tokens = {p.instrument.address: p.quantity for p in silo.positions if isinstance(p.instrument, Token)}
        assert tokens == paid_by_the_contracts(chain, silo.account)
        assert silo.health is None
    assert any(isinstance(p.instrument, Token) for silo in reading.silos for p in silo.positions)


@pytest.mark.chain
@pytest.mark.parametrize("percent", [100, 80, 170])
async def test_amounts_are_what_decrease_liquidity_would_pay_at_any_price(chain, uniswap, pin, everyone, percent):
    set_prices(chain, {"WETH": 30 * percent * 10**8})
    seen = set()
    for silo in (await uniswap.read(await pin(), everyone)).silos:
        for id_, position in nfts(chain, silo.account):
            lower, upper, liquidity = position[5:8]
            if not liquidity:
                continue
            [instrument] = [
                p.instrument
                for p in silo.positions
                if isinstance(p.instrument, UniswapV3Liquidity)
                and (p.instrument.tick_lower, p.instrument.tick_upper) == (lower, upper)
            ]
            sqrt_price = chain.call("UniswapV3Pool", instrument.pool, "slot0")[0]
            paid = static(chain, silo.account, "decreaseLiquidity", (id_, liquidity, 0, 0, FAR_DEADLINE))
            assert amounts(liquidity, sqrt_price, lower, upper) == paid
            seen.add((paid[0] > 0, paid[1] > 0))
    assert (True, True) in seen


@pytest.mark.chain
async def test_a_closed_position_still_shows_the_tokens_it_owes(uniswap, pin, user):
    [silo] = (await uniswap.read(await pin(), [user("closed-range")])).silos

    assert {type(position.instrument) for position in silo.positions} == {Token}
    assert all(position.quantity > 0 for position in silo.positions)


@pytest.mark.chain
async def test_every_seeded_account_is_discovered(uniswap, pin, everyone):
    reading = await uniswap.read(await pin(), everyone)

    assert {silo.account for silo in reading.silos} <= (await discover(uniswap, await pin(), start_block=0)).accounts


@pytest.mark.chain
async def test_positions_beyond_the_cap_are_set_aside_and_the_first_ones_count(chain, pin, user):
    reading = await make(chain, max_positions=1).read(await pin(), [user("wide-range")])

    assert reading.unread == ()
    assert [spare.code for spare in reading.aside] == ["too_many_positions"]
    assert len([p for p in reading.silos[0].positions if isinstance(p.instrument, UniswapV3Liquidity)]) == 1


@pytest.mark.chain
async def test_the_positions_of_a_reverting_pool_are_set_aside_and_the_others_count(chain, uniswap, pin, user):
    pool = chain.deployment.pool("WBTC", "WETH").address
    chain.anvil.rpc.request("anvil_setCode", pool, REVERT)
    reading = await uniswap.read(await pin(), [user("wide-range")])

    assert reading.unread == ()
    assert [spare.code for spare in reading.aside] == ["call_reverted"]
    assert reading.silos[0].positions


@pytest.mark.chain
async def test_an_nft_of_a_hostile_token_that_somebody_sent_takes_nothing_from_who_got_it(
    chain, uniswap, pin, user, everyone
):
    wbtc = chain.deployment.asset("WBTC").token
    owned = {each: [id_ for id_, held in nfts(chain, each) if wbtc.lower() in str(held).lower()] for each in everyone}
    victim = next(each for each in everyone if nfts(chain, each) and not owned[each])
    sender, (sent, *_) = next((each, ids) for each, ids in owned.items() if ids)
    before = await uniswap.read(await pin(), [victim])
    manager = chain.deployment.uniswap.position_manager
    chain.send("NonfungiblePositionManager", manager, "transferFrom", sender, victim, sent, sender=sender)
    chain.anvil.rpc.request("anvil_setCode", wbtc, REVERT)  # no decimals, no balances: nothing
    after = await uniswap.read(await pin(), [victim])

    assert before.silos
    assert after.silos == before.silos
    assert after.unread == ()
    assert [(spare.market, spare.code) for spare in after.aside] == [(str(sent), "call_reverted")]


@given(TICKS)
def test_the_ratio_of_a_tick_is_the_power_within_one_part_in_two_to_the_sixty(tick):
    with localcontext(prec=80):
        exact = Decimal("1.0001") ** (Decimal(tick) / 2) * 2**96
        assert abs(sqrt_ratio_at_tick(tick) - exact) <= max(Decimal(1), exact / 2**60)


def test_the_ends_of_the_tick_range_are_the_published_bounds():
    assert sqrt_ratio_at_tick(-MAX_TICK) == MIN_SQRT_RATIO
    assert sqrt_ratio_at_tick(MAX_TICK) == MAX_SQRT_RATIO
    assert sqrt_ratio_at_tick(0) == 2**96
    with pytest.raises(ValueError, match="beyond"):
        sqrt_ratio_at_tick(MAX_TICK + 1)


@given(LIQUIDITY, PRICES, TICKS, TICKS)
def test_a_range_holds_only_one_token_outside_itself(liquidity, price, one, other):
    lower, upper = sorted((one, other))
    if lower == upper:
        with pytest.raises(ValueError, match="no pool"):
            amounts(liquidity, price, lower, upper)
        return
    amount0, amount1 = amounts(liquidity, price, lower, upper)
    assert amount0 >= 0 <= amount1
    if price <= sqrt_ratio_at_tick(lower):
        assert amount1 == 0
    if price >= sqrt_ratio_at_tick(upper):
        assert amount0 == 0


@given(LIQUIDITY, PRICES, PRICES, TICKS, TICKS)
def test_a_higher_price_holds_less_of_token_0_and_more_of_token_1(liquidity, one_price, other_price, one, other):
    lower, upper = min(one, other), max(one, other) + (one == other)
    if upper > MAX_TICK:
        return
    low, high = sorted((one_price, other_price))
    at_low, at_high = amounts(liquidity, low, lower, upper), amounts(liquidity, high, lower, upper)
    assert at_high[0] <= at_low[0]
    assert at_high[1] >= at_low[1]


@given(LIQUIDITY, st.integers(0, 2**64), PRICES, TICKS, TICKS)
def test_splitting_liquidity_never_pays_more(liquidity, part, price, one, other):
    lower, upper = min(one, other), max(one, other)
    part = min(part, liquidity)
    if lower == upper:
        return
    whole = amounts(liquidity, price, lower, upper)
    parts = [amounts(each, price, lower, upper) for each in (part, liquidity - part)]
    for side in (0, 1):
        assert 0 <= whole[side] - parts[0][side] - parts[1][side] <= 2
