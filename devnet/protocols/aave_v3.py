"""Aave v3.0 as published: libraries, addresses provider, pool and configurator behind proxies.

The order follows the deployment scripts' requirements: the provider creates the proxies when it is
given the implementations, and reserves can be listed once an oracle and the ACL exist.
"""

from dataclasses import dataclass
from typing import Any

from devnet.assets import ASSETS, Asset
from devnet.deployment import Deployment
from devnet.tokens import Tokens
from devnet.toolchain.artifacts import Contract
from devnet.transactions import Transactions, checksum_address
from riskschema.units import ZERO_ADDRESS

RAY = 10**27
MAJORS_E_MODE = 1
# FlashLoanLogic links to BorrowLogic and therefore comes after it
LIBRARIES = (
    *("SupplyLogic", "BorrowLogic", "LiquidationLogic", "EModeLogic", "BridgeLogic"),
    *("PoolLogic", "ConfiguratorLogic", "FlashLoanLogic"),
)
ADMIN_ROLES = ("addPoolAdmin", "addAssetListingAdmin", "addRiskAdmin", "addEmergencyAdmin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aave:
    """The contracts a reader or a user of the market needs."""

    addresses_provider: Contract
    pool: Contract
    oracle: Contract
    data_provider: Contract


def deploy_aave(transactions: Transactions, tokens: Tokens) -> Aave:
    """Deploy a market of the three assets: one e-mode category (WETH and WBTC), stable rates for USDC."""
    for library in LIBRARIES:
        transactions.deploy_library(library)
    provider, pool, configurator = _deploy_core(transactions)
    symbols = list(ASSETS)
    oracle = transactions.deploy(
        "AaveOracle",
        provider.address,
        [tokens.tokens[symbol].address for symbol in symbols],
        [tokens.feeds[symbol].address for symbol in symbols],
        ZERO_ADDRESS,
        ZERO_ADDRESS,
        10**8,
    )
    data_provider = transactions.deploy("AaveProtocolDataProvider", provider.address)
    transactions.send(provider, "setPriceOracle", oracle.address)
    transactions.send(provider, "setPoolDataProvider", data_provider.address)
    _list_reserves(transactions, tokens, provider, pool, configurator)
    return Aave(addresses_provider=provider, pool=pool, oracle=oracle, data_provider=data_provider)


def settings_table(deployment: Deployment) -> dict[str, Any]:
    """Return what the settings of the Aave adapter need."""
    return {"addresses_provider": deployment.aave.addresses_provider}


def _deploy_core(transactions: Transactions) -> tuple[Contract, Contract, Contract]:
    admin = transactions.deployer
    provider = transactions.deploy("PoolAddressesProvider", "plimsoll devnet", admin)
    transactions.send(provider, "setACLAdmin", admin)
    transactions.mine_block()  # ACLManager's constructor reads the provider's ACL admin
    acl = transactions.deploy("ACLManager", provider.address)
    transactions.send(provider, "setACLManager", acl.address)
    for role in ADMIN_ROLES:
        transactions.send(acl, role, admin)
    for name, setter in (("Pool", "setPoolImpl"), ("PoolConfigurator", "setPoolConfiguratorImpl")):
        arguments = (provider.address,) if name == "Pool" else ()
        implementation = transactions.deploy(name, *arguments)
        transactions.send(implementation, "initialize", provider.address)
        transactions.send(provider, setter, implementation.address)
    transactions.mine_block()
    (pool,) = transactions.call(provider, "getPool")
    (configurator,) = transactions.call(provider, "getPoolConfigurator")
    return (
        provider,
        transactions.at("Pool", checksum_address(pool)),
        transactions.at("PoolConfigurator", checksum_address(configurator)),
    )


def _list_reserves(
    transactions: Transactions,
    tokens: Tokens,
    provider: Contract,
    pool: Contract,
    configurator: Contract,
) -> None:
    implementations = tuple(
        transactions.deploy(name, pool.address).address for name in ("AToken", "StableDebtToken", "VariableDebtToken")
    )
    rates = transactions.deploy(
        "DefaultReserveInterestRateStrategy",
        provider.address,
        RAY * 80 // 100,  # optimal utilisation
        0,
        RAY * 4 // 100,  # variable slope below it
        RAY * 60 // 100,  # and above
        RAY * 4 // 100,
        RAY * 60 // 100,
        RAY // 100,
        RAY * 8 // 100,
        RAY * 20 // 100,
    )
    rows = [_reserve(asset, tokens, implementations, rates.address, transactions.deployer) for asset in ASSETS.values()]
    transactions.send(configurator, "initReserves", rows)
    for symbol, asset in ASSETS.items():
        token = tokens.tokens[symbol].address
        limits = (asset.loan_to_value, asset.liquidation_threshold, asset.liquidation_bonus)
        transactions.send(configurator, "configureReserveAsCollateral", token, *limits)
        transactions.send(configurator, "setReserveBorrowing", token, True)
        transactions.send(configurator, "setReserveFactor", token, 1_000)
    transactions.send(configurator, "setReserveStableRateBorrowing", tokens.tokens["USDC"].address, True)
    majors = (MAJORS_E_MODE, 9_000, 9_100, 10_100, ZERO_ADDRESS, "Majors")
    transactions.send(configurator, "setEModeCategory", *majors)
    for symbol in ("WETH", "WBTC"):
        token = tokens.tokens[symbol].address
        transactions.send(configurator, "setAssetEModeCategory", token, MAJORS_E_MODE)
    transactions.mine_block()


def _reserve(
    asset: Asset, tokens: Tokens, implementations: tuple[str, ...], rates: str, treasury: str
) -> tuple[object, ...]:
    symbol = asset.symbol
    names = [f"{prefix}{symbol}" for prefix in ("a", "variableDebt", "stableDebt")]
    return (
        *implementations,
        asset.decimals,
        rates,
        tokens.tokens[symbol].address,
        treasury,
        ZERO_ADDRESS,
        *(text for name in names for text in (name, name)),
        b"\x10",
    )
