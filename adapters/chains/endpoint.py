"""One endpoint of a chain: checked before it is used, asked within its limits, its answers checked one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import aiohttp
import msgspec
import structlog
from msgspec import Meta

from adapters.chains.answers import RpcAnswer, to_block, to_quantity
from adapters.chains.ballots import settled
from adapters.chains.health import EndpointState, Fault, Health, fault_of
from adapters.chains.learned import Learned
from adapters.chains.provider import LOGS, MAX_RETRY_AFTER_SECONDS, BoundedProvider, Request, Traffic
from adapters.chains.transport import Transport
from riskschema.errors import TransientError
from riskschema.ports import CALL_GAS
from riskschema.units import Hash32

MOST_LOG_QUERIES = 64
"""An endpoint that would need more queries for one range of logs is not asked: it can follow the head, not fill in."""
LONGEST_WAIT_SECONDS = 10.0
"""For an endpoint that asks to slow down, where no other answers."""
DAY_SECONDS = 86_400.0

_GAS_LEFT = "0x5a60005260206000f3"  # GAS, MSTORE at 0, RETURN 32 bytes: as the code of a creation that is only called
_GAS_OF_PROBE = 100_000
"""Gas that the probe itself may take, its intrinsic 53,000 included."""

_log = structlog.get_logger("adapters.chains")


class EndpointOptions(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint and how much may be asked of it."""

    url: str
    """http(s); only its origin ever appears in messages."""
    log_range: Annotated[int, Meta(ge=1, le=10**9)] = 10_000
    """Blocks per log query at most; fewer are learned."""
    batch_size: Annotated[int, Meta(ge=1, le=10_000)] = 250
    """Requests per batch at most; fewer are learned."""
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 4
    """Posts in flight."""
    calls_per_day: Annotated[int, Meta(ge=1)] | None = None
    """Requests in 24 hours; beyond it others are asked."""
    learned: Learned | None = None
    """What was found of it before."""


class EndpointReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an endpoint, for metrics and status."""

    chain_id: int
    name: str
    """Its origin, numbered where two share one."""
    state: EndpointState
    detail: str
    traffic: Traffic
    batch_size: int
    log_range: int


class Endpoint:
    """One endpoint with its limits and its health.

    Args:
        options: Where it is, and its limits.
        session: For its connections.
        chain_id: What it must serve.
        name: What messages and metrics call it.
        max_answer_bytes: Largest answer accepted.
        clock: Seconds of any origin.
        now: Unix seconds.
    """

    def __init__(
        self,
        options: EndpointOptions,
        session: aiohttp.ClientSession,
        *,
        chain_id: int,
        name: str,
        max_answer_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.health = Health(clock)
        self.genesis_hash: Hash32 | None = None
        """Of the chain it was found to serve; None before it was looked at."""
        self._options = options
        self._chain_id = chain_id
        self._now = now
        learned = options.learned or Learned(day_began=now())
        self._day_began = learned.day_began
        self._calls_before = -learned.calls
        self._provider = BoundedProvider(options.url, session, max_answer_bytes=max_answer_bytes)
        self._transport = Transport(
            self._provider,
            batch_size=options.batch_size,
            concurrency=options.concurrency,
            attempts=1,
            log_range=options.log_range,
        )
        self._transport.resume(learned)
        self._spent()  # a new day begins with the calls that look at the endpoint
        if (pause := learned.limited_until - now()) > 0:
            asked = f"{name} asked before the start not to be asked"
            self.health.fail(Fault(EndpointState.LIMITED, asked, min(pause, MAX_RETRY_AFTER_SECONDS)))

    async def ask(self, requests: Sequence[Request], *, settling: bool = True) -> list[RpcAnswer]:
        """Return answers that are facts: results of the right form, and reverts; without `settling` whatever it says.

        Raises:
            TransientError: anything else; noted in `health`.
        """
        try:
            self._within_budget(len(requests))
            if self.health.state is EndpointState.LIMITED:
                await asyncio.sleep(min(self.health.pause, LONGEST_WAIT_SECONDS))
            answers = await self._transport.many(requests)
            if not settling:
                return answers
            return [settled(request, answer, self.name) for request, answer in zip(requests, answers, strict=True)]
        except TransientError as error:
            self.fail(fault_of(error))
            raise

    async def look(self, genesis_hash: Hash32 | None) -> None:
        """Check chain id, genesis and gas cap, unless that is done.

        Raises:
            TransientError: it serves another chain (code ``wrong_chain``), caps gas too low (``gas_capped``), or fails.
        """
        if self.genesis_hash is not None:
            return
        try:
            found = await self._genesis(genesis_hash)
            await self._check_gas()
        except TransientError as error:
            self.fail(fault_of(error))
            raise
        self.genesis_hash = found

    async def _genesis(self, wanted: Hash32 | None) -> Hash32:
        served = to_quantity(await self._transport.one("eth_chainId"), self.name)
        if served != self._chain_id:
            raise TransientError(
                f"{self.name} serves chain {served}, not {self._chain_id}: correct rpc_url or chain_id",
                code="wrong_chain",
            )
        found = to_block(await self._transport.one("eth_getBlockByNumber", "0x0", False), self._chain_id, self.name)
        if wanted is not None and found.hash != wanted:
            raise TransientError(
                f"{self.name} serves a chain {self._chain_id} with genesis {found.hash}, not {wanted}",
                code="wrong_chain",
            )
        return found.hash

    async def _check_gas(self) -> None:
        """Refuse an endpoint that runs calls with less gas than they ask for: it would report reverts nobody sees."""
        probe = {"data": _GAS_LEFT, "gas": hex(CALL_GAS)}
        (answer,) = await self._transport.many([("eth_call", [probe, "latest"])])
        if answer.error is None and to_quantity(answer.result, self.name) < CALL_GAS - _GAS_OF_PROBE:
            raise TransientError(
                f"{self.name} runs calls with at most {int(answer.result, 16) + _GAS_OF_PROBE} gas, not {CALL_GAS}: "
                "raise its cap (geth: --rpc.gascap)",
                code="gas_capped",
            )

    def takes(self, request: Request) -> bool:
        """Tell whether `request` is within its limits: a log query of more blocks than it gives is not."""
        method, parameters = request
        if method != LOGS:
            return True
        blocks = int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) + 1
        return blocks <= self.most_blocks

    @property
    def most_blocks(self) -> int:
        """How many blocks a log query may have that it is asked."""
        return self._transport.span.value * MOST_LOG_QUERIES

    def fail(self, fault: Fault) -> None:
        """Note a fault; the log has it once."""
        if fault.state in {EndpointState.UNREACHABLE, EndpointState.WRONG_CHAIN, EndpointState.BROKEN}:
            self.genesis_hash = None  # what answers next at this address is looked at anew
        if self.health.fail(fault):
            _log.warning(
                "endpoint failed", chain=self._chain_id, endpoint=self.name, state=fault.state, detail=fault.detail
            )

    def recover(self) -> None:
        """Note that it answers well; the log has it once."""
        before = self.health.state
        if self.health.recover():
            _log.info("endpoint is back", chain=self._chain_id, endpoint=self.name, was=before)

    def report(self) -> EndpointReport:
        """Return what is known of it."""
        return EndpointReport(
            chain_id=self._chain_id,
            name=self.name,
            state=self.health.state,
            detail=self.health.detail,
            traffic=msgspec.structs.replace(self._provider.traffic),
            batch_size=self._transport.batch.value,
            log_range=self._transport.span.value,
        )

    def learned(self) -> Learned:
        """Return what a restart must not forget."""
        limited = self.health.state is EndpointState.LIMITED and self.health.pause > 0
        return Learned(
            log_range=self._transport.span.value,
            batch_size=self._transport.batch.value,
            batched=self._transport.batched,
            limited_until=self._now() + self.health.pause if limited else 0.0,
            day_began=self._day_began,
            calls=self._spent(),
        )

    def _spent(self) -> int:
        """Return the calls of the running day; a clock that went back makes it longer, never new."""
        now = self._now()
        self._day_began = min(self._day_began, now)
        if now - self._day_began >= DAY_SECONDS:
            self._day_began, self._calls_before = now, self._provider.traffic.calls
        return self._provider.traffic.calls - self._calls_before

    def _within_budget(self, calls: int) -> None:
        if self._options.calls_per_day is None:
            return
        spent = self._spent()
        if spent + calls > self._options.calls_per_day:
            raise TransientError(
                f"{self.name}: {spent} of {self._options.calls_per_day} calls of the day are spent, {calls} more asked",
                code="call_budget_spent",
            )
