"""A running devnet: read its contracts by name, act on them from its unlocked accounts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devnet.anvil import Anvil
from devnet.deployment import Deployment
from devnet.errors import TransactionReverted
from devnet.toolchain.artifacts import Artifact

TRANSACTION_GAS = 12_000_000
Action = tuple[str, str, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Devnet:
    """A local chain with the protocols deployed.

    Attributes:
        anvil: The process; snapshots, time and balances are its methods.
        deployment: All addresses.
        artifacts: Contracts by name (`Pool`, `Morpho`, `UniswapV3Pool`, `MintableToken` ...).
    """

    anvil: Anvil
    deployment: Deployment
    artifacts: Mapping[str, Artifact] = field(repr=False)

    @property
    def url(self) -> str:
        """Return the HTTP JSON-RPC address."""
        return self.anvil.url

    def call(
        self, contract: str, address: str, function: str, *arguments: Any, block: str = "latest"
    ) -> tuple[Any, ...]:
        """Return what a view function answers, decoded.

        Args:
            contract: Name of the artifact.
            address: Where it is.
            function: Name of the function.
            *arguments: Its arguments.
            block: Block tag or hex height.

        Raises:
            DevnetError: The call reverts.
        """
        artifact = self.artifacts[contract]
        request = {"to": address, "data": artifact.call_data(function, *arguments)}
        answer = self.anvil.rpc.request("eth_call", request, block)
        return artifact.decode_result(function, len(arguments), answer)

    def send(self, contract: str, address: str, function: str, *arguments: Any, sender: str) -> dict[str, Any]:
        """Send one transaction from an unlocked account and return its receipt.

        Raises:
            TransactionReverted: The contract refused; the message has its reason.
        """
        return self.send_all([(contract, address, function, arguments)], sender=sender)[0]

    def send_all(self, actions: list[Action], *, sender: str) -> list[dict[str, Any]]:
        """Send several transactions, one block each, and return their receipts in order.

        Args:
            actions: Contract name, address, function and arguments of each.
            sender: Unlocked account.

        Raises:
            TransactionReverted: A contract refused; the message has its reason.
        """
        receipts = []
        for contract, address, function, arguments in actions:
            data = self.artifacts[contract].call_data(function, *arguments)
            what = f"{contract}.{function}{arguments}"
            receipts.append(self.transact({"from": sender, "to": address, "data": data}, what=what))
        return receipts

    def transact(self, fields: Mapping[str, str], *, what: str = "the transaction") -> dict[str, Any]:
        """Send one transaction as `eth_sendTransaction` takes it and return its receipt.

        Args:
            fields: `from` (an unlocked account), `to` (left out to create a contract), `data`, `value`.
            what: Names it in the error.

        Raises:
            TransactionReverted: It failed; the message has the reason.
        """
        rpc = self.anvil.rpc
        complete = {"gas": hex(TRANSACTION_GAS), **fields}
        receipt: dict[str, Any] = rpc.request("eth_sendTransactionSync", complete)
        if receipt["status"] != "0x1":
            answer = rpc.answers([("eth_call", [complete, "latest"])])[0]
            reason = answer.get("error", {}).get("message", "no reason given")
            raise TransactionReverted(f"{what} failed: {reason}")
        return receipt
