"""One JSON-RPC endpoint over HTTP: a batch is one bounded POST, and every failure says what kind it is."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import msgspec

from adapters.chains.answers import LogsAnswer, RpcAnswer, RpcError, is_rate_limit, malformed, printable
from riskschema.errors import FatalError, TransientError
from riskschema.recursion import recursion_limit_kept

with warnings.catch_warnings(), recursion_limit_kept():
    warnings.simplefilter("ignore", DeprecationWarning)  # web3 7 imports a part of websockets that will go
    from web3 import AsyncHTTPProvider
    from web3.types import RPCEndpoint

LOGS = "eth_getLogs"
Request = tuple[str, list[Any]]

_RETRIED_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_NO_BATCH_STATUS = frozenset({400, 405, 413, 415, 422, 501})
"""What servers say to a batch that is too large, or to any batch at all."""
MAX_RETRY_AFTER_SECONDS = 3_600.0


def origin(url: str) -> str:
    """Return scheme, host and port of an RPC address: keys in the path, query or user part stay out of every message.

    Raises:
        FatalError: `url` is no http(s) address.
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        parts, port = urlsplit(""), ""
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise FatalError("rpc_url must be an http or https address with a host", code="invalid_settings")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def _secrets(url: str) -> tuple[str, ...]:
    """Return the parts of an address that may be keys, longest first."""
    parts = urlsplit(url)
    pieces = {*parts.path.split("/"), *re.split("[&=]", parts.query), parts.username or "", parts.password or ""}
    return tuple(sorted((piece for piece in pieces if len(piece) >= 8), key=len, reverse=True))


class RetryableError(TransientError):
    """A failure of the way to the endpoint: the same request may succeed soon.

    Args:
        message: See `TransientError`.
        code: See `TransientError`.
        answered: The server answered, with a status that says to try again.
    """

    def __init__(self, message: str, *, code: str, answered: bool = False) -> None:
        super().__init__(message, code=code)
        self.answered = answered


class RateLimited(RetryableError):
    """A plea to slow down.

    Args:
        message: See `TransientError`.
        retry_after: Seconds to wait, where the endpoint says so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, code="endpoint_refused")
        self.retry_after = retry_after


class BatchTooLarge(TransientError):
    """The answer to a batch is too large, or the endpoint refuses the batch as a whole: a smaller one may do.

    Args:
        message: See `TransientError`.
        code: See `TransientError`.
        refused: The endpoint refused the batch itself, so that the next ones may as well be smaller.
    """

    def __init__(self, message: str, *, code: str, refused: bool) -> None:
        super().__init__(message, code=code)
        self.refused = refused


class Traffic(msgspec.Struct):
    """What one endpoint was asked since the start."""

    posts: int = 0
    calls: int = 0
    """Requests within the posts: what providers bill."""
    bytes_received: int = 0


class BoundedProvider(AsyncHTTPProvider):
    """web3's HTTP provider on a kept-alive session of its own, reading at most `max_answer_bytes` of an answer."""

    global_ccip_read_enabled = False  # a contract must not make the node fetch addresses

    def __init__(self, url: str, session: aiohttp.ClientSession, *, max_answer_bytes: int) -> None:
        super().__init__(url, exception_retry_configuration=None)
        self.session = session
        self.max_answer_bytes = max_answer_bytes
        self.where = origin(url)
        self.traffic = Traffic()
        self._secrets = _secrets(url)

    async def answers(self, requests: Sequence[Request], *, batched: bool = True) -> list[RpcAnswer]:
        """Send one batch; return its answers in the order of the requests.

        Args:
            requests: At least one.
            batched: False sends the only request by itself, for endpoints that know no batches.

        Raises:
            RetryableError: the endpoint cannot be reached, or limits the rate.
            BatchTooLarge: the answer is too large, or the batch is refused.
            TransientError: it answers nonsense.
        """
        forms = [self.form_request(cast("RPCEndpoint", method), parameters) for method, parameters in requests]
        self.traffic.posts += 1
        self.traffic.calls += len(forms)
        body = await self._post(msgspec.json.encode(forms if batched else forms[0]), len(forms))
        decoded = self._decoded(body, of_logs=requests[0][0] == LOGS)
        if isinstance(decoded, RpcAnswer):
            if len(forms) > 1 or decoded.id != forms[0]["id"]:
                raise self._refused_batch(self._discreet(decoded).error, len(forms))
            decoded = [decoded]
        by_id = {answer.id: answer for answer in decoded}
        if len(by_id) != len(decoded) or by_id.keys() != {form["id"] for form in forms}:
            raise malformed(self.where, f"answered {len(decoded)} of {len(forms)} requests, or others")
        return [self._discreet(by_id[form["id"]]) for form in forms]

    def _decoded(self, body: bytes, *, of_logs: bool) -> list[RpcAnswer] | RpcAnswer:
        """Return the answers in a body; logs are queried alone, and read without their many further fields."""
        if of_logs:
            with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                found = msgspec.json.decode(body, type=list[LogsAnswer] | LogsAnswer)
                if isinstance(found, list):
                    return [RpcAnswer(each.id, each.result, each.error) for each in found]
                return RpcAnswer(found.id, found.result, found.error)
        try:
            return msgspec.json.decode(body, type=list[RpcAnswer] | RpcAnswer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(self.where, "answered no JSON-RPC") from error

    async def _post(self, body: bytes, size: int) -> bytes:
        """Return the body of the answer to one POST of `size` requests."""
        try:
            async with self.session.post(
                str(self.endpoint_uri), data=body, headers=self.get_request_headers(), allow_redirects=False
            ) as response:
                said = f"{self.where}: HTTP status {response.status}"
                if response.status == 429:
                    raise RateLimited(said, retry_after=_seconds(response.headers.get("Retry-After")))
                if response.status == 503 and "Retry-After" in response.headers:
                    raise RateLimited(said, retry_after=_seconds(response.headers["Retry-After"]))
                if response.status in _RETRIED_STATUS:
                    raise RetryableError(said, code="endpoint_unreachable", answered=True)
                if response.status in _NO_BATCH_STATUS:
                    raise BatchTooLarge(f"{said} to a batch of {size}", code="endpoint_refused", refused=True)
                if response.status != 200:
                    raise TransientError(said, code="endpoint_refused")
                return await self._read(response.content)
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            # the text of a client error can hold the whole address
            raise RetryableError(
                f"{self.where}: cannot be reached ({type(error).__name__}); check the URL and that it is up",
                code="endpoint_unreachable",
            ) from None

    async def _read(self, content: aiohttp.StreamReader) -> bytes:
        parts = bytearray()
        async for part in content.iter_any():
            parts += part
            self.traffic.bytes_received += len(part)
            if len(parts) > self.max_answer_bytes:
                raise BatchTooLarge(
                    f"{self.where}: answered more than {self.max_answer_bytes} bytes",
                    code="endpoint_malformed",
                    refused=False,
                )
        return bytes(parts)

    def _discreet(self, answer: RpcAnswer) -> RpcAnswer:
        """Return `answer` with the secrets of the address struck out of its error message: some endpoints echo them."""
        if answer.error is None:
            return answer
        message = answer.error.message
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return msgspec.structs.replace(answer, error=msgspec.structs.replace(answer.error, message=message))

    def _refused_batch(self, error: RpcError | None, size: int) -> TransientError:
        error = error or RpcError(message="one answer to a batch")
        said = f"{self.where}: refused a batch of {size}: {printable(error.message)} (code {error.code})"
        if is_rate_limit(error):
            return RateLimited(said)
        return BatchTooLarge(said, code="endpoint_refused", refused=True)


def _seconds(header: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header; None for none, or for the form that names a date."""
    if header is None or not header.strip().isascii() or not header.strip().isdigit():
        return None
    return min(float(header[:20]), MAX_RETRY_AFTER_SECONDS)
