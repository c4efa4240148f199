"""`plimsoll run --devnet`: the whole system on one machine, with prices that move."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import click

from adapters.markets.simulator import PriceWalk
from devnet.launch import start_devnet
from devnet.local_chain import Devnet
from devnet.prices import set_prices
from node.commands.run_node import operate, overridden
from node.local_network import (
    FACTORS,
    ROUND_SECONDS,
    WEI_PER_ANSWER,
    LocalNetwork,
    prepare_local_network,
    simulated_factors,
)
from node.rounds import RoundResult
from node.service import StopRequest, stop_on_signals
from node.telemetry import configure_logging

DEFAULT_DIRECTORY = Path("plimsoll-data") / "devnet"
MARKET_SECONDS_PER_STEP = 900.0
"""Market time that passes between two price moves: fast enough to watch grades change."""


def run_devnet(*, once: bool, data_directory: Path | None, port: int | None, as_json: bool) -> None:
    """Start chain, contracts, users and node; run until Ctrl-C, or for one round."""
    configure_logging(json=True if as_json else None)
    asyncio.run(_run((data_directory or DEFAULT_DIRECTORY).resolve(), once=once, port=port))


async def _run(directory: Path, *, once: bool, port: int | None) -> None:
    begin = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - begin:5.1f} s] {line}", err=True)

    stop = StopRequest()
    async with stop_on_signals(stop), start_devnet(progress=say) as devnet:
        say("deploying RiskOracle, simulating three years of prices, writing keys and settings")
        now = int(time.time()) - ROUND_SECONDS
        network = await asyncio.to_thread(prepare_local_network, devnet, directory, port=port, now=now)
        settings = overridden(network.settings, data_directory=None, port=port)
        guide = _Guide(devnet, network)
        mover = asyncio.create_task(_move_prices(devnet, moving=not once))
        try:
            await operate(
                settings,
                network.config_file.parent,
                stop,
                once=once,
                say=say,
                on_serving=guide.serving,
                on_round=None if once else guide.tell,
            )
        finally:
            mover.cancel()
            with suppress(asyncio.CancelledError):
                await mover


async def _move_prices(devnet: Devnet, *, moving: bool) -> None:
    """Let the simulated market walk: feeds answer the new prices, pools follow by real swaps."""
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

    def serving(self, url: str) -> None:
        """Take note of where the API is."""
        self._url = url

    def tell(self, result: RoundResult) -> None:
        """Take note of a finished round."""
        if self._url is not None:
            for line in self._where_to_look(self._url):
                click.echo(line, err=True)
            self._url = None
        gas = "" if result.transaction is None else f", published with {result.transaction.gas_used:,} gas"
        click.echo(f"round {result.round}: {result.accounts} accounts{gas}", err=True)

    def _where_to_look(self, url: str) -> list[str]:
        user = self._devnet.deployment.users[0].address
        return [
            "",
            f"  try        curl -s {url}/v1/accounts/{user}",
            f"  rounds     {url}/v1/rounds/latest   health {url}/readyz   metrics {url}/metrics",
            f"  chain      {self._devnet.url}  (chain id {self._devnet.deployment.chain_id})",
            f"  oracle     {self._network.oracle}  (RiskOracle)",
            f"  pool       {self._network.pool}  (ExamplePool: refuses loans above a score)",
            f"  settings   {self._network.config_file}",
            "  Ctrl-C stops everything.",
            "",
        ]
