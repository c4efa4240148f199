"""Every seeded user has what its recipe claims, read from the real contracts."""

import pytest

from devnet.assets import ASSETS
from devnet.local_chain import Devnet
from devnet.prices import crash
from devnet.users import USERS, Recipe

pytestmark = pytest.mark.chain
WAD = 10**18
NO_DEBT = 2**256 - 1
AAVE_EDGE = ("edge-ether", "e-mode")
MORPHO_EDGE = ("blue-edge", "two-venues-edge")


def aave_health(devnet: Devnet, name: str) -> int:
    account = devnet.deployment.user(name).address
    return devnet.call("Pool", devnet.deployment.aave.pool, "getUserAccountData", account)[5]


def morpho_debt_and_limit(devnet: Devnet, name: str, market: str) -> tuple[int, int]:
    """Debt and borrowing limit in loan units, as Morpho's `_isHealthy` computes them."""
    deployed = devnet.deployment.market(*market.split("/"))
    singleton, identifier = devnet.deployment.morpho.singleton, bytes.fromhex(deployed.market_id[2:])
    account = devnet.deployment.user(name).address
    _, shares, collateral = devnet.call("Morpho", singleton, "position", identifier, account)
    _, _, assets, total_shares, _, _ = devnet.call("Morpho", singleton, "market", identifier)
    (price,) = devnet.call("FeedOracle", deployed.oracle, "price")
    debt = -(-shares * (assets + 1) // (total_shares + 10**6))
    return debt, collateral * price // 10**36 * int(deployed.lltv_wad) // WAD


@pytest.mark.parametrize("recipe", USERS, ids=lambda recipe: recipe.name)
def test_a_user_has_the_aave_balances_of_its_recipe(devnet: Devnet, recipe: Recipe) -> None:
    account = devnet.deployment.user(recipe.name).address
    supply = recipe.aave.supply if recipe.aave else {}
    borrow = recipe.aave.borrow if recipe.aave else {}
    for symbol, asset in ASSETS.items():
        data = devnet.call(
            "AaveProtocolDataProvider",
            devnet.deployment.aave.data_provider,
            "getUserReserveData",
            devnet.deployment.asset(symbol).token,
            account,
        )
        supplied, owed = asset.base_units(supply.get(symbol, "0")), asset.base_units(borrow.get(symbol, "0"))
        assert supplied <= data[0] <= supplied + supplied // 1000
        stable = recipe.aave is not None and symbol in recipe.aave.stable_rate
        assert owed <= data[1 if stable else 2] <= owed + owed // 1000 + 1
        assert data[2 if stable else 1] == 0
        switched_off = recipe.aave is not None and symbol in recipe.aave.not_collateral
        assert data[8] == (supplied > 0 and not switched_off)


@pytest.mark.parametrize("recipe", USERS, ids=lambda recipe: recipe.name)
def test_a_user_has_no_more_ether_than_its_recipe_leaves(devnet: Devnet, recipe: Recipe) -> None:
    account = devnet.deployment.user(recipe.name).address
    for block in (hex(devnet.deployment.seeded_block), "latest"):
        balance = int(devnet.anvil.rpc.request("eth_getBalance", account, block), 16)
        assert balance == ASSETS["WETH"].base_units(recipe.ether) <= 5 * WAD


@pytest.mark.parametrize("recipe", [r for r in USERS if r.morpho], ids=lambda recipe: recipe.name)
def test_a_user_has_the_morpho_position_of_its_recipe(devnet: Devnet, recipe: Recipe) -> None:
    account = devnet.deployment.user(recipe.name).address
    for position in recipe.morpho:
        collateral, loan = position.market.split("/")
        identifier = bytes.fromhex(devnet.deployment.market(collateral, loan).market_id[2:])
        shares, _, held = devnet.call("Morpho", devnet.deployment.morpho.singleton, "position", identifier, account)
        debt, _ = morpho_debt_and_limit(devnet, recipe.name, position.market)
        assert held == ASSETS[collateral].base_units(position.collateral)
        assert 0 <= debt - ASSETS[loan].base_units(position.borrow) <= 1
        assert (shares > 0) == (position.lend != "0")


@pytest.mark.parametrize("recipe", USERS, ids=lambda recipe: recipe.name)
def test_a_user_has_the_ranges_of_its_recipe(devnet: Devnet, recipe: Recipe) -> None:
    manager, account = devnet.deployment.uniswap.position_manager, devnet.deployment.user(recipe.name).address
    (count,) = devnet.call("NonfungiblePositionManager", manager, "balanceOf", account)
    assert count == len(recipe.liquidity)
    for index, liquidity in enumerate(recipe.liquidity):
        arguments = ("tokenOfOwnerByIndex", account, index)
        (identifier,) = devnet.call("NonfungiblePositionManager", manager, *arguments)
        position = devnet.call("NonfungiblePositionManager", manager, "positions", identifier)
        assert (position[7] == 0) == (liquidity.withdrawn_percent == 100)
        assert (position[10] > 0) == (liquidity.withdrawn_percent > 0)


@pytest.mark.parametrize("recipe", [r for r in USERS if not r.liquidity], ids=lambda recipe: recipe.name)
def test_a_wallet_holds_what_the_recipe_says_and_what_was_borrowed(devnet: Devnet, recipe: Recipe) -> None:
    account = devnet.deployment.user(recipe.name).address
    for symbol, asset in ASSETS.items():
        expected = asset.base_units(recipe.wallet.get(symbol, "0"))
        if recipe.aave is not None:
            expected += asset.base_units(recipe.aave.borrow.get(symbol, "0"))
        expected += sum(asset.base_units(p.borrow) for p in recipe.morpho if p.market.endswith(f"/{symbol}"))
        token = devnet.deployment.asset(symbol).token
        assert devnet.call("MintableToken", token, "balanceOf", account) == (expected,)


def test_nobody_is_liquidatable_at_the_start_and_some_nearly_are(devnet: Devnet) -> None:
    health = {recipe.name: aave_health(devnet, recipe.name) for recipe in USERS}
    assert min(health.values()) > WAD
    assert {name for name, value in health.items() if value < 105 * WAD // 100} == set(AAVE_EDGE)
    assert any(10**9 * WAD > value > 2 * WAD for value in health.values())
    for name in MORPHO_EDGE:
        debt, limit = morpho_debt_and_limit(devnet, name, "WETH/USDC")
        assert debt < limit < debt * 105 // 100


def test_the_table_covers_the_kinds_of_account_a_risk_engine_meets(devnet: Devnet) -> None:
    assert len(devnet.deployment.users) == len(USERS) == len({r.name for r in USERS}) >= 24
    assert sum(bool(r.aave and r.aave.borrow and any(p.borrow != "0" for p in r.morpho)) for r in USERS) >= 2
    assert any(r.liquidity and r.aave and r.aave.borrow for r in USERS)
    assert any(r.wallet and not (r.aave or r.morpho or r.liquidity) for r in USERS)


def test_a_crash_makes_a_morpho_position_liquidatable_for_real(chain: Devnet) -> None:
    market = chain.deployment.market("WETH", "USDC")
    parameters = (
        chain.deployment.asset("USDC").token,
        chain.deployment.asset("WETH").token,
        market.oracle,
        chain.deployment.morpho.interest_rate_model,
        int(market.lltv_wad),
    )
    user, singleton = chain.deployment.user("blue-edge").address, chain.deployment.morpho.singleton
    crash(chain, percent=10)
    debt, limit = morpho_debt_and_limit(chain, "blue-edge", "WETH/USDC")
    assert debt > limit

    seized = (parameters, user, 4 * 10**18, 0, b"")
    chain.send("Morpho", singleton, "liquidate", *seized, sender=chain.deployment.liquidator)

    assert morpho_debt_and_limit(chain, "blue-edge", "WETH/USDC")[0] < debt
