"""The connections of the HTTP API: bounded in number, size and time; broken HTTP is answered with a problem, too."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import structlog
from aiohttp import web
from aiohttp.web_request import BaseRequest

from node.api.addresses import AddressLimits, TooMany
from node.api.problems import Problem
from riskschema.errors import InvalidData

MAX_CONNECTIONS = 1024
FILES_PER_CONNECTION = 4
"""Of the files that the process may open, connections take a quarter at most: however many strangers come, the guard,
the database and the endpoints find theirs."""
FIRST_REQUEST_SECONDS = 10.0
"""A connection without a whole request by then is dropped."""
IDLE_SECONDS = 30.0
STALLED_SECONDS = 30.0
"""A client that takes nothing of its answers for so long is dropped."""
MAX_LINE = 4096
MAX_HEADERS = 64

PROTECTION = {
    "Server": "plimsoll",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",
}

_log = structlog.get_logger("node.api")


class Listening(msgspec.Struct, frozen=True):
    """Where the server listens; as text its URL, without a slash at the end."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@asynccontextmanager
async def listen(
    runner: web.AppRunner,
    opened: socket.socket,
    *,
    most: int | None = None,
    addresses: AddressLimits | None = None,
    on_dropped: Callable[[str], None] | None = None,
) -> AsyncIterator[Listening]:
    """Accept connections for a runner that is set up.

    Args:
        runner: Answers the requests.
        opened: From `open_listener`; closed in the end.
        most: Connections at a time; what `connection_limit` allows if None.
        addresses: Connections of one address; not limited if None.
        on_dropped: Called with ``all`` or ``address`` when a connection is dropped because there are too many.
    """
    loop, manager = asyncio.get_running_loop(), runner.server
    bound = connection_limit() if most is None else min(most, connection_limit())
    bounds = ConnectionBounds(bound, addresses, on_dropped or (lambda _: None))
    if manager is None:
        raise RuntimeError("the runner is not set up")
    # as many as the backlog are accepted at a time, before the first of them can be dropped
    listener = await loop.create_server(
        lambda: ApiProtocol(manager, loop, bounds), sock=opened, backlog=max(bound // 4, 1)
    )
    try:
        yield listening_at(opened)
    finally:
        listener.close()


def listening_at(opened: socket.socket) -> Listening:
    """Return where a socket listens."""
    host, port, *_ = opened.getsockname()
    return Listening(host, port)


def require_free_port(host: str, port: int, *, setting: str = "--port") -> None:
    """Refuse a port before the work of starting rather than after it.

    Raises:
        InvalidData: something else listens there, or the address is not this machine's.
    """
    open_listener(host, port, setting=setting).close()


def open_listener(host: str, port: int, *, setting: str = "--port") -> socket.socket:
    """Take a port: who connects waits until somebody accepts.

    Args:
        host: An address of this machine, or a name of one.
        port: 0 takes a free one.
        setting: How the person who runs this chooses another.

    Raises:
        InvalidData: something else listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen()
    except (OSError, UnicodeError) as error:  # a name with a label of more than 63 letters has no encoding
        opened.close()
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise InvalidData(
            f"cannot listen on {host}:{port}: {why}; choose another port with {setting}, or "
            f"{setting} 0 for any free one",
            code="invalid_settings",
        ) from error
    return opened


def connection_limit() -> int:
    """Return how many connections may be open at a time under the limit of open files of this process."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files // FILES_PER_CONNECTION)


class ConnectionBounds(msgspec.Struct, frozen=True):
    """How many connections there may be."""

    most: int
    addresses: AddressLimits | None
    on_dropped: Callable[[str], None]


class ApiProtocol(web.RequestHandler):
    """One connection within `bounds`."""

    __slots__ = ("_address", "_bounds", "_first_request", "_stalled")

    def __init__(self, manager: web.Server, loop: asyncio.AbstractEventLoop, bounds: ConnectionBounds) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
            lingering_time=1.0,
        )
        self.access_logger = None
        self._bounds = bounds
        self._address: str | None = None
        self._first_request: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or drop it when there are too many."""
        super().connection_made(transport)
        self._first_request = self._loop.call_later(FIRST_REQUEST_SECONDS, self._drop_silent)
        try:
            if self._manager is not None and len(self._manager.connections) > self._bounds.most:
                self._drop(transport, "all")
            elif self._bounds.addresses is not None:
                self._address = self._bounds.addresses.connect(_peer(transport))
        except TooMany:
            self._drop(transport, "address")

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        for timer in (self._first_request, self._stalled):
            if timer is not None:
                timer.cancel()
        if self._bounds.addresses is not None:
            self._bounds.addresses.disconnect(self._address)
            self._address = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to take what was sent, but not for ever."""
        super().pause_writing()
        if self.transport is not None:
            self._stalled = self._loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has taken something."""
        if self._stalled is not None:
            self._stalled.cancel()
        super().resume_writing()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no valid HTTP request; the connection is closed after it."""
        if status >= 500:
            _log.error("request failed", exc_info=exc)
            problem = Problem(500, "internal", "the node failed to answer")
        else:
            problem = Problem(400, "request_malformed", "this is no HTTP request within the limits", field="request")
        response = problem.response()
        response.headers.update(PROTECTION)
        response.force_close()
        return response

    def _drop(self, transport: asyncio.BaseTransport, reason: str) -> None:
        self._bounds.on_dropped(reason)
        self.force_close()
        transport.close()

    def _drop_silent(self) -> None:
        if not self._request_count:
            self.force_close()


def _peer(transport: asyncio.BaseTransport) -> str | None:
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else None
