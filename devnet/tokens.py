"""The three tokens and their Chainlink-style feeds."""

from dataclasses import dataclass

from devnet.assets import ASSETS
from devnet.toolchain.artifacts import Contract
from devnet.transactions import Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token and feed contracts by asset symbol, and what sets several feeds at once."""

    tokens: dict[str, Contract]
    feeds: dict[str, Contract]
    price_board: Contract


def deploy_tokens(transactions: Transactions) -> Tokens:
    """Deploy token and feed of every asset; and the board that sets feeds together."""
    tokens, feeds = {}, {}
    for symbol, asset in ASSETS.items():
        tokens[symbol] = transactions.deploy("MintableToken", asset.name, asset.symbol, asset.decimals)
        feeds[symbol] = transactions.deploy("PriceFeed", f"{symbol} / USD", asset.price)
    board = transactions.deploy("PriceBoard")
    transactions.mine_block()
    return Tokens(tokens=tokens, feeds=feeds, price_board=board)
