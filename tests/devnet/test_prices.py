"""Price moves reach the real contracts, and liquidations happen for real."""

import pytest

from devnet.local_chain import Devnet
from devnet.prices import crash, read_prices, set_prices
from devnet.protocols.uniswap_v3 import square_root_price

pytestmark = pytest.mark.chain
WAD = 10**18


def aave_health(chain: Devnet, user: str) -> int:
    account = chain.deployment.user(user).address
    return chain.call("Pool", chain.deployment.aave.pool, "getUserAccountData", account)[5]


def test_pools_stand_exactly_at_the_feeds_prices_after_a_move(chain: Devnet) -> None:
    set_prices(chain, {"WETH": 2_417 * 10**8, "WBTC": 71_003 * 10**8, "USDC": 99_850_000})

    prices = read_prices(chain)
    for pool in chain.deployment.uniswap.pools:
        expected = square_root_price(pool.token0, pool.token1, prices[pool.token0], prices[pool.token1])
        assert chain.call("UniswapV3Pool", pool.address, "slot0")[0] == expected


def test_a_crash_makes_the_account_at_the_edge_liquidatable_on_aave(chain: Devnet) -> None:
    assert WAD < aave_health(chain, "edge-ether") < 105 * WAD // 100
    user = chain.deployment.user("edge-ether").address
    weth, usdc = chain.deployment.asset("WETH"), chain.deployment.asset("USDC")

    crash(chain, percent=10)

    before = aave_health(chain, "edge-ether")
    assert before < WAD
    repaid = 5_000 * 10**6
    chain.send(
        "Pool",
        chain.deployment.aave.pool,
        "liquidationCall",
        weth.token,
        usdc.token,
        user,
        repaid,
        False,
        sender=chain.deployment.liquidator,
    )
    assert aave_health(chain, "edge-ether") > before
