"""Queue transactions and put them on the chain a block at a time.

Everything queued between two `mine_block` calls travels in one request and lands in one block of a
chosen timestamp, so a deployment of hundreds of transactions takes a few round trips and gives the
same addresses and hashes every time.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from devnet.errors import TransactionReverted
from devnet.rpc import LocalRpc
from devnet.toolchain.artifacts import Artifact, Contract

TRANSACTION_GAS = 8_000_000
DEPLOYMENT_GAS = 12_000_000
GAS_PRICE_WEI = 2_000_000_000
UNLIMITED = 2**256 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Queued:
    what: str
    fields: dict[str, str]


class Transactions:
    """Sends for the unlocked accounts of a local chain whose automatic mining is off.

    Args:
        rpc: The chain.
        accounts: Unlocked accounts; the first one deploys.
        artifacts: Contracts by name.
        timestamp: Unix seconds of the next block.
        seconds_per_block: Distance of the blocks that follow.
    """

    def __init__(
        self,
        rpc: LocalRpc,
        *,
        accounts: tuple[str, ...],
        artifacts: dict[str, Artifact],
        timestamp: int,
        seconds_per_block: int = 12,
    ) -> None:
        self.accounts = accounts
        self.deployer = accounts[0]
        self.timestamp = timestamp
        self._rpc = rpc
        self._artifacts = artifacts
        self._seconds_per_block = seconds_per_block
        self._nonces: Counter[str] = Counter()
        self._libraries: dict[str, str] = {}
        self._queue: list[_Queued] = []

    def deploy(self, name: str, *arguments: Any) -> Contract:
        """Queue a deployment and return the contract at the address it will have."""
        artifact = self._artifacts[name]
        address = created_address(self.deployer, self._nonces[self.deployer])
        code = artifact.creation_code(self._libraries, *arguments)
        self._add(self.deployer, f"deploying {name}", {"data": code, "gas": hex(DEPLOYMENT_GAS)})
        return Contract(artifact=artifact, address=address)

    def deploy_library(self, name: str) -> None:
        """Queue the deployment of a library that later deployments link to."""
        self._libraries[name] = self.deploy(name).address

    def at(self, name: str, address: str) -> Contract:
        """Return a contract that exists already."""
        return Contract(artifact=self._artifacts[name], address=address)

    def send(self, contract: Contract, function: str, *arguments: Any, sender: str | None = None) -> None:
        """Queue a call that changes state; the deployer sends unless told otherwise."""
        fields = {
            "to": contract.address,
            "data": contract.artifact.call_data(function, *arguments),
            "gas": hex(TRANSACTION_GAS),
        }
        what = f"{contract.artifact.name}.{function}{arguments}"
        self._add(sender or self.deployer, what, fields)

    def call(self, contract: Contract, function: str, *arguments: Any) -> tuple[Any, ...]:
        """Return what a view function answers at the latest block."""
        request = {
            "to": contract.address,
            "data": contract.artifact.call_data(function, *arguments),
        }
        answer = self._rpc.request("eth_call", request, "latest")
        return contract.artifact.decode_result(function, len(arguments), answer)

    def set_balance(self, account: str, wei: int) -> None:
        """Give an account exactly this many wei from the next block on; nothing may be queued that needs more."""
        self._rpc.request("anvil_setBalance", account, hex(wei))

    def mine_block(self, *, seconds_later: int | None = None) -> None:
        """Mine everything queued into one block and check that all of it succeeded.

        Args:
            seconds_later: Distance of the following block, instead of the usual one.

        Raises:
            TransactionReverted: A contract refused; the message names call and reason.
        """
        queue, self._queue = self._queue, []
        # two requests: the calls of one batch run concurrently
        hashes = self._rpc.batch([("eth_sendTransaction", [item.fields]) for item in queue])
        self._rpc.request("evm_setNextBlockTimestamp", self.timestamp)
        self._rpc.request("evm_mine")
        receipts = self._rpc.batch([("eth_getTransactionReceipt", [h]) for h in hashes])
        for item, receipt in zip(queue, receipts, strict=True):
            if receipt is None or receipt["status"] != "0x1":
                raise TransactionReverted(f"{item.what} failed: {self._reason(item, receipt)}")
        self.timestamp += self._seconds_per_block if seconds_later is None else seconds_later

    def _add(self, sender: str, what: str, fields: dict[str, str]) -> None:
        nonce = self._nonces[sender]
        self._nonces[sender] += 1
        # a block is ordered by price: a falling price keeps the order of the queue
        price = GAS_PRICE_WEI - len(self._queue)
        common = {"from": sender, "nonce": hex(nonce), "gasPrice": hex(price)}
        self._queue.append(_Queued(what=what, fields={**common, **fields}))

    def _reason(self, item: _Queued, receipt: dict[str, Any] | None) -> str:
        if receipt is None:
            return "it was not mined"
        before = hex(int(receipt["blockNumber"], 16) - 1)
        fields = {key: value for key, value in item.fields.items() if key != "nonce"}
        answer = self._rpc.answers([("eth_call", [fields, before])])[0]
        message = answer.get("error", {}).get("message", "only in its place in the block")
        return str(message)


def created_address(sender: str, nonce: int) -> str:
    """Return the checksummed address CREATE gives (yellow paper, section 7)."""
    encoded_nonce = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    if len(encoded_nonce) != 1 or nonce >= 0x80:
        encoded_nonce = bytes([0x80 + len(encoded_nonce)]) + encoded_nonce
    payload = b"\x94" + bytes.fromhex(sender[2:]) + encoded_nonce
    return checksum_address(keccak(bytes([0xC0 + len(payload)]) + payload)[12:].hex())


def checksum_address(digits: str) -> str:
    """Return an address in EIP-55 spelling, from 40 hex digits with or without `0x`."""
    lower = digits.removeprefix("0x").lower()
    digest = keccak(lower.encode()).hex()
    letters = (c.upper() if int(d, 16) >= 8 else c for c, d in zip(lower, digest[:40], strict=True))
    return "0x" + "".join(letters)
