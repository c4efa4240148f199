"""`plimsoll run --config`: a node on the chains of its settings."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import click
import msgspec
import structlog

from aggregator.warm_up import lacks_kernels
from node.api.monitoring import serve_monitoring
from node.api.server import listening_at, open_listener
from node.commands.serving_process import serving_process
from node.composition import open_node
from node.core_dumps import forbid_dumps
from node.key_files import make_directory
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest, stop_on_signals
from node.round.assessing import warm_up
from node.round.node import Node
from node.round.result import RoundResult
from node.settings import Settings, load_settings, overridden
from node.telemetry import configure_logging
from riskschema.codec import encode_json
from riskschema.rounds import RoundStep
from riskschema.units import Hash32

Say = Callable[[str], None]

COMPILING = "compiling the numeric kernels: the first time this takes up to a minute"

_log = structlog.get_logger("node.run")


class OnceReport(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of `run --once`."""

    round: int
    block: int
    """Height of the pinned block on the chain that is published to (where that is not read: on the first chain)."""
    accounts: int
    transaction: Hash32 | None
    gas: int | None
    signers: int
    seconds: dict[RoundStep, float]
    agreement: dict[str, str]
    """By chain id how many of how many endpoints had to give every answer: with 1 nobody confirmed it."""


def run_node(
    config: Path, *, once: bool, data_directory: Path | None, port: int | None, as_json: bool, attached: bool = False
) -> None:
    """Run until a signal, or for one round; `attached`: until standard input ends, too.

    Raises:
        InvalidData: settings or port cannot be used.
        FatalError: keys, database, committee or endpoint need a person.
        TransientError: with `once`, why there was no round.
        KeyboardInterrupt: with `once`, if stopped before the round ended.
    """
    configure_logging(json=True if as_json else None)
    settings = overridden(load_settings(config), data_directory=data_directory, port=port)
    config = config.resolve()
    make_directory(config.parent / settings.data_directory)
    asyncio.run(_run(settings, config, once=once, as_json=as_json, attached=attached))


async def _run(settings: Settings, config: Path, *, once: bool, as_json: bool, attached: bool) -> None:
    stop = StopRequest()
    if attached:
        stop_with_input(stop)
    async with stop_on_signals(stop):
        await operate(
            settings,
            config,
            stop,
            once=once,
            as_json=as_json,
            say=_log_progress,
            on_serving=_log_serving,
            on_round=_log_round,
        )


def stop_with_input(stop: StopRequest) -> None:
    """Ask for a stop when standard input ends: with the process that holds its other end, however that ended."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4_096):  # no buffered read: it would hold a lock that the end of Python wants
            pass
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.ask)

    threading.Thread(target=wait, daemon=True).start()


def _log_progress(line: str) -> None:
    _log.info("progress", detail=line)


def _log_serving(url: str, monitoring: str) -> None:
    _log.info("serving", url=url, metrics=f"{monitoring}/metrics")


def _log_round(result: RoundResult) -> None:
    transaction = result.transaction
    _log.info(
        "round certified",
        round=result.round,
        accounts=result.accounts,
        signers=len(result.certificate.signatures),
        transaction=transaction.hash if transaction else None,
        gas=transaction.gas_used if transaction else None,
        seconds=rounded(result.seconds),
    )


def rounded(seconds: Mapping[RoundStep, float]) -> dict[RoundStep, float]:
    """Return times as people read them, to a tenth of a millisecond."""
    return {step: round(each, 4) for step, each in seconds.items()}


async def operate(
    settings: Settings,
    config: Path,
    stop: StopRequest,
    *,
    once: bool,
    as_json: bool,
    say: Say,
    on_serving: Callable[[str, str], None],
    on_round: Callable[[RoundResult], None] | None = None,
) -> None:
    """Open the node and run rounds until `stop`, the API beside it in a process of its own.

    Args:
        settings: What the file says, and the command line instead.
        config: Their file, as an absolute path.
        stop: When to end.
        once: Run one round without an API and print the final JSON line.
        as_json: Whether the log is JSON.
        say: Tells people what happens.
        on_serving: Called with the URLs of the API and of the monitoring port, once the API answers.
        on_round: Called after each round.

    Raises:
        InvalidData: settings or ports cannot be used.
        KeyboardInterrupt: with `once`, if stopped before the round ended: there is no report to print.
    """
    forbid_dumps()
    async with AsyncExitStack() as stack:
        ports = None if once else _open_ports(stack, settings)
        node = await stack.enter_async_context(open_node(settings, config.parent, before_step=stop.check))
        if ports is not None:
            serving = _serving(node, settings, config, ports, as_json=as_json, on_serving=on_serving)
            await stack.enter_async_context(serving)
        say(COMPILING if lacks_kernels() else "loading the numeric kernels")
        await warm_up(node)
        result = await run_rounds(node, stop, once=once, on_round=on_round)
    if result is not None:
        click.echo(encode_json(_once_report(node, result)))
    elif once:
        raise KeyboardInterrupt
    else:
        say("stopped")


def _open_ports(stack: AsyncExitStack, settings: Settings) -> tuple[socket.socket | None, socket.socket]:
    """Take the ports of API, if there is to be one, and monitoring before the work of starting."""
    api, monitoring = settings.api, settings.monitoring
    first = open_listener(api.host, api.port) if api.serve else None
    if first is not None:
        stack.callback(first.close)
    second = open_listener(monitoring.host, monitoring.port, setting="monitoring.port")
    stack.callback(second.close)
    return first, second


@asynccontextmanager
async def _serving(
    node: Node,
    settings: Settings,
    config: Path,
    ports: tuple[socket.socket | None, socket.socket],
    *,
    as_json: bool,
    on_serving: Callable[[str, str], None],
) -> AsyncIterator[None]:
    """Serve the monitoring port here and the API, if there is to be one, in another process."""
    api, opened = ports
    watching = serve_monitoring(opened, status=node.status, metrics=node.metrics, clock=node.clock, peers=node.peers)
    async with watching as monitoring:
        if api is None:
            yield
            return
        url = str(listening_at(api))
        arguments = [
            *("--config", str(config)),
            *("--data", str(config.parent / settings.data_directory)),
            *("--monitoring", str(monitoring)),
            *("--log-level", logging.getLevelName(logging.getLogger().level)),
            *(["--json"] if as_json else []),
        ]
        async with serving_process(
            arguments, api, status=node.status, clock=node.clock, on_ready=lambda: on_serving(url, str(monitoring))
        ):
            yield


def _once_report(node: Node, result: RoundResult) -> OnceReport:
    transaction = result.transaction
    heights = dict(result.pins)
    published = node.destination.chain_id if node.destination else result.pins[0][0]
    return OnceReport(
        round=result.round,
        block=heights.get(published, result.pins[0][1]),
        accounts=result.accounts,
        transaction=transaction.hash if transaction else None,
        gas=transaction.gas_used if transaction else None,
        signers=len(result.certificate.signatures),
        seconds=rounded(result.seconds),
        agreement={
            str(chain_id): f"{chain.agreement} of {len(chain.endpoints())}" for chain_id, chain in node.chains.items()
        },
    )
