"""Thousands of Aave accounts on the local chain within seconds: opened by a contract, many in a transaction.

Each supplies two collaterals and borrows once through the pool itself, so that nothing about them is made up.
"""

import json
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from devnet.local_chain import Devnet
from devnet.toolchain.artifacts import Artifact
from devnet.toolchain.packages import default_cache, fetch_package
from devnet.toolchain.solc import run_solc
from riskschema.units import Address

SOURCE = Path(__file__).with_name("Borrowers.sol")
ACCOUNTS_AT_ONCE = 40
"""In one transaction, which may use 16.7 million gas."""
TRANSACTIONS_AT_ONCE = 20
"""In one block."""


def make_accounts(devnet: Devnet, count: int) -> list[Address]:
    """Give `count` addresses two collaterals and one debt; return them in the order in which they borrowed."""
    funder, pool = devnet.deployment.deployer, devnet.deployment.aave.pool
    tokens = {asset.symbol: asset.token for asset in devnet.deployment.assets}
    devnet.send("MintableToken", tokens["USDC"], "mint", funder, 2**120, sender=funder)
    devnet.send("MintableToken", tokens["USDC"], "approve", pool, 2**256 - 1, sender=funder)
    devnet.send("Pool", pool, "supply", tokens["USDC"], 10**15, funder, 0, sender=funder)
    compiled = _compiled()
    opener, borrower = compiled["Borrowers"], compiled["Borrower"]
    code = opener.creation_code({}, pool, [tokens[symbol] for symbol in ("WETH", "WBTC", "USDC")])
    at: str = devnet.transact({"from": funder, "data": code})["contractAddress"]
    _open(devnet, opener, at, count)
    digest = keccak(bytes.fromhex(borrower.bytecode[2:]))
    accounts = [_address(at, number, digest) for number in range(1, count + 1)]
    for account in (accounts[0], accounts[-1]):
        debt = devnet.call("Pool", pool, "getUserAccountData", account)[1]
        assert debt, f"{account} was not opened"
    return accounts


def _open(devnet: Devnet, opener: Artifact, at: str, count: int) -> None:
    rpc, sender = devnet.anvil.rpc, devnet.deployment.deployer
    requests: list[tuple[str, list[Any]]] = [
        (
            "eth_sendTransaction",
            [
                {
                    "from": sender,
                    "to": at,
                    "gas": hex(2**24),
                    "data": opener.call_data("open", first, min(ACCOUNTS_AT_ONCE, count + 1 - first)),
                }
            ],
        )
        for first in range(1, count + 1, ACCOUNTS_AT_ONCE)
    ]
    rpc.request("evm_setAutomine", False)
    for first in range(0, len(requests), TRANSACTIONS_AT_ONCE):
        rpc.batch(requests[first : first + TRANSACTIONS_AT_ONCE])
        rpc.request("evm_mine")
    rpc.request("evm_setAutomine", True)


def _address(opener: str, number: int, digest: bytes) -> Address:
    """Return what ``CREATE2`` calls an account (EIP-1014)."""
    parts = b"\xff" + bytes.fromhex(opener[2:]) + number.to_bytes(32, "big") + digest
    return Address("0x" + keccak(parts)[12:].hex())


def _compiled() -> dict[str, Artifact]:
    request = {
        "language": "Solidity",
        "sources": {SOURCE.name: {"content": SOURCE.read_text()}},
        "settings": {
            "optimizer": {"enabled": True, "runs": 200},
            "evmVersion": "paris",
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
        },
    }
    solc = fetch_package("solc-0_8_19", cache=default_cache(), progress=lambda _: None)
    return {
        name: Artifact(
            name=name, abi=tuple(found["abi"]), bytecode="0x" + found["evm"]["bytecode"]["object"], link_references={}
        )
        for name, found in run_solc(solc, json.dumps(request))["contracts"][SOURCE.name].items()
    }
