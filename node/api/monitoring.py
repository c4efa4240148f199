"""The port of the process that runs the rounds: its series for Prometheus, its status for the processes that serve.

It is for this machine. Answers are kept for a second and connections are few, so that asking costs the rounds nothing
that counts, whoever asks.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from node.api.kept import Kept
from node.api.server import Listening, listen
from node.peers import Peers
from node.status import NodeStatus, StatusDocument
from node.telemetry import Metrics
from riskschema.codec import decode_json, encode_json
from riskschema.errors import InvalidData, TransientError
from riskschema.ports import Clock

MAX_CONNECTIONS = 32
ANSWERS_PER_SECOND = 50
"""Of all connections together; whoever asks more often waits."""
ASK_SECONDS = 5.0
MAX_STATUS_BYTES = 1 << 20
READ_BYTES = 1 << 16
CANNOT_SAY = "signer_silent"


@asynccontextmanager
async def serve_monitoring(
    opened: socket.socket, *, status: NodeStatus, metrics: Metrics, clock: Clock, peers: Peers | None = None
) -> AsyncIterator[Listening]:
    """Serve ``/metrics``, ``/status`` and ``/peers`` on a port from `open_listener` until the context is left."""
    kept = {
        "/metrics": (Kept(metrics.exposition, clock), {"Content-Type": CONTENT_TYPE_LATEST}),
        "/status": (Kept(lambda _: encode_json(status.document()), clock), {"Content-Type": "application/json"}),
    }
    if peers is not None:
        kept["/peers"] = (Kept(lambda _: encode_json(peers.documents()), clock), {"Content-Type": "application/json"})
    pace = _Pace(ANSWERS_PER_SECOND)

    async def answer(request: web.Request) -> web.Response:
        await pace.wait()
        body, headers = kept[request.path]
        return web.Response(body=body.get(), headers=headers)

    app = web.Application(client_max_size=1)
    for path in kept:
        app.router.add_get(path, answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        async with listen(runner, opened, most=MAX_CONNECTIONS) as listening:
            yield listening
    finally:
        await runner.cleanup()


class _Pace:
    """Lets a bounded number through each second, in their order."""

    def __init__(self, per_second: int) -> None:
        self._between = 1.0 / per_second
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for a turn."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next)
        self._next = turn + self._between
        await asyncio.sleep(turn - now)


async def ask_status(session: aiohttp.ClientSession, url: str) -> StatusDocument:
    """Ask the process that runs the rounds how it is.

    Args:
        session: Any.
        url: Of its monitoring port.

    Raises:
        TransientError: it does not answer, or something else answers there.
    """
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
    try:
        async with session.get(f"{url}/status", timeout=timeout) as response:
            response.raise_for_status()
            body = b""
            async for part in response.content.iter_chunked(READ_BYTES):
                body += part
                if len(body) > MAX_STATUS_BYTES:
                    raise TransientError(f"{url}/status: longer than {MAX_STATUS_BYTES} bytes", code=CANNOT_SAY)
        return decode_json(body, StatusDocument, what=f"{url}/status")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise TransientError(f"{url}/status: {error or 'no answer in time'}", code=CANNOT_SAY) from error
    except InvalidData as error:
        raise TransientError(error.message, code=CANNOT_SAY) from error
