"""`plimsoll run --devnet`: the whole system on one machine, with prices that move."""

from __future__ import annotations

import asyncio
import fcntl
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from adapters.history.simulator import PriceWalk
from devnet.launch import start_devnet
from devnet.local_chain import Devnet
from devnet.prices import set_prices
from node.commands.run_node import Say, operate, require_free_port
from node.key_files import make_directory
from node.local_network import (
    FACTORS,
    ROUND_SECONDS,
    WEI_PER_ANSWER,
    LocalNetwork,
    prepare_local_network,
    simulated_factors,
)
from node.round.round import RoundResult
from node.round.service import StopRequest, stop_on_signals
from node.settings import Api, overridden
from node.telemetry import configure_logging
from riskschema.errors import FatalError, PlimsollError

DEFAULT_DIRECTORY = Path("plimsoll-data") / "devnet"
MARKET_SECONDS_PER_STEP = 900.0
"""Market time that passes between two price moves: fast enough to watch grades change."""
SHOWN_USER = "edge-ether"
"""Borrows close to the limit, so that its score moves."""


def run_devnet(*, once: bool, data_directory: Path | None, port: int | None, as_json: bool) -> None:
    """Start chain, contracts, users and node; run until Ctrl-C, or for one round.

    Raises:
        InvalidData: the port is taken.
        FatalError: the data directory, its keys, or the local chain cannot be used, or another run uses the directory.
        TransientError: with `once`, why there was no round.
        KeyboardInterrupt: stopped while starting, or with `once` before the round ended.
    """
    configure_logging(level="INFO" if as_json else "WARNING", json=True if as_json else None)
    directory = (data_directory or DEFAULT_DIRECTORY).resolve()
    make_directory(directory)
    if not once:
        api = Api()
        require_free_port(api.host, api.port if port is None else port)
    with _only_run_in(directory):
        asyncio.run(_run(directory, once=once, port=port, as_json=as_json))


@contextmanager
def _only_run_in(directory: Path) -> Iterator[None]:
    """Keep a second run from writing its own chain's settings over those of a running one.

    Raises:
        FatalError: another run uses the directory, or nothing can be written there.
    """
    path = directory / "lock"
    try:
        lock = path.open("w")
    except OSError as error:
        raise FatalError(f"{path}: cannot be written: {error.strerror}", code="file_unreadable") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FatalError(
                f"another run uses {directory}: stop it, or choose another directory with --data", code="guard_locked"
            ) from error
        yield


async def _run(directory: Path, *, once: bool, port: int | None, as_json: bool) -> None:
    begin = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - begin:5.1f} s] {line}", err=True)

    async with start_devnet(progress=say) as devnet:
        say("deploying RiskOracle, simulating three years of prices, writing keys and settings")
        now = int(time.time()) - ROUND_SECONDS
        network = await asyncio.to_thread(prepare_local_network, devnet, directory, port=port, now=now)
        await _operate(devnet, network, once=once, port=port, as_json=as_json, say=say)


async def _operate(
    devnet: Devnet, network: LocalNetwork, *, once: bool, port: int | None, as_json: bool, say: Say
) -> None:
    stop = StopRequest()
    settings = overridden(network.settings, data_directory=None, port=port)
    guide = _Guide(devnet, network)
    async with stop_on_signals(stop):
        mover = asyncio.create_task(_move_prices(devnet, moving=not once, say=say))
        try:
            await operate(
                settings,
                network.config_file,
                stop,
                once=once,
                as_json=as_json,
                say=say,
                on_serving=guide.serving,
                on_round=None if once else guide.tell,
            )
        finally:
            mover.cancel()
            with suppress(asyncio.CancelledError):
                await mover


async def _move_prices(devnet: Devnet, *, moving: bool, say: Say) -> None:
    """Let the simulated market walk: feeds answer the new prices, pools follow by real swaps."""
    try:
        await _walk(devnet, moving=moving)
    except PlimsollError as error:
        say(f"prices no longer move: {error.message}")


async def _walk(devnet: Devnet, *, moving: bool) -> None:
    symbols = {factor: symbol for symbol, (factor, _) in FACTORS.items()}
    factors = await asyncio.to_thread(simulated_factors, devnet)
    walk = PriceWalk(factors, seed=int(time.time()), step_seconds=MARKET_SECONDS_PER_STEP)
    while moving:
        await asyncio.sleep(ROUND_SECONDS)
        prices = {symbols[factor]: price // WEI_PER_ANSWER for factor, price in walk.step().items()}
        await asyncio.to_thread(set_prices, devnet, prices)


class _Guide:
    """Says where to look, once there is something to see, and then one line per round."""

    def __init__(self, devnet: Devnet, network: LocalNetwork) -> None:
        self._devnet = devnet
        self._network = network
        self._url: str | None = None
        self._monitoring = ""

    def serving(self, url: str, monitoring: str) -> None:
        """Take note of where the API and the node's own metrics are."""
        self._url, self._monitoring = url, monitoring

    def tell(self, result: RoundResult) -> None:
        """Take note of a finished round."""
        if self._url is not None:
            for line in self._where_to_look(self._url):
                click.echo(line, err=True)
            self._url = None
        gas = "" if result.transaction is None else f", published with {result.transaction.gas_used:,} gas"
        click.echo(f"round {result.round}: {result.accounts} accounts{gas}", err=True)

    def _where_to_look(self, url: str) -> list[str]:
        user = self._devnet.deployment.user(SHOWN_USER).address
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


def _program() -> str:
    """Return how to call this program: the environment that `./run` makes is not on the PATH."""
    program = Path(sys.executable).with_name("plimsoll")
    if shutil.which("plimsoll") == str(program) or not program.exists():
        return "plimsoll"
    return shlex.quote(str(program))
