"""Move the market of the local chain: feed answers, and pools arbitraged to them by real swaps."""

from collections.abc import Mapping

from devnet.assets import ASSETS
from devnet.deployment import DeployedPool
from devnet.local_chain import Devnet
from devnet.protocols.uniswap_v3 import square_root_price

FAR_DEADLINE = 2**40
# more than any pool holds: the price limit ends the swap
ARBITRAGE_AMOUNTS = {"WETH": "50000", "WBTC": "2500", "USDC": "150000000"}


def read_prices(devnet: Devnet) -> dict[str, int]:
    """Return every feed's answer, USD with 8 decimals, by symbol."""
    return {asset.symbol: devnet.call("PriceFeed", asset.feed, "latestAnswer")[0] for asset in devnet.deployment.assets}


def set_prices(devnet: Devnet, prices: Mapping[str, int], *, arbitrage: bool = True) -> None:
    """Set feed answers and, unless told otherwise, swap the pools to the new prices.

    Args:
        devnet: The chain.
        prices: USD with 8 decimals by symbol; assets left out keep their price.
        arbitrage: Whether the trader moves the Uniswap pools.

    Raises:
        ValueError: A symbol is unknown or a price not positive.
        TransactionReverted: A swap was refused.
    """
    for symbol, price in prices.items():
        if symbol not in ASSETS or price <= 0:
            raise ValueError(f"no price for {symbol} can be {price}")
    feeds = [devnet.deployment.asset(symbol).feed for symbol in prices]
    board = devnet.deployment.price_board
    devnet.send("PriceBoard", board, "setAnswers", feeds, list(prices.values()), sender=devnet.deployment.deployer)
    if arbitrage:
        arbitrage_pools(devnet)


def answer_again(devnet: Devnet) -> None:
    """Let every feed answer its own price anew, as real ones do when a heartbeat has passed without a move."""
    set_prices(devnet, read_prices(devnet), arbitrage=False)


def crash(devnet: Devnet, *, percent: int, arbitrage: bool = True) -> dict[str, int]:
    """Let WETH and WBTC fall by a percentage; return the new prices.

    Args:
        devnet: The chain.
        percent: How far they fall, 1 to 99.
        arbitrage: Whether the Uniswap pools follow.
    """
    before = read_prices(devnet)
    prices = {symbol: before[symbol] * (100 - percent) // 100 for symbol in ("WETH", "WBTC")}
    set_prices(devnet, prices, arbitrage=arbitrage)
    return {**before, **prices}


def arbitrage_pools(devnet: Devnet) -> None:
    """Swap every pool to the feeds' relative price."""
    prices = read_prices(devnet)
    for pool in devnet.deployment.uniswap.pools:
        target = square_root_price(pool.token0, pool.token1, prices[pool.token0], prices[pool.token1])
        current = devnet.call("UniswapV3Pool", pool.address, "slot0")[0]
        if current != target:
            _swap_to(devnet, pool, target, zero_for_one=target < current)


def _swap_to(devnet: Devnet, pool: DeployedPool, target: int, *, zero_for_one: bool) -> None:
    symbols = (pool.token0, pool.token1) if zero_for_one else (pool.token1, pool.token0)
    sold, bought = (devnet.deployment.asset(symbol) for symbol in symbols)
    trader = devnet.deployment.trader
    amount = ASSETS[sold.symbol].base_units(ARBITRAGE_AMOUNTS[sold.symbol])
    parameters = (
        sold.token,
        bought.token,
        pool.fee_pips,
        trader,
        FAR_DEADLINE,
        amount,
        0,
        target,
    )
    devnet.send_all(
        [
            ("MintableToken", sold.token, "mint", (trader, amount)),
            ("SwapRouter", devnet.deployment.uniswap.router, "exactInputSingle", (parameters,)),
        ],
        sender=trader,
    )
