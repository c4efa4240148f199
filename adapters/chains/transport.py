"""The way to one endpoint: batches and ranges of logs in the sizes it accepts, retried only where a retry can help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import stamina

from adapters.chains.answers import (
    RpcAnswer,
    RpcError,
    failure,
    is_pruned,
    is_rate_limit,
    is_rate_limit_in_words,
    malformed,
)
from adapters.chains.learned import Learned
from adapters.chains.provider import LOGS, BatchTooLarge, BoundedProvider, RateLimited, Request, RetryableError
from adapters.parallel import in_parallel
from riskschema.errors import TransientError

MAX_SPAN = 1 << 40
_GROW_AFTER = 32
"""Requests in a row that an endpoint took at a lowered limit before twice as much is tried again."""


class Limit:
    """How much an endpoint takes at once: lowered where it refuses, raised again after a while of taking it.

    Args:
        most: Never more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self.value = most

    def took(self, size: int) -> None:
        """Note that the endpoint took `size`."""
        if self.value >= self._most or size < self.value:
            return
        self._taken += 1
        if self._taken >= _GROW_AFTER:
            self.value, self._taken = min(self._most, 2 * self.value), 0

    def lower(self, size: int) -> None:
        """Note that the endpoint takes `size` where it refused more."""
        self.value, self._taken = max(1, min(self.value, size)), 0


class Transport:
    """Splits work into batches, runs a few at once and retries transport failures.

    Args:
        provider: The bounded provider.
        batch_size: Requests per batch, at most.
        concurrency: Posts in flight.
        attempts: Tries per batch.
        log_range: Blocks per log query, at most.
    """

    def __init__(
        self,
        provider: BoundedProvider,
        *,
        batch_size: int,
        concurrency: int,
        attempts: int,
        log_range: int = MAX_SPAN,
    ) -> None:
        self.where = provider.where
        self.batch = Limit(batch_size)
        self.span = Limit(log_range)
        self._provider = provider
        self._batched = True
        self._slots = asyncio.Semaphore(concurrency)
        self._attempts = attempts

    @property
    def batched(self) -> bool:
        """False: the endpoint was found to know no batches."""
        return self._batched

    def resume(self, learned: Learned) -> None:
        """Begin with the limits that were found before."""
        self.batch.lower(learned.batch_size)
        self.span.lower(learned.log_range)
        self._batched = learned.batched

    @property
    def most_blocks(self) -> int:
        """How many blocks a log query may have: it is asked in parts that the endpoint takes."""
        return MAX_SPAN

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
        size = self.batch.value
        others = [index for index, (method, _) in enumerate(requests) if method != LOGS]
        chunks = [others[at : at + size] for at in range(0, len(others), size)]
        chunks += [[index] for index, (method, _) in enumerate(requests) if method == LOGS]
        answers: list[RpcAnswer] = [RpcAnswer()] * len(requests)
        parts = await in_parallel(self._part([requests[index] for index in chunk]) for chunk in chunks)
        for chunk, part in zip(chunks, parts, strict=True):
            for index, answer in zip(chunk, part, strict=True):
                answers[index] = answer
        return answers

    async def _part(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        if requests[0][0] == LOGS:
            return [await self._logs(requests[0][1][0])]
        return await self._batch(requests)

    async def _batch(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        """Send one batch, in halves if it proves too large: a contract that floods must not stop the reading."""
        try:
            answers = await self._attempts_of(requests)
        except BatchTooLarge as refusal:
            if len(requests) == 1:
                if not refusal.refused or not self._batched:
                    raise
                return await self._alone(requests)
            refused = refusal.refused
        else:
            self.batch.took(len(requests))
            return answers
        middle = len(requests) // 2
        if refused:
            self.batch.lower(middle)
        return await self._batch(requests[:middle]) + await self._batch(requests[middle:])

    async def _alone(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        """Send a request that was refused as a batch of one by itself: the endpoint may know no batches."""
        self._batched = False
        try:
            return await self._attempts_of(requests)
        except TransientError:
            self._batched = True
            raise

    async def _logs(self, query: dict[str, Any]) -> RpcAnswer:
        """Ask for logs over ranges that the endpoint takes; any refusal of more than one block halves the range."""
        first, last, span = int(query["fromBlock"], 16), int(query["toBlock"], 16), self.span.value
        found: list[Any] = []
        narrowed = False
        while first <= last:
            end = min(last, first + span - 1)
            refused: TransientError | None = None
            answer = RpcAnswer()
            try:
                asked = [(LOGS, [{**query, "fromBlock": hex(first), "toBlock": hex(end)}])]
                answer = (await self._batch(asked))[0]
            except TransientError as refusal:
                if isinstance(refusal, RateLimited) or (isinstance(refusal, RetryableError) and not refusal.answered):
                    raise
                refused = refusal
            if (refused or answer.error) and end > first and not is_pruned(answer.error):
                span, narrowed = (end - first + 1) // 2, True
                continue
            if refused:
                raise refused
            if answer.error:
                return answer
            if not isinstance(answer.result, list):
                raise malformed(self.where, "answered no list of logs")
            found += answer.result
            if narrowed:  # not wherever `span` is lower: the limit may have been raised since this query began
                self.span.lower(span)
                narrowed = False
            self.span.took(end - first + 1)
            first = end + 1
        return RpcAnswer(result=found)

    async def _attempts_of(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        async with self._slots:
            async for attempt in stamina.retry_context(
                on=RetryableError, attempts=self._attempts, timeout=None, wait_initial=0.1, wait_max=2.0
            ):
                with attempt:
                    answers = await self._provider.answers(requests, batched=self._batched)
                    return self._unlimited(answers, is_rate_limit_in_words if requests[0][0] == LOGS else is_rate_limit)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _unlimited(self, answers: list[RpcAnswer], limited: Callable[[RpcError], bool]) -> list[RpcAnswer]:
        """Return `answers`, unless the endpoint asked to slow down within them."""
        for answer in answers:
            if answer.error and limited(answer.error):
                raise RateLimited(f"{self.where}: limits the rate of requests")
        return answers
