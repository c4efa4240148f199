"""JSON-RPC batches over HTTP: bounded, timed, retried only where a retry can help."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import msgspec
import stamina

from adapters.chains.answers import RpcAnswer, RpcError, failure, is_rate_limit, malformed, printable
from riskschema.errors import FatalError, TransientError
from riskschema.recursion import recursion_limit_kept

with warnings.catch_warnings(), recursion_limit_kept():
    warnings.simplefilter("ignore", DeprecationWarning)  # web3 7 imports a part of websockets that will go
    from web3 import AsyncHTTPProvider
    from web3.types import RPCEndpoint

Request = tuple[str, list[Any]]

_RETRIED_STATUS = frozenset({408, 429, 500, 502, 503, 504})


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
    """A failure of the way to the endpoint, or a plea to slow down: the same request may succeed soon."""


class BatchTooLarge(TransientError):
    """The answer to a batch is too large, or the endpoint refuses the batch as a whole: a smaller one may do."""


class BoundedProvider(AsyncHTTPProvider):
    """web3's HTTP provider on a kept-alive session of its own, reading at most `max_answer_bytes` of an answer."""

    global_ccip_read_enabled = False  # a contract must not make the node fetch addresses

    def __init__(self, url: str, session: aiohttp.ClientSession, *, max_answer_bytes: int) -> None:
        super().__init__(url, exception_retry_configuration=None)
        self.session = session
        self.max_answer_bytes = max_answer_bytes
        self.where = origin(url)
        self._secrets = _secrets(url)

    async def answers(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        """Send one batch; return its answers in the order of the requests.

        Raises:
            RetryableError: the endpoint cannot be reached, or limits the rate.
            BatchTooLarge: the answer is too large, or the batch is refused.
            TransientError: it answers nonsense.
        """
        forms = [self.form_request(cast("RPCEndpoint", method), parameters) for method, parameters in requests]
        body = await self._post(msgspec.json.encode(forms))
        try:
            decoded = msgspec.json.decode(body, type=list[RpcAnswer] | RpcAnswer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(self.where, "answered no JSON-RPC") from error
        if isinstance(decoded, RpcAnswer):
            raise self._refused_batch(self._discreet(decoded).error, len(forms))
        by_id = {answer.id: answer for answer in decoded}
        if len(by_id) != len(decoded) or by_id.keys() != {form["id"] for form in forms}:
            raise malformed(self.where, f"answered {len(decoded)} of {len(forms)} requests, or others")
        return [self._discreet(by_id[form["id"]]) for form in forms]

    async def _post(self, body: bytes) -> bytes:
        """Return the body of the answer to one POST."""
        try:
            async with self.session.post(
                str(self.endpoint_uri), data=body, headers=self.get_request_headers(), allow_redirects=False
            ) as response:
                if response.status in _RETRIED_STATUS:
                    raise RetryableError(
                        f"{self.where}: HTTP status {response.status}",
                        code="endpoint_refused" if response.status == 429 else "endpoint_unreachable",
                    )
                if response.status == 413:
                    raise BatchTooLarge(f"{self.where}: HTTP status 413", code="endpoint_refused")
                if response.status != 200:
                    raise TransientError(f"{self.where}: HTTP status {response.status}", code="endpoint_refused")
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
            if len(parts) > self.max_answer_bytes:
                raise BatchTooLarge(
                    f"{self.where}: answered more than {self.max_answer_bytes} bytes", code="endpoint_malformed"
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
            return RetryableError(said, code="endpoint_refused")
        return BatchTooLarge(said, code="endpoint_refused")


class Transport:
    """Splits work into batches, runs a few at once and retries transport failures.

    Args:
        provider: The bounded provider.
        batch_size: Requests per batch.
        concurrency: Batches in flight.
        attempts: Tries per batch.
    """

    def __init__(self, provider: BoundedProvider, *, batch_size: int, concurrency: int, attempts: int) -> None:
        self.where = provider.where
        self._provider = provider
        self._batch_size = batch_size
        self._slots = asyncio.Semaphore(concurrency)
        self._attempts = attempts

    async def one(self, method: str, *parameters: Any) -> Any:
        """Return the result of one request.

        Raises:
            TransientError: see `many`; also when the endpoint answers with an error.
        """
        answer = (await self.many([(method, list(parameters))]))[0]
        if answer.error:
            raise failure(answer.error, f"{self.where} {method}")
        return answer.result

    async def many(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        """Return the answers to any number of requests, in order.

        Raises:
            TransientError: the endpoint failed after retries, refuses, or answers nonsense.
        """
        chunks = [requests[at : at + self._batch_size] for at in range(0, len(requests), self._batch_size)]
        tasks: list[asyncio.Task[list[RpcAnswer]]] = []
        failed: TransientError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._batch(chunk)) for chunk in chunks]
        except* TransientError as failures:
            failed = _first(failures)  # raised here, Python before 3.11.4 would put it into a group again
        if failed is not None:
            raise failed
        return [answer for task in tasks for answer in task.result()]

    async def _batch(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        """Send one batch, in halves if it proves too large: a contract that floods must not stop the reading."""
        try:
            return await self._attempts_of(requests)
        except BatchTooLarge:
            if len(requests) == 1:
                raise
        middle = len(requests) // 2
        return await self._batch(requests[:middle]) + await self._batch(requests[middle:])

    async def _attempts_of(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        async with self._slots:
            async for attempt in stamina.retry_context(
                on=RetryableError, attempts=self._attempts, timeout=None, wait_initial=0.1, wait_max=2.0
            ):
                with attempt:
                    return self._unlimited(await self._provider.answers(requests))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _unlimited(self, answers: list[RpcAnswer]) -> list[RpcAnswer]:
        """Return `answers`, unless the endpoint asked to slow down within them."""
        for answer in answers:
            if answer.error and is_rate_limit(answer.error):
                raise RetryableError(f"{self.where}: limits the rate of requests", code="endpoint_refused")
        return answers


def _first(group: BaseExceptionGroup[TransientError]) -> TransientError:
    """Return one failure of a group."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return cast("TransientError", found)
