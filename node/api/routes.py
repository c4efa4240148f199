"""The routes of the HTTP API: how each request is answered, and how the documentation tells it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from attest.reports.attestation import AttestationDocument, RoundNumber
from node.api.addresses import AddressLimits
from node.api.answers import Answer, Answers
from node.api.documents import AccountDocument, AccountsDocument, MarketDocument, RoundDocument, VenuesDocument
from node.api.explanations import ExplanationDocument
from node.api.kept import Kept
from node.api.openapi import Operation, Parameter
from node.api.problems import Problem, UnreadyComponent
from node.status import NodeStatus
from node.telemetry import HttpMetrics
from riskschema.codec import encode_json
from riskschema.errors import InvalidData
from riskschema.ports import Clock
from riskschema.reasons import REASONS
from riskschema.units import Address, parse_address

Respond = Callable[[web.Request], Awaitable[web.Response]]

LARGEST_ROUND = 2**53
REVALIDATE = "public, no-cache"
SETTLED = "public, max-age=3600"

PAGE = 100
LARGEST_PAGE = 500
"""Accounts of one page: what is read from the database for one request is bounded."""

_ROUND = re.compile(r"0|[1-9][0-9]{0,15}")
_LIMIT = re.compile(r"[1-9][0-9]{0,2}")


class HealthDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The process that serves answers."""

    status: str
    """Always `ok`."""
    age: float | None
    """Seconds since the last round that it knows of was certified; null where it knows of none."""


class ReadinessDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The node certifies rounds."""

    status: str
    """Always `ready`."""
    certified_round: RoundNumber
    """The last round that a quorum signed."""
    certified_at: float
    """Unix seconds at which this node learned of it."""
    age: float
    """Seconds since then."""


class ApiState(msgspec.Struct, frozen=True, kw_only=True):
    """What the handlers read."""

    answers: Answers
    status: NodeStatus
    metrics: HttpMetrics
    exposition: Kept
    clock: Clock
    addresses: AddressLimits | None
    openapi: bytes


STATE = web.AppKey("state", ApiState)

_ADDRESS = Parameter(
    name="address",
    location="path",
    description="An EVM address.",
    schema=Address.json_schema(),
)
_ROUND_NUMBER = {"type": "integer", "minimum": 0, "maximum": LARGEST_ROUND}
_ROUND_PATH = Parameter(name="round", location="path", description="A round.", schema=_ROUND_NUMBER)
_ROUND_QUERY = Parameter(
    name="round",
    location="query",
    description="A certified round that is still kept; the latest one if left out.",
    schema=_ROUND_NUMBER,
)
_AFTER = Parameter(
    name="after",
    location="query",
    description="Only accounts whose address is above this one: the last of the page before.",
    schema=Address.json_schema(),
)
_PAGE_LIMIT = Parameter(
    name="limit",
    location="query",
    description="Most accounts of the page.",
    schema={"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE},
)


async def account(request: web.Request) -> web.Response:
    """Answer with an account's attested assessment."""
    subject, round_number = _subject(request), _queried_round(request)
    answer = await request.app[STATE].answers.account(subject, round_number)
    return _document(request, answer, settled=round_number is not None)


async def attestation(request: web.Request) -> web.Response:
    """Answer with what proves an account's leaf."""
    subject, round_number = _subject(request), _queried_round(request)
    answer = await request.app[STATE].answers.attestation(subject, round_number)
    return _document(request, answer, settled=round_number is not None)


async def explanation(request: web.Request) -> web.Response:
    """Answer with an account in sentences and what would earn it a better grade."""
    subject, round_number = _subject(request), _queried_round(request)
    answer = await request.app[STATE].answers.explanation(subject, round_number)
    return _document(request, answer, settled=round_number is not None)


async def accounts(request: web.Request) -> web.Response:
    """Answer with a page of accounts."""
    round_number = _queried_round(request)
    after = request.query.get("after")
    cursor = None if after is None else _address(after, "query.after")
    answer = await request.app[STATE].answers.accounts(round_number, cursor, _limit(request))
    return _document(request, answer, settled=round_number is not None)


async def latest_market(request: web.Request) -> web.Response:
    """Answer with the prices of the latest certified round."""
    return _document(request, await request.app[STATE].answers.market(None), settled=False)


async def numbered_market(request: web.Request) -> web.Response:
    """Answer with the prices of one certified round."""
    round_number = _round_number(request.match_info["round"], "path.round")
    return _document(request, await request.app[STATE].answers.market(round_number), settled=True)


async def venues(request: web.Request) -> web.Response:
    """Answer with what the committee reads."""
    return _live(await request.app[STATE].answers.venues(), cache_control="public, max-age=60")


async def latest_round(request: web.Request) -> web.Response:
    """Answer with the latest certified round."""
    return _document(request, await request.app[STATE].answers.round(None), settled=False)


async def numbered_round(request: web.Request) -> web.Response:
    """Answer with one certified round."""
    round_number = _round_number(request.match_info["round"], "path.round")
    return _document(request, await request.app[STATE].answers.round(round_number), settled=True)


async def healthz(request: web.Request) -> web.Response:
    """Answer that the process is alive."""
    state = request.app[STATE]
    certified = state.status.certified
    age = None if certified is None else _age(state, certified.at)
    return _live(encode_json(HealthDocument(status="ok", age=age)))


async def readyz(request: web.Request) -> web.Response:
    """Answer whether the node certifies rounds, or why not."""
    state = request.app[STATE]
    failures = state.status.failures(state.clock.now())
    certified = state.status.certified
    if failures or certified is None:
        components = tuple(
            UnreadyComponent(
                component=each.component,
                code=each.code,
                short=REASONS[each.code].short,
                long=REASONS[each.code].long,
                since=each.since,
            )
            for each in failures
        )
        detail = "; ".join(f"{each.component}: {each.short}" for each in components)
        raise Problem(503, failures[0].code, detail, reasons=components)
    return _live(
        encode_json(
            ReadinessDocument(
                status="ready",
                certified_round=certified.round,
                certified_at=certified.at,
                age=_age(state, certified.at),
            ),
        )
    )


async def metrics(request: web.Request) -> web.Response:
    """Answer with the Prometheus series of this process."""
    return web.Response(
        body=request.app[STATE].exposition.get(),
        headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"},
    )


async def openapi(request: web.Request) -> web.Response:
    """Answer with the description of this API."""
    return _live(request.app[STATE].openapi, cache_control="public, max-age=300")


ROUTES: tuple[tuple[Operation, Respond], ...] = (
    (
        Operation(
            path="/v1/accounts/{address}",
            name="getAccount",
            summary="The attested assessment of an account, explained and proved",
            answer=AccountDocument,
            parameters=(_ADDRESS, _ROUND_QUERY),
            problems=(400, 404, 413, 500, 503),
            conditional=True,
        ),
        account,
    ),
    (
        Operation(
            path="/v1/accounts/{address}/attestation",
            name="getAttestation",
            summary="The proof of an account's leaf: the input of `plimsoll verify`",
            answer=AttestationDocument,
            parameters=(_ADDRESS, _ROUND_QUERY),
            problems=(400, 404, 413, 500, 503),
            conditional=True,
        ),
        attestation,
    ),
    (
        Operation(
            path="/v1/accounts/{address}/explanation",
            name="getExplanation",
            summary="The assessment of an account in sentences, and what would earn a better grade",
            answer=ExplanationDocument,
            parameters=(_ADDRESS, _ROUND_QUERY),
            problems=(400, 404, 413, 500, 503),
            conditional=True,
        ),
        explanation,
    ),
    (
        Operation(
            path="/v1/accounts",
            name="listAccounts",
            summary="The accounts of a round, page by page",
            answer=AccountsDocument,
            parameters=(_ROUND_QUERY, _AFTER, _PAGE_LIMIT),
            problems=(400, 404, 413, 500, 503),
            conditional=True,
        ),
        accounts,
    ),
    (
        Operation(
            path="/v1/venues",
            name="getVenues",
            summary="The venues that the committee reads, with their bits",
            answer=VenuesDocument,
            problems=(400, 413, 500, 503),
        ),
        venues,
    ),
    (
        Operation(
            path="/v1/rounds/latest/market",
            name="getLatestMarket",
            summary="The agreed prices of the latest certified round",
            answer=MarketDocument,
            problems=(400, 404, 413, 500, 503),
            conditional=True,
        ),
        latest_market,
    ),
    (
        Operation(
            path="/v1/rounds/{round}/market",
            name="getMarket",
            summary="The agreed prices of a certified round",
            answer=MarketDocument,
            parameters=(_ROUND_PATH,),
            problems=(400, 404, 413, 500, 503),
            conditional=True,
        ),
        numbered_market,
    ),
    (
        Operation(
            path="/v1/rounds/latest",
            name="getLatestRound",
            summary="The latest certified round",
            answer=RoundDocument,
            problems=(400, 404, 413, 500, 503),
            conditional=True,
        ),
        latest_round,
    ),
    (
        Operation(
            path="/v1/rounds/{round}",
            name="getRound",
            summary="A certified round",
            answer=RoundDocument,
            parameters=(_ROUND_PATH,),
            problems=(400, 404, 413, 500, 503),
            conditional=True,
        ),
        numbered_round,
    ),
    (Operation(path="/healthz", name="getHealth", summary="The process answers", answer=HealthDocument), healthz),
    (
        Operation(path="/readyz", name="getReadiness", summary="The node certifies rounds", answer=ReadinessDocument),
        readyz,
    ),
    (
        Operation(
            path="/metrics",
            name="getMetrics",
            summary="Prometheus series of the process that serves",
            content_type=CONTENT_TYPE_LATEST.partition(";")[0],
        ),
        metrics,
    ),
    (Operation(path="/openapi.json", name="getOpenApi", summary="This document"), openapi),
)


def _subject(request: web.Request) -> Address:
    return _address(request.match_info["address"], "path.address")


def _address(text: str, field: str) -> Address:
    try:
        return parse_address(text, what="address")
    except InvalidData as error:
        raise Problem(400, error.code, error.message, field=field) from None


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE))
    if not _LIMIT.fullmatch(text) or int(text) > LARGEST_PAGE:
        detail = f"a page has 1 to {LARGEST_PAGE} accounts"
        raise Problem(400, "request_malformed", detail, field="query.limit")
    return int(text)


def _queried_round(request: web.Request) -> int | None:
    text = request.query.get("round")
    return None if text is None else _round_number(text, "query.round")


def _round_number(text: str, field: str) -> int:
    if not _ROUND.fullmatch(text) or int(text) > LARGEST_ROUND:
        raise Problem(400, "request_malformed", f"a round is a whole number from 0 to {LARGEST_ROUND}", field=field)
    return int(text)


def _document(request: web.Request, answer: Answer, *, settled: bool) -> web.Response:
    """Return the answer, or 304 to a reader who has these bytes; a settled one may be kept without asking."""
    cache_control = SETTLED if settled and answer.expires is None else REVALIDATE
    age = int(_age(request.app[STATE], answer.observed_at))
    headers = {"ETag": f'"{answer.etag}"', "Cache-Control": cache_control, "Plimsoll-Age": str(age)}
    if "If-None-Match" in request.headers and _matches(request, answer):
        return web.Response(status=304, headers=headers)
    return web.Response(body=answer.body, headers={"Content-Type": "application/json", **headers})


def _age(state: ApiState, since: float) -> float:
    return max(round(state.clock.now() - since, 3), 0.0)


def _matches(request: web.Request, answer: Answer) -> bool:
    return any(tag.value in (answer.etag, "*") for tag in request.if_none_match or ())


def _live(body: bytes, *, cache_control: str = "no-store") -> web.Response:
    return web.Response(body=body, headers={"Content-Type": "application/json", "Cache-Control": cache_control})
