"""Uniswap v3 as published: factory, position manager, router, and pools at the feeds' prices."""

from dataclasses import dataclass
from math import floor, isqrt, log
from typing import Any

from devnet.assets import ASSETS
from devnet.deployment import Deployment
from devnet.tokens import Tokens
from devnet.toolchain.artifacts import Contract
from devnet.transactions import Transactions, checksum_address
from riskschema.units import ZERO_ADDRESS

FEE_PIPS = 3_000
TICK_SPACING = 60
WIDEST_TICK = 887_220
Q192 = 2**192


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityPool:
    """A pool; token0 has the lower address, and prices are of token0 in token1."""

    contract: Contract
    token0: str
    token1: str
    fee_pips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniswap:
    """Factory, position manager, router, and pools by `BASE/QUOTE`."""

    factory: Contract
    position_manager: Contract
    router: Contract
    pools: dict[str, LiquidityPool]


POOLS = (("WETH", "USDC"), ("WBTC", "WETH"))


def deploy_uniswap(transactions: Transactions, tokens: Tokens) -> Uniswap:
    """Deploy Uniswap v3 with the 0.3 % pools of `POOLS`."""
    weth = tokens.tokens["WETH"].address
    factory = transactions.deploy("UniswapV3Factory")
    # the zero address stands for the descriptor, which only draws pictures of positions
    positions = transactions.deploy("NonfungiblePositionManager", factory.address, weth, ZERO_ADDRESS)
    router = transactions.deploy("SwapRouter", factory.address, weth)
    ordered = {
        f"{base}/{quote}": sorted((base, quote), key=lambda s: int(tokens.tokens[s].address, 16))
        for base, quote in POOLS
    }
    for first, second in ordered.values():
        transactions.send(
            positions,
            "createAndInitializePoolIfNecessary",
            tokens.tokens[first].address,
            tokens.tokens[second].address,
            FEE_PIPS,
            square_root_price(first, second, ASSETS[first].price, ASSETS[second].price),
        )
    transactions.mine_block()
    pools = {}
    for name, (first, second) in ordered.items():
        pair = (tokens.tokens[first].address, tokens.tokens[second].address)
        (address,) = transactions.call(factory, "getPool", *pair, FEE_PIPS)
        pools[name] = LiquidityPool(
            contract=transactions.at("UniswapV3Pool", checksum_address(address)),
            token0=first,
            token1=second,
            fee_pips=FEE_PIPS,
        )
    return Uniswap(factory=factory, position_manager=positions, router=router, pools=pools)


def settings_table(deployment: Deployment) -> dict[str, Any]:
    """Return what the settings of the Uniswap adapter need."""
    return {"position_manager": deployment.uniswap.position_manager}


def square_root_price(token0: str, token1: str, price0: int, price1: int) -> int:
    """Return sqrtPriceX96 of a pool at two USD prices (Uniswap v3 whitepaper, section 6.1).

    Args:
        token0: Symbol of the token with the lower address.
        token1: Symbol of the other.
        price0: USD price of token0, 8 decimals.
        price1: USD price of token1, 8 decimals.
    """
    units0, units1 = 10 ** ASSETS[token0].decimals, 10 ** ASSETS[token1].decimals
    return isqrt(Q192 * price0 * units1 // (price1 * units0))


def tick_near(square_root_price_x96: int, factor: float) -> int:
    """Return the usable tick at or below `factor` times a pool's price."""
    price = square_root_price_x96**2 / Q192 * factor
    return floor(log(price) / log(1.0001) / TICK_SPACING) * TICK_SPACING
