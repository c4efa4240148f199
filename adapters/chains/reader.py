"""One EVM chain through one or more JSON-RPC endpoints, read at a block hash."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import aiohttp

from adapters.chains.answers import RpcAnswer, as_revert, failure, to_block, to_bytes, to_quantity
from adapters.chains.endpoint import Endpoint, EndpointOptions, EndpointReport
from adapters.chains.learned import Learned
from adapters.chains.logs import LogFilter, read_logs
from adapters.chains.multicall import MULTICALL3, Aggregation, aggregated, separated
from adapters.chains.pool import EndpointPool
from adapters.chains.provider import origin
from adapters.chains.relay import Relay
from riskschema.errors import TransientError
from riskschema.holders import Log
from riskschema.portfolio import BlockReference
from riskschema.ports import Call, CallResult, CallSuccess
from riskschema.units import Address, Hash32

Finality = Literal["latest", "safe", "finalized"]


@asynccontextmanager
async def open_chain(
    *,
    rpc_url: str | None = None,
    endpoints: Sequence[EndpointOptions] = (),
    chain_id: int,
    agreement: int | None = None,
    genesis_hash: Hash32 | None = None,
    finality: Finality = "finalized",
    confirmations: int = 0,
    multicall: bool = True,
    timeout_seconds: float = 10.0,
    attempts: int = 4,
    max_answer_bytes: int = 32 * 1024 * 1024,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Chain]:
    """Open a chain and check that it is the right one.

    Args:
        rpc_url: http(s) address of the only endpoint, with the usual limits.
        endpoints: In place of `rpc_url`: those to ask, own ones first.
        chain_id: The chain id they must serve.
        agreement: How many endpoints must say the same; more than half of them if None.
        genesis_hash: The hash its block 0 must have; None leaves it unchecked (read it from the result).
        finality: The block tag that `Chain.head` follows.
        confirmations: Further blocks to stay behind that tag.
        multicall: Ask through Multicall3 where it is deployed.
        timeout_seconds: For one batch, connecting included.
        attempts: Times that all endpoints are tried; only transport failures and rate limits are tried again.
        max_answer_bytes: Largest answer accepted.
        clock: Unix seconds: whether a head is old.

    Raises:
        FatalError: too few endpoints serve the chain id and genesis, or an address is no http(s) address.
        TransientError: too few endpoints can be reached.
    """
    options = [EndpointOptions(url=rpc_url)] if rpc_url is not None else list(endpoints)
    names = [origin(each.url) for each in options]
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        pool = EndpointPool(
            [
                Endpoint(
                    each,
                    session,
                    chain_id=chain_id,
                    name=name if names.count(name) == 1 else f"{name}#{names[:at].count(name) + 1}",
                    max_answer_bytes=max_answer_bytes,
                    now=clock,
                )
                for at, (each, name) in enumerate(zip(options, names, strict=True))
            ],
            chain_id=chain_id,
            agreement=majority(len(options)) if agreement is None else agreement,
            attempts=attempts,
            batch_size=max(each.batch_size for each in options),
            concurrency=max(each.concurrency for each in options),
            clock=clock,
        )
        yield Chain(
            pool,
            chain_id=chain_id,
            genesis_hash=await pool.open(genesis_hash),
            finality=finality,
            confirmations=confirmations,
            log_range=max(each.log_range for each in options),
            multicall=multicall,
        )


def majority(endpoints: int) -> int:
    """Return how many of so many endpoints must agree where nobody says: with fewer liars than that none is believed.

    One where there is one or two: of two, one may be a spare.
    """
    return endpoints // 2 + 1 if endpoints > 2 else 1


class Chain:
    """The `ChainReader` of a pool of endpoints; made by `open_chain`."""

    def __init__(
        self,
        transport: EndpointPool,
        *,
        chain_id: int,
        genesis_hash: Hash32,
        finality: Finality,
        confirmations: int,
        log_range: int,
        multicall: bool,
    ) -> None:
        self._transport = transport
        self._chain_id = chain_id
        self._finality = finality
        self._confirmations = confirmations
        self._log_range = log_range
        self._multicall = multicall
        self._looked_for_multicall = False
        self._aggregation: Aggregation | None = None
        self.genesis_hash = genesis_hash

    @property
    def chain_id(self) -> int:
        """The chain id, checked against the endpoint."""
        return self._chain_id

    @property
    def agreement(self) -> int:
        """How many endpoints must say the same."""
        return self._transport.agreement

    def endpoints(self) -> tuple[EndpointReport, ...]:
        """Return what is known of each endpoint, in the order in which they are asked."""
        return self._transport.reports()

    def learned(self) -> tuple[Learned, ...]:
        """Return what each endpoint was found to take, in the order in which they are asked."""
        return self._transport.learned()

    def relay(self) -> Relay:
        """Return a way to one of its endpoints at a time, for transactions."""
        return self._transport.relay()

    async def head(self) -> BlockReference:
        """Return the newest block of the configured finality, `confirmations` below its tag (at lowest block 0)."""
        tagged = await self._transport.head(self._finality)
        if not self._confirmations:
            return tagged
        return await self.block(max(0, tagged.number - self._confirmations))

    async def block(self, number: int) -> BlockReference:
        """Return the canonical block at `number`.

        Raises:
            TransientError: the endpoint has no such block (yet).
        """
        block = await self._block("eth_getBlockByNumber", hex(number))
        if block.number != number:
            raise TransientError(
                f"{self._transport.where}: answered block {block.number} for {number}", code="endpoint_malformed"
            )
        return block

    async def pin(self, block: BlockReference) -> PinnedChain:
        """Return a reader of `block`, after checking that the endpoint knows it as canonical.

        Raises:
            TransientError: it does not (yet, or since a reorg).
        """
        if await self._block("eth_getBlockByHash", str(block.hash)) != block:
            raise TransientError(
                f"{self._transport.where}: block {block.hash} is not at height {block.number}", code="block_unknown"
            )
        pinned = PinnedChain(self._transport, block, log_range=self._log_range)
        await pinned.check_canonical()
        if not self._multicall:
            return pinned
        if not self._looked_for_multicall:
            self._aggregation = Aggregation() if (await pinned.has_code([MULTICALL3]))[0] else None
            self._looked_for_multicall = True
        return PinnedChain(self._transport, block, log_range=self._log_range, aggregation=self._aggregation)

    async def _block(self, method: str, parameter: str) -> BlockReference:
        where = f"{self._transport.where} {method} {parameter}"
        return to_block(await self._transport.one(method, parameter, False), self._chain_id, where)


class PinnedChain:
    """The `PinnedReader` of one block hash."""

    def __init__(
        self, transport: EndpointPool, block: BlockReference, *, log_range: int, aggregation: Aggregation | None = None
    ) -> None:
        self._transport = transport
        self._aggregation = aggregation
        self._block = block
        self._log_range = log_range
        # EIP-1898: the endpoint refuses when the hash is no longer on its canonical chain
        self._at = {"blockHash": str(block.hash), "requireCanonical": True}

    @property
    def block(self) -> BlockReference:
        """The pinned block."""
        return self._block

    @property
    def where(self) -> str:
        """Whose word it is: the endpoints by their origins."""
        return self._transport.where

    @property
    def witnesses(self) -> int:
        """How many endpoints gave each answer alike."""
        return self._transport.agreement

    def confirming(self) -> PinnedChain | None:
        """Return a reader of the same block whose every answer two endpoints gave; None where there is only one."""
        if self._transport.agreement > 1:
            return self
        transport = self._transport.confirming()
        if transport is None:
            return None
        return PinnedChain(transport, self._block, log_range=self._log_range, aggregation=self._aggregation)

    async def has_code(self, addresses: Sequence[Address]) -> tuple[bool, ...]:
        """Tell at which addresses there is a contract."""
        answers = await self._transport.many([("eth_getCode", [str(address), self._at]) for address in addresses])
        where = f"{self._transport.where} eth_getCode"
        return tuple(bool(to_bytes(answer.result, where)) for answer in answers)

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        """Run `calls` at the pinned block; results in the same order.

        Raises:
            TransientError: the endpoint failed after retries, answered nonsense, or no longer knows the block.
        """
        if self._aggregation is None:
            return await self._separately(calls)
        groups, alone = self._aggregation.groups(calls)
        results: dict[int, CallResult] = {}
        while groups or alone:
            together = [aggregated([calls[at] for at in group]) for group in groups]
            answers = await self._separately([*together, *(calls[at] for at in alone)])
            results.update(zip(alone, answers[len(groups) :], strict=True))
            again: list[list[int]] = []
            alone = []
            for group, answer in zip(groups, answers[: len(groups)], strict=True):
                returned = self._returned(answer, len(group))
                results.update(
                    (at, CallSuccess(data)) for at, data in zip(group, returned, strict=True) if data is not None
                )
                parts = self._aggregation.left(calls[group[0]], returned)
                again += [[group[at] for at in part] for part in parts if len(part) > 1]
                alone += [group[part[0]] for part in parts if len(part) == 1]
            groups = again
        return tuple(results[at] for at in range(len(calls)))

    def _returned(self, answer: CallResult, count: int) -> list[bytes | None]:
        """Return what the calls of a group returned; nothing where it failed as a whole."""
        if not isinstance(answer, CallSuccess):
            return [None] * count
        return separated(answer.data, count, f"{self._transport.where} aggregate3")

    async def _separately(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        answers = await self._transport.many([("eth_call", self._parameters(call)) for call in calls])
        where = f"{self._transport.where} eth_call"
        return tuple(_call_result(answer, where) for answer in answers)

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        """Return each account's balance of the chain's own coin, in wei."""
        answers = await self._transport.many([("eth_getBalance", [str(account), self._at]) for account in accounts])
        where = f"{self._transport.where} eth_getBalance"
        for answer in answers:
            if answer.error:
                raise failure(answer.error, where)
        return tuple(to_quantity(answer.result, where) for answer in answers)

    async def logs(
        self,
        *,
        addresses: Sequence[Address],
        topics: Sequence[Sequence[Hash32]],
        from_block: int,
        to_block: int | None = None,
    ) -> tuple[Log, ...]:
        """Return the logs of `addresses` from `from_block` to `to_block` or the pinned block, oldest first.

        Logs can only be asked for by height, so the pinned hash is checked again afterwards.

        Raises:
            TransientError: see `call`; also when the block was reorganised away meanwhile.
        """
        wanted = LogFilter(addresses, topics)
        last = self._block.number if to_block is None else min(to_block, self._block.number)
        logs = await read_logs(self._transport, wanted, first=from_block, last=last, span=self._log_range)
        await self.check_canonical()
        return logs

    async def check_canonical(self) -> None:
        """Check that the pinned hash still is the canonical block of its height.

        Raises:
            TransientError: it was reorganised away.
        """
        number = hex(self._block.number)
        where = f"{self._transport.where} eth_getBlockByNumber {number}"
        answer = await self._transport.one("eth_getBlockByNumber", number, False)
        found = to_block(answer, self._block.chain_id, where)
        if found != self._block:
            raise TransientError(
                f"{where}: the canonical block is {found.hash}, no longer {self._block.hash}", code="block_unknown"
            )

    def _parameters(self, call: Call) -> list[Any]:
        return [{"to": str(call.to), "data": "0x" + call.data.hex(), "gas": hex(call.gas)}, self._at]


def _call_result(answer: RpcAnswer, where: str) -> CallResult:
    """Return the value or the revert of one call.

    Raises:
        TransientError: the answer is neither.
    """
    if answer.error is None:
        return CallSuccess(to_bytes(answer.result, where))
    reverted = as_revert(answer.error)
    if reverted is None:
        raise failure(answer.error, where)
    return reverted
