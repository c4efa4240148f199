"""Problem documents (RFC 9457): every refusal of the API says what was wrong, where, and what to do."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from riskschema.codec import encode_json
from riskschema.reasons import REASONS

PROBLEM_TYPE = "application/problem+json"


class UnreadyComponent(msgspec.Struct, frozen=True, kw_only=True):
    """One component that keeps the node from being ready."""

    component: str
    """What does not work."""
    code: str
    """Why, as a key of the reasons in docs/operating.md."""
    short: str
    """The same as a phrase."""
    long: str
    """What to do."""
    since: float | None
    """Unix seconds; null where it never worked."""


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem; `code` is a key of the reasons in the documentation."""

    type: str
    """``urn:plimsoll:problem:`` and the code."""
    title: str
    """The code as a phrase."""
    status: Annotated[int, Meta(ge=400, le=599)]
    """The HTTP status."""
    detail: str
    """What happened in this case."""
    code: str
    """Why, as a key of the reasons in docs/operating.md."""
    advice: str
    """What to do."""
    field: str | None = None
    """Which part of the request is wrong: ``path.address``, ``query.round``."""
    round: int | None = None
    """The round that was looked at."""
    reasons: tuple[UnreadyComponent, ...] = ()
    """Each component that keeps the node from being ready."""


class Problem(Exception):
    """A refusal on its way to becoming an answer.

    Args:
        status: HTTP status.
        code: A key of `riskschema.reasons.REASONS`.
        detail: What happened, for people; never internals.
        field: The offending part of the request.
        round_number: The round that was looked at.
        reasons: Why the node is not ready.
        headers: Headers that belong to the refusal (``Allow``, ``Retry-After``).
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        round_number: int | None = None,
        reasons: tuple[UnreadyComponent, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}
        reason = REASONS[code]
        self.document = ProblemDocument(
            type=f"urn:plimsoll:problem:{code}",
            title=reason.short,
            status=status,
            detail=detail,
            code=code,
            advice=reason.long,
            field=field,
            round=round_number,
            reasons=reasons,
        )

    def response(self) -> web.Response:
        """Return the answer, never to be cached."""
        return web.Response(
            status=self.status,
            body=encode_json(self.document),
            headers={"Content-Type": PROBLEM_TYPE, "Cache-Control": "no-store", **self.headers},
        )
