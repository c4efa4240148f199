"""A market of Aave v3.6 beside that of v3.0, on the same tokens and feeds: for tests of what later releases changed."""

from dataclasses import dataclass, replace
from typing import Any

from eth_abi.abi import encode

from devnet.assets import ASSETS
from devnet.local_chain import Devnet
from devnet.protocols.aave_v3 import ADMIN_ROLES
from devnet.toolchain.artifacts import load_aave_origin
from devnet.toolchain.packages import Progress, default_cache
from devnet.transactions import checksum_address
from riskschema.units import ZERO_ADDRESS

LIBRARIES = ("SupplyLogic", "BorrowLogic", "LiquidationLogic", "PoolLogic", "ConfiguratorLogic", "FlashLoanLogic")
RATES = (8_000, 0, 400, 6_000)
"""Basis points: optimal usage, base rate, and the two slopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AaveOrigin:
    """The market, and the chain with its contracts by name."""

    chain: Devnet
    addresses_provider: str
    pool: str
    configurator: str
    oracle: str
    admin: str

    def configure(self, function: str, *arguments: Any) -> None:
        """Send a call to the configurator as its administrator."""
        self.chain.send("PoolConfiguratorInstance", self.configurator, function, *arguments, sender=self.admin)

    def act(self, function: str, *arguments: Any, sender: str) -> None:
        """Send a call to the pool."""
        self.chain.send("PoolInstance", self.pool, function, *arguments, sender=sender)

    def told(self, function: str, *arguments: Any) -> tuple[Any, ...]:
        """Return what a view function of the pool answers."""
        return self.chain.call("PoolInstance", self.pool, function, *arguments)


def deploy_aave_origin(devnet: Devnet, progress: Progress = lambda _: None) -> AaveOrigin:
    """Deploy a market of the local chain's assets, one block per transaction.

    Args:
        devnet: A seeded local chain that mines by itself.
        progress: Called with one line per step that takes time.
    """
    artifacts = load_aave_origin(cache=default_cache(), progress=progress)
    deployer = _Deployer(replace(devnet, artifacts={**devnet.artifacts, **artifacts}))
    chain, admin = deployer.chain, devnet.deployment.deployer
    for library in LIBRARIES:
        deployer.libraries[library] = deployer.deploy(library)
    provider = deployer.deploy("PoolAddressesProvider", "plimsoll", admin)
    to_provider = ("PoolAddressesProvider", provider)
    chain.send(*to_provider, "setACLAdmin", admin, sender=admin)
    acl = deployer.deploy("ACLManager", provider)
    chain.send(*to_provider, "setACLManager", acl, sender=admin)
    for role in ADMIN_ROLES:
        chain.send("ACLManager", acl, role, admin, sender=admin)
    rates = deployer.deploy("DefaultReserveInterestRateStrategyV2", provider)
    chain.send(*to_provider, "setPoolImpl", deployer.deploy("PoolInstance", provider, rates), sender=admin)
    configurator = deployer.deploy("PoolConfiguratorInstance")
    chain.send(*to_provider, "setPoolConfiguratorImpl", configurator, sender=admin)
    assets = devnet.deployment.assets
    tokens, feeds = ([getattr(asset, name) for asset in assets] for name in ("token", "feed"))
    oracle = deployer.deploy("AaveOracle", provider, tokens, feeds, ZERO_ADDRESS, ZERO_ADDRESS, 10**8)
    chain.send(*to_provider, "setPriceOracle", oracle, sender=admin)
    data_provider = deployer.deploy("AaveProtocolDataProvider", provider)
    chain.send(*to_provider, "setPoolDataProvider", data_provider, sender=admin)
    pool, proxy = (chain.call(*to_provider, name)[0] for name in ("getPool", "getPoolConfigurator"))
    market = AaveOrigin(
        chain=chain,
        addresses_provider=provider,
        pool=checksum_address(pool),
        configurator=checksum_address(proxy),
        oracle=oracle,
        admin=admin,
    )
    _list_reserves(deployer, market)
    return market


class _Deployer:
    """Creates contracts, linked to the libraries that exist."""

    def __init__(self, chain: Devnet) -> None:
        self.chain = chain
        self.libraries: dict[str, str] = {}

    def deploy(self, name: str, *arguments: Any) -> str:
        """Create a contract and return its address."""
        code = self.chain.artifacts[name].creation_code(self.libraries, *arguments)
        receipt = self.chain.transact({"from": self.chain.deployment.deployer, "data": code}, what=f"deploying {name}")
        return checksum_address(receipt["contractAddress"])


def _list_reserves(deployer: _Deployer, market: AaveOrigin) -> None:
    supply = deployer.deploy("ATokenInstance", market.pool, ZERO_ADDRESS, market.admin)
    debt = deployer.deploy("VariableDebtTokenInstance", market.pool, ZERO_ADDRESS)
    rates = encode(["(uint16,uint32,uint32,uint32)"], [RATES])
    rows = [
        (supply, debt, asset.token, *(2 * [f"a{asset.symbol}"]), *(2 * [f"v{asset.symbol}"]), b"", rates)
        for asset in market.chain.deployment.assets
    ]
    market.configure("initReserves", rows)
    for asset in market.chain.deployment.assets:
        known = ASSETS[asset.symbol]
        limits = (known.loan_to_value, known.liquidation_threshold, known.liquidation_bonus)
        market.configure("configureReserveAsCollateral", asset.token, *limits)
        market.configure("setReserveBorrowing", asset.token, True)
        market.configure("setReserveFactor", asset.token, 1_000)
