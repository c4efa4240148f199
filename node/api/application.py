"""The HTTP API: what is attested, read from the store, and whether the node is well.

Nothing is private, nothing writes: every answer may be read by anyone and from any web page.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from attest.formats.committee import Committee
from node.api.addresses import AddressLimits, TooMany
from node.api.answers import Answers
from node.api.explanations import Explains
from node.api.kept import Kept
from node.api.openapi import openapi_document
from node.api.problems import Problem
from node.api.routes import ROUTES, STATE, ApiState
from node.api.server import PROTECTION, Listening, listen, open_listener
from node.status import NodeStatus
from node.telemetry import HttpMetrics
from riskschema.errors import PlimsollError
from riskschema.ports import Clock, Store
from riskschema.reasons import REASONS

REQUEST_SECONDS = 10.0
MAX_CONCURRENT_REQUESTS = 256
UNMATCHED = "unmatched"
METHODS = ("GET", "HEAD", "OPTIONS")
ALLOW = {"Allow": ", ".join(METHODS)}

SHARING = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag, Plimsoll-Age"}
"""Any web page may read: all answers are public, and there is no cookie or credential that a page could misuse."""
PREFLIGHT = {
    "Access-Control-Allow-Methods": ALLOW["Allow"],
    "Access-Control-Allow-Headers": "If-None-Match",
    "Access-Control-Max-Age": "86400",
}

_QUERIES = {operation.path: operation.queries for operation, _ in ROUTES}
_log = structlog.get_logger("node.api")


def create_app(
    *,
    store: Store,
    committee: Committee,
    status: NodeStatus,
    metrics: HttpMetrics,
    clock: Clock,
    addresses: AddressLimits | None = None,
    explains: Explains | None = None,
) -> web.Application:
    """Return the application.

    Args:
        store: Read only.
        committee: Whose reports are shown; operators and destinations go into every attestation.
        status: Of the rounds, and of what fails here.
        metrics: Of this process.
        clock: Time.
        addresses: What one address may ask for; anything if None.
        explains: Assesses accounts again; nothing is explained if None.
    """
    app = web.Application(middlewares=[_bounded(MAX_CONCURRENT_REQUESTS)], client_max_size=1)
    app[STATE] = ApiState(
        answers=Answers(store=store, committee=committee, status=status, clock=clock, explains=explains),
        status=status,
        metrics=metrics,
        exposition=Kept(metrics.exposition, clock),
        clock=clock,
        addresses=addresses,
        openapi=openapi_document([operation for operation, _ in ROUTES]),
    )
    for operation, handler in ROUTES:
        app.router.add_get(operation.path, handler)
    return app


@asynccontextmanager
async def serve(app: web.Application, opened: socket.socket | None = None) -> AsyncIterator[Listening]:
    """Serve until the context is left, then finish the requests under way.

    Args:
        app: From `create_app`.
        opened: From `open_listener`, closed in the end; a free port on loopback if None.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=REQUEST_SECONDS)
    await runner.setup()
    try:
        listening = listen(
            runner,
            opened or open_listener("127.0.0.1", 0),
            addresses=app[STATE].addresses,
            on_dropped=app[STATE].metrics.dropped,
        )
        async with listening as where:
            yield where
    finally:
        await runner.cleanup()


def _bounded(most: int) -> Middleware:
    """Return the middleware around every request: bounds in, problems out, headers and metrics on all."""
    under_way = 0

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal under_way
        started = perf_counter()
        under_way += 1
        try:
            _check_address(request)
            response = await _answer(request, handler) if under_way <= most else _overloaded("too many requests")
        except Problem as problem:
            response = problem.response()
        finally:
            under_way -= 1
        route = _template(request)
        response.headers.update(PROTECTION)
        if route != "/metrics":
            response.headers.update(SHARING)
        method = request.method if request.method in METHODS else "other"
        elapsed = perf_counter() - started
        request.app[STATE].metrics.answered(method=method, route=route, status=response.status, seconds=elapsed)
        return response

    return middleware


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the handler's answer; raise a problem for whatever goes wrong."""
    _check_body(request)
    unmatched = request.match_info.http_exception
    if unmatched is not None:
        return _unmatched(request, unmatched)
    _check_query(request)
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            return await handler(request)
    except Problem:
        raise
    except TimeoutError:
        return _overloaded("the answer took too long")
    except PlimsollError as error:
        code = error.code if error.code in REASONS else "internal"
        raise Problem(503, code, "the node cannot read its database", headers={"Retry-After": "5"}) from error
    except Exception as error:  # a defect must not stop the server: it is logged, and told without internals
        _log.exception("request failed", route=_template(request))
        raise Problem(500, "internal", "the node failed to answer") from error


def _overloaded(detail: str) -> web.Response:
    return Problem(503, "overloaded", detail, headers={"Retry-After": "1"}).response()


def _check_address(request: web.Request) -> None:
    addresses = request.app[STATE].addresses
    if addresses is None:
        return
    try:
        # a proxy may add a line of its own below those that the stranger sent
        forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", ())) or None
        addresses.ask(request.remote, forwarded_for, perf_counter())
    except TooMany:
        detail = "this address asks too often"
        raise Problem(429, "too_many_requests", detail, headers={"Retry-After": "1"}) from None


def _check_body(request: web.Request) -> None:
    if request.body_exists:
        raise Problem(413, "request_too_large", "this API takes no request bodies", headers={"Connection": "close"})


def _unmatched(request: web.Request, error: web.HTTPException) -> web.Response:
    if not isinstance(error, web.HTTPMethodNotAllowed):
        raise Problem(404, "route_unknown", "there is nothing at this path", field="path")
    if request.method != "OPTIONS":
        raise Problem(405, "method_refused", "the API is read only", field="method", headers=ALLOW)
    return web.Response(status=204, headers={**ALLOW, **PREFLIGHT})


def _check_query(request: web.Request) -> None:
    known = _QUERIES[_template(request)]
    for name in request.query:
        if name not in known:
            raise Problem(400, "request_malformed", "no such query parameter", field=f"query.{name[:80]}")
        if len(request.query.getall(name)) > 1:
            raise Problem(400, "request_malformed", "given more than once", field=f"query.{name}")


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else UNMATCHED
