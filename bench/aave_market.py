"""More of a market than the local chain comes with: further reserves, and accounts that change."""

from devnet.local_chain import Devnet
from riskschema.units import ZERO_ADDRESS, Address


def list_reserves(devnet: Devnet, count: int) -> None:
    """List `count` further reserves that nobody uses, priced as the first asset is."""
    chosen, deployer = devnet.deployment.aave, devnet.deployment.deployer
    first = devnet.deployment.assets[0]
    reserve = devnet.call("Pool", chosen.pool, "getReserveData", first.token)[0]
    configurator = devnet.call("PoolAddressesProvider", chosen.addresses_provider, "getPoolConfigurator")[0]
    kinds = [_deploy(devnet, name, chosen.pool) for name in ("AToken", "StableDebtToken", "VariableDebtToken")]
    tokens = [_deploy(devnet, "MintableToken", f"Token {number}", f"T{number}", 18) for number in range(count)]
    sources = [first.feed] * count
    devnet.send("AaveOracle", chosen.oracle, "setAssetSources", tokens, sources, sender=deployer)
    for token in tokens:
        names = [f"{prefix}T" for prefix in ("a", "variableDebt", "stableDebt") for _ in range(2)]
        row = (*kinds, 18, reserve[11], token, deployer, ZERO_ADDRESS, *names, b"\x10")
        devnet.send("PoolConfigurator", configurator, "initReserves", [row], sender=deployer)
        limits = (7_000, 8_000, 10_500)
        devnet.send("PoolConfigurator", configurator, "configureReserveAsCollateral", token, *limits, sender=deployer)


def change(devnet: Devnet, accounts: list[Address]) -> None:
    """Let accounts owe a little more."""
    loan = next(asset.token for asset in devnet.deployment.assets if asset.symbol == "USDC")
    for account in accounts:
        devnet.anvil.impersonate(account)
        devnet.send("Pool", devnet.deployment.aave.pool, "borrow", loan, 10**6, 2, 0, account, sender=account)


def _deploy(devnet: Devnet, name: str, *arguments: object) -> str:
    code = devnet.artifacts[name].creation_code({}, *arguments)
    address: str = devnet.transact({"from": devnet.deployment.deployer, "data": code})["contractAddress"]
    return address
