"""A node on the local chain, a market that moves, and what is told of both while they run."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from adapters.history.simulator import PriceWalk
from devnet.local_chain import Devnet
from devnet.prices import read_prices, set_prices
from node.commands.run_node import operate
from node.local.committee import SeenRound, run_committee
from node.local.introductions import INTRODUCED, introduce, outlook, read_assessment
from node.local.network import (
    BEHIND_THE_HEAD,
    FACTORS,
    WEI_PER_ANSWER,
    LocalNetwork,
    prepare_local_network,
    round_seconds,
    simulated_factors,
)
from node.local.screen import Screen
from node.loop.stopping import StopRequest, stop_on_signals
from node.round.result import RoundResult
from node.settings import overridden
from riskschema.assessment import Grade
from riskschema.errors import PlimsollError
from riskschema.units import WAD

MARKET_SECONDS_PER_STEP = 900.0
"""Market time that passes between two price moves: fast enough to watch grades change."""
SHOWN_USER = "edge-ether"
"""Borrows close to the limit, so that its score moves."""
SHOWN_FACTORS = ("ETH", "BTC")
REFRESH_SECONDS = 0.5


async def run_session(
    devnet: Devnet,
    directory: Path,
    *,
    once: bool,
    port: int | None,
    nodes: int,
    faulty: int,
    as_json: bool,
    screen: Screen,
    kernels: Awaitable[None],
) -> None:
    """Deploy our contracts, then run a node until a signal, or for one round.

    Args:
        devnet: The running local chain.
        directory: Where the network's files are kept.
        once: One round, whose report is printed.
        port: HTTP port of the API; None for the default.
        nodes: How many operators; several are processes of their own.
        faulty: How many of them lie.
        as_json: Whether the log is JSON.
        screen: Where all that happens is told.
        kernels: Ends when the numeric kernels are in the cache.
    """
    screen.say("deploying RiskOracle, simulating three years of prices, writing keys and settings")
    genesis = int(time.time()) - round_seconds(nodes)
    prepare = partial(prepare_local_network, now=genesis, nodes=nodes, confirmations=BEHIND_THE_HEAD)
    network = await asyncio.to_thread(prepare, devnet, directory, port=port)
    await kernels
    # the contract compares a report's time with the newest block's, which is as old as the compiling was long
    await asyncio.to_thread(set_prices, devnet, read_prices(devnet), arbitrage=False)
    stop = StopRequest()
    market = MovingMarket(devnet, round_seconds(nodes))
    commentary = Commentary(devnet, network, market, screen, genesis=genesis)
    if nodes > 1:
        several = partial(
            run_committee, devnet, network, stop, faulty=faulty, screen=screen, on_serving=commentary.serving
        )
        async with stop_on_signals(stop):
            if once:
                async with _beside(market.move(screen)):  # a chain that stands still believes no newer report
                    await several(once=True, on_round=lambda _: None)
                return
            async with _beside(market.move(screen)), _beside(commentary.tell()):
                await several(once=False, on_round=commentary.seen)
        return
    settings = overridden(network.settings, data_directory=None, port=port)
    running = partial(
        operate,
        settings,
        network.config_file,
        stop,
        as_json=as_json,
        say=screen.say,
        on_serving=commentary.serving,
    )
    async with stop_on_signals(stop):
        if once:
            await running(once=True)
            return
        async with _beside(market.move(screen)), _beside(commentary.tell()):
            await running(once=False, on_round=commentary.finished)


class MovingMarket:
    """The simulated market: feeds answer the new prices, pools follow by real swaps."""

    def __init__(self, devnet: Devnet, seconds: float) -> None:
        self._devnet = devnet
        self._seconds = seconds
        factors = simulated_factors(devnet)
        self._walk = PriceWalk(factors, seed=int(time.time()), step_seconds=MARKET_SECONDS_PER_STEP)
        self._start = self._walk.prices()
        self.prices = self._start

    async def move(self, screen: Screen) -> None:
        """Let prices walk until cancelled."""
        symbols = {factor: symbol for symbol, (factor, _) in FACTORS.items()}
        try:
            while True:
                await asyncio.sleep(self._seconds)
                prices = self._walk.step()
                answers = {symbols[factor]: price // WEI_PER_ANSWER for factor, price in prices.items()}
                await asyncio.to_thread(set_prices, self._devnet, answers)
                self.prices = prices
        except PlimsollError as error:
            screen.say(f"prices no longer move: {error.message}")

    def __str__(self) -> str:
        """Return prices, and how far they have come since the start."""
        return " · ".join(
            f"{factor} ${self.prices[factor] / WAD:,.0f} {self.prices[factor] / self._start[factor] - 1:+.1%}"
            for factor in SHOWN_FACTORS
        )


class Commentary:
    """After the first round who lives here and where to look; then a line per round, or on a terminal one that changes.

    Args:
        devnet: The local chain with its users.
        network: Our contracts and settings on it.
        market: Prices.
        screen: Where to write.
        genesis: Unix seconds at which round 0 began.
    """

    def __init__(
        self, devnet: Devnet, network: LocalNetwork, market: MovingMarket, screen: Screen, *, genesis: int
    ) -> None:
        self._devnet = devnet
        self._network = network
        self._market = market
        self._screen = screen
        self._genesis = genesis
        self._url = self._monitoring = self._by = ""
        self._interval = network.committee.round_interval_seconds
        self._rounds: asyncio.Queue[RoundResult] = asyncio.Queue()
        self._last: RoundResult | None = None
        self._grades: dict[str, Grade] = {}

    def serving(self, url: str, monitoring: str) -> None:
        """Take note of where the API and the node's own metrics are."""
        self._url, self._monitoring = url, monitoring

    def seen(self, seen: SeenRound) -> None:
        """Tell of a round of several nodes."""
        self._by = f", {seen}"
        self.finished(seen.result)

    def finished(self, result: RoundResult) -> None:
        """Tell of a finished round: at once, however long the API takes to answer."""
        self._last = result
        self._rounds.put_nowait(result)
        if not self._screen.is_live:
            gas = "" if result.transaction is None else f", published with {result.transaction.gas_used:,} gas"
            self._screen.write(f"round {result.round}: {result.accounts} accounts{self._by}{gas} · {self._market}")

    async def tell(self) -> None:
        """Tell of users and of the state until cancelled."""
        try:
            while True:
                with suppress(TimeoutError):
                    await self._tell_users(await asyncio.wait_for(self._rounds.get(), REFRESH_SECONDS))
                if self._last is not None:
                    self._screen.show(self._status(self._last))
        finally:
            self._screen.show("")

    async def _tell_users(self, result: RoundResult) -> None:
        if not self._url:
            return
        is_first = not self._grades
        try:
            told = await asyncio.to_thread(self._users, result.round)
        except PlimsollError as error:
            self._screen.say(error.message)
            return
        if is_first:
            self._screen.write("", f"Five of its {len(self._devnet.deployment.users)} users:", *told)
            told = self._where_to_look()
        self._screen.write(*told)

    def _users(self, round_number: int) -> list[str]:
        """Introduce the users that were not, and tell whose grade changed."""
        lines: list[str] = []
        for name in INTRODUCED:
            user = self._devnet.deployment.user(name)
            found = read_assessment(self._url, user, round_number)
            grade, before = found.grade, self._grades.get(name)
            if before is None:
                lines += introduce(user, found)
            elif grade != before:
                reason = outlook(found)
                lines.append(f"round {round_number}: {name} went from {before} to {grade}; {reason}")
            self._grades[name] = grade
        return lines

    def _status(self, last: RoundResult) -> str:
        wait = self._genesis + (last.round + 1) * self._interval - time.time()
        if wait > 0:
            following = f"next in {wait:.0f} s"
        elif wait > -self._interval:
            following = f"round {last.round + 1} under way"
        else:
            following = f"no other since {-wait:.0f} s: see {self._url}/readyz"
        return f" round {last.round} certified{self._by}, {last.accounts} accounts · {following} · {self._market}"

    def _where_to_look(self) -> list[str]:
        url, user = self._url, self._devnet.deployment.user(SHOWN_USER).address
        return [
            "",
            f"  try        curl -s {url}/v1/accounts/{user}",
            f"  check it   curl -s {url}/v1/accounts/{user} | {_program()} verify - --rpc {self._devnet.url} "
            f"--oracle {self._network.oracle}",
            f"  rounds     {url}/v1/rounds/latest   health {url}/readyz   metrics {self._monitoring}/metrics",
            f"  chain      {self._devnet.url}  (chain id {self._devnet.deployment.chain_id})",
            f"  oracle     {self._network.oracle}  (RiskOracle)",
            f"  pool       {self._network.pool}  (ExamplePool: refuses loans above a score)",
            f"  settings   {self._network.config_file}",
            "  Ctrl-C stops everything.",
            "",
        ]


@asynccontextmanager
async def _beside(work: Awaitable[None]) -> AsyncIterator[None]:
    """Run something beside the block; it is cancelled when the block ends."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _program() -> str:
    """Return how to call this program: the environment that `./run` makes is not on the PATH."""
    program = Path(sys.executable).with_name("plimsoll")
    if shutil.which("plimsoll") == str(program) or not program.exists():
        return "plimsoll"
    return shlex.quote(str(program))
