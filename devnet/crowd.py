"""Many more Aave accounts, for measuring how fast a node reads and assesses."""

from eth_hash.auto import keccak

from devnet.assets import ASSETS
from devnet.local_chain import Devnet
from devnet.transactions import UNLIMITED, Transactions, checksum_address

ACCOUNTS_PER_BLOCK = 100
VARIABLE_RATE = 2
LOWEST_DEBT_USDC, HIGHEST_DEBT_USDC = 200, 2_200


def seed_crowd(devnet: Devnet, count: int) -> tuple[str, ...]:
    """Give `count` new accounts one WETH on Aave and a USDC debt of 200 to 2 200 each.

    Args:
        devnet: The chain; its automatic mining is on again afterwards.
        count: How many accounts.

    Returns:
        Their addresses, the same every time.

    Raises:
        TransactionReverted: Aave refused, as when the crowd borrows more than the reserve holds.
    """
    accounts = tuple(checksum_address(keccak(b"crowd %d" % i)[12:].hex()) for i in range(count))
    rpc = devnet.anvil.rpc
    rpc.request("evm_setAutomine", False)
    rpc.request("anvil_autoImpersonateAccount", True)
    latest = int(rpc.request("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    transactions = Transactions(
        rpc,
        accounts=(devnet.deployment.deployer,),
        artifacts=dict(devnet.artifacts),
        timestamp=latest + 1,
        seconds_per_block=1,
    )
    for start in range(0, count, ACCOUNTS_PER_BLOCK):
        batch = accounts[start : start + ACCOUNTS_PER_BLOCK]
        rpc.batch([("anvil_setBalance", [account, hex(10**20)]) for account in batch])
        for offset, account in enumerate(batch):
            _open_position(devnet, transactions, account, number=start + offset)
        transactions.mine_block()
    rpc.request("anvil_autoImpersonateAccount", False)
    rpc.request("evm_setAutomine", True)
    return accounts


def _open_position(devnet: Devnet, transactions: Transactions, account: str, *, number: int) -> None:
    weth, usdc = (devnet.deployment.asset(symbol).token for symbol in ("WETH", "USDC"))
    token, pool = transactions.at("MintableToken", weth), transactions.at("Pool", devnet.deployment.aave.pool)
    amount = ASSETS["WETH"].base_units(1)
    debt = LOWEST_DEBT_USDC + number * 7 % (HIGHEST_DEBT_USDC - LOWEST_DEBT_USDC)
    transactions.send(token, "mint", account, amount, sender=account)
    transactions.send(token, "approve", pool.address, UNLIMITED, sender=account)
    transactions.send(pool, "supply", weth, amount, account, 0, sender=account)
    transactions.send(pool, "borrow", usdc, ASSETS["USDC"].base_units(debt), VARIABLE_RATE, 0, account, sender=account)
