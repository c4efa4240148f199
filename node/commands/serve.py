"""`plimsoll serve`: the HTTP API alone, from the database of a node that runs in another process.

It opens no key and writes nothing. `plimsoll run` starts one and keeps it running; further ones are started by hand.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import structlog

from aggregator.parameters import Parameters, load_parameters
from attest.formats.committee import Committee
from node.api.addresses import AddressLimits
from node.api.application import create_app, serve
from node.api.server import Listening, open_listener
from node.api.watching import watch
from node.clock import SystemClock
from node.commands.serving_process import READY
from node.committee_file import load_committee, load_history
from node.explaining.recorded import RecordedRounds
from node.factor_list import with_own_factors
from node.settings import Settings, load_settings, overridden
from node.status import NodeStatus
from node.telemetry import HttpMetrics, configure_logging
from riskschema.errors import InvalidData, TransientError
from riskschema.market import HourlyHistory
from riskschema.ports import Store
from storage.store import open_store_to_read

NICENESS = 10
"""Beside a round that wants the processor, strangers get about a tenth of it."""
ALIVE = b"alive\n"
ALIVE_EVERY_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 1.0

_log = structlog.get_logger("node.serve")


def serve_api(
    config: Path,
    *,
    data_directory: Path | None,
    port: int | None,
    as_json: bool,
    listener: int | None = None,
    monitoring: str | None = None,
    log_level: str = "INFO",
) -> None:
    """Serve until a signal.

    Args:
        config: The node's settings.
        data_directory: Where the node's database is, if not where the settings say.
        port: To listen on, if not the one of the settings.
        as_json: Write the log as JSON.
        listener: A listening socket of the process that started this one, which is then told that this one lives.
        monitoring: URL of the node's monitoring port, if not as the settings say.
        log_level: Lowest level written.

    Raises:
        InvalidData: settings, committee or port cannot be used.
        FatalError: the database is none, or of a newer version.
    """
    configure_logging(level=log_level, json=True if as_json else None)
    os.nice(NICENESS)
    written = load_settings(config)
    settings = overridden(written, data_directory=data_directory, port=port)
    if settings.committee_file is None:
        raise InvalidData("committee_file is missing: whose reports are served", code="invalid_settings")
    directory = config.resolve().parent
    committee = load_committee(directory / settings.committee_file)
    opened = socket.socket(fileno=listener) if listener is not None else None
    # as written: `--port 0` asks for a free port here, the node's monitoring stays where it is
    url = monitoring or str(Listening(written.monitoring.host, written.monitoring.port))
    with suppress(asyncio.CancelledError):
        asyncio.run(_until_stopped(settings, directory, committee, opened, url))


async def _until_stopped(
    settings: Settings, directory: Path, committee: Committee, opened: socket.socket | None, monitoring: str
) -> None:
    """Serve; a signal, or the end of the process that started this one, cancels the work and leaves all contexts."""
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(_serve(settings, directory, committee, opened, monitoring))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    alive = None if opened is None else asyncio.create_task(_tell_alive(serving))
    try:
        await serving
    finally:
        if alive is not None:
            alive.cancel()


async def _tell_alive(serving: asyncio.Task[None]) -> None:
    """Say that this process lives, until there is nobody to hear it."""
    os.set_blocking(sys.stdout.fileno(), False)
    while _tell(ALIVE):  # noqa: ASYNC110 - nobody else knows when the reader is gone
        await asyncio.sleep(ALIVE_EVERY_SECONDS)
    serving.cancel()


def _tell(line: bytes) -> bool:
    """Return whether the process that started this one is still there."""
    try:
        os.write(sys.stdout.fileno(), line)
    except BlockingIOError:  # stopped for hours: it has enough to read
        return True
    except OSError:
        return False
    return True


async def _serve(
    settings: Settings, directory: Path, committee: Committee, opened: socket.socket | None, monitoring: str
) -> None:
    is_alone = opened is None
    clock, metrics = SystemClock(), HttpMetrics()
    status = NodeStatus(round_interval=committee.round_interval_seconds)
    opened = opened or open_listener(settings.api.host, settings.api.port)
    async with AsyncExitStack() as stack:
        stack.callback(opened.close)
        store = await _open_store(stack, directory / settings.data_directory / settings.database)
        app = create_app(
            store=store,
            committee=committee,
            status=status,
            metrics=metrics,
            clock=clock,
            addresses=AddressLimits(
                connections=settings.api.connections_per_address,
                requests_per_second=settings.api.requests_per_address,
                trusted=[ip_network(text) for text in settings.api.trusted_proxies],
            ),
            explains=RecordedRounds(store, committee.history_hash, partial(_models, settings, directory)),
        )
        listening = await stack.enter_async_context(serve(app, opened))
        if is_alone:
            _log.info("serving", url=str(listening))
        else:
            _tell(READY)
        await watch(status=status, store=store, committee=committee, clock=clock, monitoring=monitoring)


def _models(settings: Settings, directory: Path) -> tuple[HourlyHistory, Parameters]:
    """Read what an account is assessed with."""
    file = settings.parameters_file
    parameters = with_own_factors(load_parameters(None if file is None else directory / file), settings.market)
    return load_history(settings.market, directory), parameters


async def _open_store(stack: AsyncExitStack, path: Path) -> Store:
    """Open the node's database as soon as it is there."""
    said = ""
    while True:
        try:
            return await stack.enter_async_context(open_store_to_read(path))
        except TransientError as error:
            if error.message != said:
                _log.warning("waiting", reason=error.code, detail=error.message)
                said = error.message
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
