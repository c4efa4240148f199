"""One endpoint at a time, the next where it fails: for what no two need agree on, such as handing in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import stamina

from adapters.chains.answers import RpcAnswer, as_revert, failure
from adapters.chains.endpoint import Endpoint
from adapters.chains.health import DISTRUSTED, fault_of
from adapters.chains.provider import Request, RetryableError
from adapters.chains.shortage import failure_kind
from riskschema.errors import TransientError
from riskschema.units import Hash32

HAND_IN = "eth_sendRawTransaction"


class Relay:
    """Asks like a `Transport`; all answers to one `many` are of one endpoint, errors included.

    A signed transaction that an endpoint does not take is offered to the others, byte for byte.

    Args:
        endpoints: In the order in which they are asked.
        genesis_hash: Of the chain they must serve.
        attempts: Times that all are tried before a request fails.
    """

    def __init__(self, endpoints: Sequence[Endpoint], *, genesis_hash: Hash32, attempts: int) -> None:
        self._endpoints = tuple(endpoints)
        self._genesis_hash = genesis_hash
        self._attempts = attempts
        self._last = self._endpoints[0]

    @property
    def where(self) -> str:
        """The endpoint that answered last."""
        return self._last.name

    async def one(self, method: str, *parameters: Any) -> Any:
        """Return the result of one request.

        Raises:
            TransientError: see `many`; also when the endpoint answers with an error.
        """
        (answer,) = await self.many([(method, list(parameters))])
        if answer.error:
            raise failure(answer.error, f"{self.where} {method}")
        return answer.result

    async def many(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        """Return the answers to any number of requests, in order.

        Raises:
            TransientError: no endpoint answers.
        """
        async for attempt in stamina.retry_context(
            on=RetryableError, attempts=self._attempts, timeout=None, wait_initial=0.1, wait_max=2.0
        ):
            with attempt:
                return await self._in_turn(requests)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _in_turn(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        failures: list[TransientError] = []
        refused: list[RpcAnswer] | None = None
        for endpoint in self._order():
            try:
                await endpoint.look(self._genesis_hash)
                answers = await endpoint.ask(requests, settling=False)
            except TransientError as error:
                failures.append(error)
                continue
            if (lacking := _lacking(requests, answers, endpoint.name)) is not None:
                endpoint.fail(fault_of(lacking))
                failures.append(lacking)
                continue
            endpoint.recover()
            self._last = endpoint
            if requests and requests[0][0] == HAND_IN and answers[0].error is not None:
                refused = refused or answers
                continue
            return answers
        if refused is not None:
            return refused
        said = "; ".join(dict.fromkeys(failed.message for failed in failures))
        raise failure_kind(failures)(said, code=failures[0].code)

    def _order(self) -> Sequence[Endpoint]:
        """Return those that may be asked now, in their order, then those that failed just now; never the distrusted."""
        ready = [each for each in self._endpoints if not each.health.pause]
        paused = [each for each in self._endpoints if each not in ready and each.health.state not in DISTRUSTED]
        return [*ready, *sorted(paused, key=lambda each: each.health.paused_until)] or self._endpoints[:1]


def _lacking(requests: Sequence[Request], answers: Sequence[RpcAnswer], where: str) -> TransientError | None:
    """Return what an endpoint cannot tell because it lags, or no longer keeps it; others may."""
    for (method, _), answer in zip(requests, answers, strict=True):
        if answer.error is not None and as_revert(answer.error) is None:
            failed = failure(answer.error, f"{where} {method}")
            if failed.code in {"block_unknown", "history_pruned"}:
                return failed
    return None
