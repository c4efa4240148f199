"""A running node as one value: everything that was opened, for the round loop to use."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from adapters.chains import Chain
from aggregator.parameters import Parameters
from attest.agreement.machine import RoundMachine
from attest.agreement.rules import AgreementRules
from attest.formats.eip712 import Destination
from attest.keys.guard import Guard
from attest.reports.report import Model
from attest.wire.messages import FactorVote
from node.gossip.transport import Transport
from node.index.following import VenueIndex
from node.peers import Peers
from node.publishing.rules import PublishingRule
from node.publishing.transmitter import Transmitter
from node.round.exchange.explanations import Explanations
from node.round.exchange.fetching import CatchUp
from node.round.hourly_prices import HourlyPrices
from node.round.reading import ConfiguredVenue
from node.round.result import RoundEnd
from node.round.retention import Retention
from node.round.work import Work
from node.status import NodeStatus
from node.telemetry import Metrics
from riskschema.market import Group
from riskschema.ports import Clock, Executor, MarketSource, Signer, Store
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
    """The guard signs nothing below, and everything below is certified or over."""
    machine: RoundMachine
    sign: Callable[[bytes], bytes]
    """The identity's signature over 32 bytes."""
    clock: Clock
    chains: Mapping[int, Chain]
    venues: Sequence[ConfiguredVenue]
    indexes: Sequence[VenueIndex]
    sources: Sequence[MarketSource]
    groups: Mapping[str, Group]
    hourly_prices: HourlyPrices
    transport: Transport
    catch_up: CatchUp
    peers: Peers
    parameters: Parameters
    model: Model
    executor: Executor
    store: Store
    guard: Guard
    signer: Signer
    destination: Destination | None
    transmitter: Transmitter | None
    """None where this node does not publish."""
    rule: PublishingRule
    """Which reports are published."""
    stage_seconds: float
    """How long each operator has to itself before the next one publishes."""
    retention: Retention
    """Which rounds stay in the store."""
    status: NodeStatus
    metrics: Metrics
    recent_values: dict[str, Wad] = field(default_factory=dict)
    """This node's own last value per factor: a jump widens the confidence."""
    recent_sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Where this node's own votes of the newest round came from, by factor."""
    recent_votes: list[FactorVote] = field(default_factory=list)
    """They themselves."""
    outvoted: set[str] = field(default_factory=set)
    """Factors of which this node's own vote was far from what the newest round agreed on."""
    unquoted: set[str] = field(default_factory=set)
    """Factors that no source had a value of in the newest round."""
    before_step: StepHook = no_hook
    """Awaited before each step: where crash tests stop the process."""
    seconds: dict[RoundStep, float] = field(default_factory=dict)
    """How long each step of the last round took."""
    work: Work = field(default_factory=Work)
    """What goes on beside the loop."""
    explanations: Explanations = field(default_factory=Explanations)
    """Why other reports were certified than this node's."""
    ended: deque[RoundEnd] = field(default_factory=deque)
    """How rounds ended that nobody was told of yet."""

    @property
    def config_digest(self) -> Hash32:
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


class ThreadExecutor:
    """Runs heavy work in one thread: the kernels release the interpreter lock, so the event loop goes on.

    One, because work that was given up after a timeout goes on to its end: the next waits for it instead of adding up.

    Args:
        pool: Of one worker.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` in the worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *args, **kwargs))


@contextmanager
def thread_executor() -> Iterator[ThreadExecutor]:
    """Open the executor; what has not begun is dropped in the end."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heavy")
    try:
        yield ThreadExecutor(pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
