"""A running node as one value: everything that was opened, for the round loop to use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from aggregator.parameters import Parameters
from attest.eip712 import Destination
from attest.guard import Guard
from attest.rounds import RoundMachine
from attest.rules import AgreementRules
from node.hourly_prices import HourlyPrices
from node.reading import ConfiguredVenue
from node.report import Model
from node.status import NodeStatus
from node.telemetry import Metrics
from riskschema.market import Group
from riskschema.ports import ChainReader, Clock, Executor, MarketSource, Publisher, Signer, Store
from riskschema.rounds import RoundStep
from riskschema.units import Hash32, Wad

P = ParamSpec("P")
R = TypeVar("R")

StepHook = Callable[[RoundStep, int], Awaitable[None]]


async def no_hook(_step: RoundStep, _round: int) -> None:
    """Do nothing before a step."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What `node.composition` opened, in the order of the round."""

    rules: AgreementRules
    me: int
    first_round: int
    """The guard signs nothing below."""
    machine: RoundMachine
    clock: Clock
    chains: Mapping[int, ChainReader]
    venues: Sequence[ConfiguredVenue]
    sources: Sequence[MarketSource]
    groups: Mapping[str, Group]
    hourly_prices: HourlyPrices
    parameters: Parameters
    model: Model
    executor: Executor
    store: Store
    guard: Guard
    signer: Signer
    publisher: Publisher | None
    destination: Destination | None
    status: NodeStatus
    metrics: Metrics
    recent_values: dict[str, Wad] = field(default_factory=dict)
    """This node's own last value per factor: a jump widens the confidence."""
    before_step: StepHook = no_hook
    """Awaited before each step: where crash tests stop the process."""
    seconds: dict[RoundStep, float] = field(default_factory=dict)
    """How long each step of the last round took."""

    @property
    def network(self) -> Hash32:
        """The config digest, which scopes everything stored."""
        return Hash32(self.rules.config_digest)

    @asynccontextmanager
    async def step(self, step: RoundStep, round_number: int) -> AsyncIterator[None]:
        """Say which step runs, and measure it."""
        await self.before_step(step, round_number)
        self.status.begin(round_number, step)
        begin = time.perf_counter()
        with self.metrics.step(step):
            yield
        self.seconds[step] = time.perf_counter() - begin


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    async def sleep_until(self, timestamp: float) -> None:
        """Wait until `timestamp`."""
        await asyncio.sleep(max(0.0, timestamp - time.time()))


class ThreadExecutor:
    """Runs heavy work in a thread: the kernels release the interpreter lock, so the event loop goes on."""

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` in a worker thread."""
        return await asyncio.to_thread(function, *args, **kwargs)
