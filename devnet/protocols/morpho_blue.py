"""Morpho Blue as published, with isolated markets priced by the same feeds as Aave."""

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_hash.auto import keccak

from devnet.deployment import Deployment
from devnet.tokens import Tokens
from devnet.toolchain.artifacts import Contract
from devnet.transactions import Transactions

WAD = 10**18
MarketParams = tuple[str, str, str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A Morpho market.

    Attributes:
        market_id: keccak256 of the encoded parameters, as hex with `0x`.
        collateral: Symbol of the collateral.
        loan: Symbol of what is lent.
        oracle: Its `IOracle`.
        parameters: loanToken, collateralToken, oracle, irm, lltv as the contract takes them.
    """

    market_id: str
    collateral: str
    loan: str
    oracle: Contract
    parameters: MarketParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Morpho:
    """The singleton, its interest-rate model and its markets by `COLLATERAL/LOAN`."""

    singleton: Contract
    interest_rate_model: Contract
    markets: dict[str, Market]


MARKETS = (("WETH", "USDC", 86), ("WBTC", "USDC", 86), ("WBTC", "WETH", 91))


def deploy_morpho(transactions: Transactions, tokens: Tokens) -> Morpho:
    """Deploy Morpho Blue with the markets of `MARKETS` (collateral, loan, LLTV in percent)."""
    singleton = transactions.deploy("Morpho", transactions.deployer)
    rate_model = transactions.deploy("KinkedRate")
    transactions.send(singleton, "enableIrm", rate_model.address)
    for percent in sorted({percent for _, _, percent in MARKETS}):
        transactions.send(singleton, "enableLltv", percent * WAD // 100)
    markets = {}
    for collateral, loan, percent in MARKETS:
        pair = [tokens.feeds[collateral], tokens.feeds[loan]]
        pair += [tokens.tokens[collateral], tokens.tokens[loan]]
        oracle = transactions.deploy("FeedOracle", *(contract.address for contract in pair))
        parameters = (
            tokens.tokens[loan].address,
            tokens.tokens[collateral].address,
            oracle.address,
            rate_model.address,
            percent * WAD // 100,
        )
        transactions.send(singleton, "createMarket", parameters)
        markets[f"{collateral}/{loan}"] = Market(
            market_id="0x" + market_id(parameters).hex(),
            collateral=collateral,
            loan=loan,
            oracle=oracle,
            parameters=parameters,
        )
    transactions.mine_block()
    return Morpho(singleton=singleton, interest_rate_model=rate_model, markets=markets)


def settings_table(deployment: Deployment) -> dict[str, Any]:
    """Return what the settings of the Morpho adapter need."""
    return {
        "singleton": deployment.morpho.singleton,
        "markets": [market.market_id for market in deployment.morpho.markets],
    }


def market_id(parameters: MarketParams) -> bytes:
    """Return a market's id: keccak256(abi.encode(parameters)), `MarketParamsLib.id`."""
    return keccak(encode(["address", "address", "address", "address", "uint256"], parameters))
