"""`plimsoll run --config`: a node on the chains of its settings."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import click
import msgspec
import structlog

from node.api.application import create_app, serve
from node.composition import open_node
from node.key_files import make_directory
from node.node import Node
from node.round.assessing import warm_up
from node.round.round import RoundResult
from node.round.service import StopRequest, run_rounds, stop_on_signals
from node.settings import Settings, load_settings
from node.telemetry import configure_logging
from riskschema.codec import encode_json
from riskschema.errors import InvalidData
from riskschema.rounds import RoundStep
from riskschema.units import Hash32

Say = Callable[[str], None]

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


def run_node(config: Path, *, once: bool, data_directory: Path | None, port: int | None, as_json: bool) -> None:
    """Run until a signal, or for one round.

    Raises:
        InvalidData: settings or port cannot be used.
        FatalError: keys, database, committee or endpoint need a person.
        TransientError: with `once`, why there was no round.
        KeyboardInterrupt: with `once`, if stopped before the round ended.
    """
    configure_logging(json=True if as_json else None)
    settings = overridden(load_settings(config), data_directory=data_directory, port=port)
    directory = config.resolve().parent
    make_directory(directory / settings.data_directory)
    asyncio.run(_run(settings, directory, once=once))


def overridden(settings: Settings, *, data_directory: Path | None, port: int | None) -> Settings:
    """Return the settings with what the command line says instead."""
    if data_directory is not None:
        settings = msgspec.structs.replace(settings, data_directory=str(data_directory.resolve()))
    if port is not None:
        settings = msgspec.structs.replace(settings, api=msgspec.structs.replace(settings.api, port=port))
    return settings


def require_free_port(host: str, port: int) -> None:
    """Refuse a port before the work of starting rather than after it.

    Raises:
        InvalidData: something else listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise InvalidData(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another port with --port, or --port 0 "
            "for any free one",
            code="invalid_settings",
        ) from error


async def _run(settings: Settings, directory: Path, *, once: bool) -> None:
    stop = StopRequest()
    say = partial(click.echo, err=True)
    async with stop_on_signals(stop):
        await operate(
            settings,
            directory,
            stop,
            once=once,
            say=say,
            on_serving=lambda url: say(f"serving {url}"),
            on_round=_log_round,
        )


def _log_round(result: RoundResult) -> None:
    transaction = result.transaction
    _log.info(
        "round certified",
        round=result.round,
        accounts=result.accounts,
        signers=len(result.certificate.signatures),
        transaction=transaction.hash if transaction else None,
        gas=transaction.gas_used if transaction else None,
    )


async def operate(
    settings: Settings,
    directory: Path,
    stop: StopRequest,
    *,
    once: bool,
    say: Say,
    on_serving: Callable[[str], None],
    on_round: Callable[[RoundResult], None] | None = None,
) -> None:
    """Open the node, serve the API and run rounds until `stop`; with `once` print the final JSON line.

    Raises:
        KeyboardInterrupt: with `once`, if stopped before the round ended: there is no report to print.
    """
    if not once:
        require_free_port(settings.api.host, settings.api.port)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(open_node(settings, directory, before_step=stop.check))
        say("loading the numeric kernels (the first time they are compiled, which takes up to a minute)")
        await warm_up(node)
        if not once:
            app = create_app(
                store=node.store,
                committee=node.rules.committee,
                status=node.status,
                metrics=node.metrics,
                clock=node.clock,
            )
            listening = await stack.enter_async_context(serve(app, host=settings.api.host, port=settings.api.port))
            on_serving(str(listening))
        result = await run_rounds(node, stop, once=once, on_round=on_round)
    if result is not None:
        click.echo(encode_json(_once_report(node, result)))
    elif once:
        raise KeyboardInterrupt
    else:
        say("stopped")


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
        seconds={step: round(seconds, 4) for step, seconds in node.seconds.items()},
    )
