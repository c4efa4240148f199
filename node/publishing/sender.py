"""What an endpoint says to and about one sending account; its words are turned into values here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from adapters.chains.answers import RpcAnswer, as_revert, failure, malformed, printable, to_block, to_quantity
from adapters.chains.provider import Request
from adapters.chains.relay import Relay
from adapters.chains.transport import Transport
from riskschema.errors import InvalidData, TransientError
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Hash32

DEFAULT_TIP_WEI = 10**9
"""Where an endpoint suggests no priority fee."""

_KNOWN = re.compile(r"already known|already imported|known transaction|already exists|already in", re.IGNORECASE)
_NONCE_USED = re.compile(r"nonce too low|nonce is too low|old ?nonce|invalid nonce", re.IGNORECASE)
_UNDERPRICED = re.compile(r"underpriced|fee too low|less than block base fee|gas price too low", re.IGNORECASE)
_NO_FUNDS = re.compile(r"insufficient (funds|balance)|not enough (funds|balance)", re.IGNORECASE)

ExplainRevert = Callable[[bytes], str]
"""Says in words why the destination contract reverted, from the bytes it returned."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction in a canonical block."""

    hash: Hash32
    succeeded: bool
    block_number: int
    gas_used: int


class Sender:
    """The endpoint's view of one account.

    Args:
        transport: The way to an endpoint.
        chain_id: The chain it serves.
        address: The account.
        explain: Puts a revert into words.
    """

    def __init__(
        self, transport: Transport | Relay, *, chain_id: int, address: Address, explain: ExplainRevert
    ) -> None:
        self.address = address
        self._transport = transport
        self._chain_id = chain_id
        self._explain = explain

    @property
    def where(self) -> str:
        """Whose word it is."""
        return self._transport.where

    async def head(self) -> BlockReference:
        """Return the newest block."""
        answer = await self._transport.one("eth_getBlockByNumber", "latest", False)
        return to_block(answer, self._chain_id, f"{self.where} eth_getBlockByNumber latest")

    async def gas_prices(self) -> tuple[int, int]:
        """Return the newest block's base fee and the suggested priority fee, both in wei.

        Raises:
            TransientError: the chain has no base fee, or the endpoint failed.
        """
        requests = [("eth_getBlockByNumber", ["latest", False]), ("eth_maxPriorityFeePerGas", list[Any]())]
        block, tip = await self._transport.many(requests)
        if block.error:
            raise failure(block.error, f"{self.where} eth_getBlockByNumber latest")
        if not isinstance(block.result, dict) or block.result.get("baseFeePerGas") is None:
            raise malformed(self.where, "answered a block without base fee (EIP-1559)")
        base_fee = to_quantity(block.result["baseFeePerGas"], self.where)
        return base_fee, DEFAULT_TIP_WEI if tip.error else to_quantity(tip.result, self.where)

    async def next_nonce(self) -> int:
        """Return how many transactions of the account are in the chain.

        Raises:
            TransientError: the endpoint failed or answered nonsense.
        """
        return self._nonce(await self._transport.one("eth_getTransactionCount", str(self.address), "latest"))

    def _nonce(self, result: object) -> int:
        where = f"{self.where} eth_getTransactionCount"
        nonce = to_quantity(result, where)
        if nonce > 2**53:
            raise malformed(where, "answered an impossible nonce")
        return nonce

    async def balance(self) -> int:
        """Return what the account has, in wei.

        Raises:
            TransientError: the endpoint failed or answered nonsense.
        """
        answer = await self._transport.one("eth_getBalance", str(self.address), "latest")
        return to_quantity(answer, f"{self.where} eth_getBalance")

    async def has_code(self, to: Address) -> bool:
        """Tell whether there is a contract.

        Raises:
            TransientError: the endpoint failed or answered nonsense.
        """
        answer = await self._transport.one("eth_getCode", str(to), "latest")
        if not isinstance(answer, str) or not answer.startswith("0x"):
            raise malformed(f"{self.where} eth_getCode", "answered no bytes")
        return answer != "0x"

    async def read(self, to: Address, data: bytes) -> bytes:
        """Return what a view function answers at the newest block.

        Raises:
            TransientError: the endpoint failed or answered nonsense, or the contract refuses.
        """
        where = f"{self.where} eth_call"
        answer = await self._transport.one("eth_call", {"to": str(to), "data": "0x" + data.hex()}, "latest")
        if not isinstance(answer, str) or not answer.startswith("0x"):
            raise malformed(where, "answered no bytes")
        try:
            return bytes.fromhex(answer[2:])
        except ValueError as error:
            raise malformed(where, "answered no bytes") from error

    async def simulate(self, to: Address, data: bytes, *, max_gas: int) -> int:
        """Run the call without sending it; return the gas it needs.

        Args:
            to: The destination contract.
            data: Calldata.
            max_gas: The most it may use.

        Raises:
            InvalidData: the contract refuses, with its reason.
            TransientError: the endpoint failed.
        """
        call = {"from": str(self.address), "to": str(to), "data": "0x" + data.hex(), "gas": hex(max_gas)}
        requests = [(method, [call, "latest"]) for method in ("eth_call", "eth_estimateGas")]
        called, estimated = await self._transport.many(requests)
        for answer, method in ((called, "eth_call"), (estimated, "eth_estimateGas")):
            if answer.error is None:
                continue
            reverted = as_revert(answer.error)
            if reverted is None:
                raise failure(answer.error, f"{self.where} {method}")
            reason = self._explain(reverted.data) if reverted.data else reverted.message
            raise InvalidData(
                f"contract {to} on chain {self._chain_id} refuses: {printable(reason)}", code="publish_refused"
            )
        gas = to_quantity(estimated.result, f"{self.where} eth_estimateGas")
        if gas > max_gas:
            raise InvalidData(
                f"the call of {to} on chain {self._chain_id} needs {gas} gas, the limit is {max_gas}",
                code="publish_refused",
            )
        return gas

    async def broadcast(self, raw: bytes) -> None:
        """Hand a signed transaction to the endpoint; one that it knows already, or that landed, is no failure.

        Raises:
            TransientError: the account has too little money, or the endpoint refuses or failed.
        """
        (answer,) = await self._transport.many([("eth_sendRawTransaction", ["0x" + raw.hex()])])
        if answer.error is None or any(
            pattern.search(answer.error.message) for pattern in (_KNOWN, _NONCE_USED, _UNDERPRICED)
        ):
            return  # whether it lands is seen by its receipt; an underpriced one is replaced later
        if _NO_FUNDS.search(answer.error.message):
            raise TransientError(
                f"the transmitter account {self.address} on chain {self._chain_id} cannot pay for the transaction: "
                "send it some of the chain's own coin",
                code="transmitter_unfunded",
            )
        raise failure(answer.error, f"{self.where} eth_sendRawTransaction")

    async def receipts(self, hashes: Sequence[Hash32]) -> dict[Hash32, Receipt]:
        """Return the receipts of those transactions that are in the chain.

        Raises:
            TransientError: the endpoint failed or answered nonsense.
        """
        return self._found(hashes, await self._transport.many([_receipt_of(each) for each in hashes]))

    async def fate(self, hashes: Sequence[Hash32], *, block: int) -> tuple[int, dict[Hash32, Receipt]]:
        """Return how many transactions of the account are in the chain up to `block`, and the receipts of some.

        Both are one endpoint's word: where another were asked for the receipts, one that lags would seem to have lost a
        transaction whose nonce is used.

        Raises:
            TransientError: the endpoint failed or answered nonsense.
        """
        count = ("eth_getTransactionCount", [str(self.address), hex(block)])
        answer, *answers = await self._transport.many([count, *(_receipt_of(each) for each in hashes)])
        if answer.error:
            raise failure(answer.error, f"{self.where} eth_getTransactionCount")
        return self._nonce(answer.result), self._found(hashes, answers)

    def _found(self, hashes: Sequence[Hash32], answers: Sequence[RpcAnswer]) -> dict[Hash32, Receipt]:
        found: dict[Hash32, Receipt] = {}
        for wanted, answer in zip(hashes, answers, strict=True):
            if answer.error:
                raise failure(answer.error, f"{self.where} eth_getTransactionReceipt")
            if answer.result is not None:
                found[wanted] = self._receipt(wanted, answer.result)
        return found

    def _receipt(self, wanted: Hash32, result: object) -> Receipt:
        where = f"{self.where} eth_getTransactionReceipt"
        if not isinstance(result, dict) or str(result.get("transactionHash")).lower() != wanted:
            raise malformed(where, "answered the receipt of another transaction")
        status, block, gas = (to_quantity(result.get(key), where) for key in ("status", "blockNumber", "gasUsed"))
        if max(block, gas) > 2**53:
            raise malformed(where, "answered an impossible receipt")
        return Receipt(hash=wanted, succeeded=status == 1, block_number=block, gas_used=gas)


def _receipt_of(hash_: Hash32) -> Request:
    return "eth_getTransactionReceipt", [str(hash_)]
