"""Sending the few transactions that found a network: one after the other, each waited for, none repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from adapters.chains.answers import as_revert, failure, to_quantity
from adapters.chains.provider import BoundedProvider
from adapters.chains.transport import Transport
from attest.keys.keystore import LocalSigner
from node.publishing.sender import ExplainRevert, Receipt, Sender
from node.publishing.transactions import Fees, Payload, created_address, offered_fees, sign_transaction
from riskschema.errors import FatalError, TransientError
from riskschema.units import Address, Hash32

MAX_ANSWER_BYTES = 4 * 1024 * 1024
POLL_SECONDS = 0.5
GWEI = 10**9


@asynccontextmanager
async def open_deployer(
    *,
    rpc_url: str,
    chain_id: int,
    signer: LocalSigner,
    explain: ExplainRevert,
    max_fee_per_gas: int,
    patience: float,
    timeout_seconds: float,
) -> AsyncIterator[Deployer]:
    """Open the way to one chain for an account that pays.

    Args:
        rpc_url: http(s) address, checked before (`adapters.chains.open_chain`).
        chain_id: The chain it serves.
        signer: Key of the account.
        explain: Puts a revert into words.
        max_fee_per_gas: The most that is paid per gas, in wei.
        patience: Seconds that a transaction may take to land.
        timeout_seconds: For one request.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_seconds)) as session:
        provider = BoundedProvider(rpc_url, session, max_answer_bytes=MAX_ANSWER_BYTES)
        transport = Transport(provider, batch_size=100, concurrency=1, attempts=3)
        sender = Sender(transport, chain_id=chain_id, address=signer.address, explain=explain)
        yield Deployer(
            transport,
            sender,
            chain_id=chain_id,
            signer=signer,
            explain=explain,
            max_fee_per_gas=max_fee_per_gas,
            patience=patience,
        )


class Deployer:
    """Sends from one account; made by `open_deployer`."""

    def __init__(
        self,
        transport: Transport,
        sender: Sender,
        *,
        chain_id: int,
        signer: LocalSigner,
        explain: ExplainRevert,
        max_fee_per_gas: int,
        patience: float,
    ) -> None:
        self._transport = transport
        self._explain = explain
        self._sender = sender
        self._chain_id = chain_id
        self._signer = signer
        self._max_fee_per_gas = max_fee_per_gas
        self._patience = patience
        self.gas_used = 0

    async def balance(self) -> int:
        """Return what the account has, in wei.

        Raises:
            TransientError: the endpoint failed.
        """
        return await self._sender.balance()

    async def fees(self) -> Fees:
        """Return what is offered per gas now.

        Raises:
            FatalError: the chain asks more than the cap.
            TransientError: the endpoint failed.
        """
        base_fee, tip = await self._sender.gas_prices()
        if base_fee > self._max_fee_per_gas:
            raise FatalError(
                f"chain {self._chain_id} asks {base_fee / GWEI:g} gwei per gas, the limit is "
                f"{self._max_fee_per_gas / GWEI:g}: raise --max-fee-gwei, or wait",
                code="publish_refused",
            )
        return offered_fees(base_fee=base_fee, tip=tip, cap=self._max_fee_per_gas, tip_cap=self._max_fee_per_gas)

    async def send(self, to: Address | None, data: bytes) -> Address | None:
        """Send, wait until it landed, and return the address of what was created.

        Raises:
            FatalError: it reverts, or it has not landed in time: look at its hash before anything is sent again.
            TransientError: the endpoint failed; nothing was sent.
        """
        gas = await self._estimate(to, data)
        nonce = await self._sender.next_nonce()
        payload = Payload(to=to, data=data, gas=gas + gas // 4)
        signed = sign_transaction(self._chain_id, nonce, payload, await self.fees(), self._signer)
        await self._sender.broadcast(signed.raw)
        receipt = await self._landed(signed.hash)
        self.gas_used += receipt.gas_used
        if not receipt.succeeded:
            raise FatalError(f"transaction {signed.hash} on chain {self._chain_id} reverted", code="publish_refused")
        return created_address(self._signer.address, nonce) if to is None else None

    async def _estimate(self, to: Address | None, data: bytes) -> int:
        call = {"from": str(self._signer.address), "data": "0x" + data.hex()} | ({} if to is None else {"to": str(to)})
        (answer,) = await self._transport.many([("eth_estimateGas", [call])])
        if answer.error is None:
            return to_quantity(answer.result, f"{self._sender.where} eth_estimateGas")
        reverted = as_revert(answer.error)
        if reverted is None:
            raise failure(answer.error, f"{self._sender.where} eth_estimateGas")
        reason = self._explain(reverted.data) if reverted.data else reverted.message
        raise FatalError(f"chain {self._chain_id} refuses the transaction: {reason}", code="publish_refused")

    async def _landed(self, wanted: Hash32) -> Receipt:
        """Look for a receipt until it is there; an endpoint that fails meanwhile is asked again."""
        problem: TransientError | None = None
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    try:
                        found = await self._sender.receipts([wanted])
                    except TransientError as error:
                        problem, found = error, {}
                    if wanted in found:
                        return found[wanted]
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise FatalError(
                f"transaction {wanted} on chain {self._chain_id} has not landed within {self._patience:g} s"
                f"{f' ({problem.message})' if problem else ''}: wait for it before anything else is sent from "
                f"{self._signer.address}",
                code="publish_late",
            ) from problem
