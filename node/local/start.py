"""`plimsoll run --devnet`: the whole system on one machine, with prices that move."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from devnet.launch import start_devnet
from node.api.server import require_free_port
from node.key_files import make_directory
from node.local.compiling import kernels_compiling
from node.local.screen import Screen
from node.settings import Api
from node.telemetry import configure_logging
from riskschema.errors import FatalError

DEFAULT_DIRECTORY = Path("plimsoll-data") / "devnet"


def run_devnet(
    screen: Screen,
    *,
    once: bool,
    data_directory: Path | None,
    port: int | None,
    rpc_port: int,
    nodes: int,
    faulty: int,
    as_json: bool,
) -> None:
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
    if rpc_port:
        require_free_port("127.0.0.1", rpc_port, setting="--rpc-port")
    with _only_run_in(directory):
        asyncio.run(
            _run(
                directory,
                once=once,
                port=port,
                rpc_port=rpc_port,
                nodes=nodes,
                faulty=faulty,
                as_json=as_json,
                screen=screen,
            )
        )


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


async def _run(
    directory: Path,
    *,
    once: bool,
    port: int | None,
    rpc_port: int,
    nodes: int,
    faulty: int,
    as_json: bool,
    screen: Screen,
) -> None:
    """Compile, fetch and deploy, and load the node, all at once: each waits for something else most of the time."""
    async with kernels_compiling(screen) as kernels:
        session = "node.local.session"
        loading = asyncio.ensure_future(asyncio.to_thread(import_module, session))
        async with start_devnet(port=rpc_port, progress=screen.say) as devnet:
            await loading
            from node.local.session import run_session  # noqa: PLC0415 - loaded just now, in a thread

            await run_session(
                devnet,
                directory,
                once=once,
                port=port,
                nodes=nodes,
                faulty=faulty,
                as_json=as_json,
                screen=screen,
                kernels=kernels,
            )
