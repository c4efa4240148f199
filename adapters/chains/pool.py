"""The endpoints of one chain as one: own first, the next where one fails, and as many as must say the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import msgspec
import stamina

from adapters.chains.answers import RpcAnswer, failure, to_block
from adapters.chains.ballots import content, digest
from adapters.chains.endpoint import Endpoint, EndpointReport
from adapters.chains.heads import Heads
from adapters.chains.health import DISTRUSTED, EndpointState, Fault
from adapters.chains.learned import Learned
from adapters.chains.provider import LOGS, Request, RetryableError
from adapters.chains.relay import Relay
from adapters.chains.shortage import failure_kind, too_few
from adapters.parallel import in_parallel
from riskschema.errors import FatalError, TransientError
from riskschema.portfolio import BlockReference
from riskschema.units import Hash32

AUDITION_SECONDS = 60.0
_FATAL = frozenset({"wrong_chain", "gas_capped"})


class Ballot(msgspec.Struct, frozen=True):
    """What one endpoint answered."""

    endpoint: Endpoint
    answers: list[RpcAnswer]
    digest: bytes


class EndpointPool:
    """Asks like a `Transport`; an answer counts once `agreement` endpoints gave it.

    Args:
        endpoints: In the order in which they are asked: own ones first.
        chain_id: The chain.
        agreement: How many must say the same.
        attempts: Times that all are tried before a request fails.
        batch_size: Requests that one vote is about.
        concurrency: Votes at once.
        clock: Unix seconds.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        chain_id: int,
        agreement: int,
        attempts: int,
        batch_size: int,
        concurrency: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.where = ", ".join(endpoint.name for endpoint in endpoints)
        self.agreement = agreement
        self._endpoints = tuple(endpoints)
        self._chain_id = chain_id
        self._attempts = attempts
        self._batch_size = batch_size
        self._heads = Heads(endpoints, chain_id=chain_id, attempts=attempts, clock=clock)
        self._slots = asyncio.Semaphore(concurrency)
        self._genesis_hash: Hash32 | None = None

    def reports(self) -> tuple[EndpointReport, ...]:
        """Return what is known of each endpoint, in their order."""
        return tuple(endpoint.report() for endpoint in self._endpoints)

    def learned(self) -> tuple[Learned, ...]:
        """Return what each endpoint was found to take, in their order."""
        return tuple(endpoint.learned() for endpoint in self._endpoints)

    def confirming(self) -> EndpointPool | None:
        """Return the same endpoints where two must agree; None where there is only one."""
        if len(self._endpoints) == 1:
            return None
        confirming = copy(self)
        confirming.agreement = max(2, self.agreement)
        return confirming

    def relay(self) -> Relay:
        """Return a way to one of the same endpoints at a time, once they are opened."""
        assert self._genesis_hash is not None  # noqa: S101 - set by `open`
        return Relay(self._endpoints, genesis_hash=self._genesis_hash, attempts=self._attempts)

    async def open(self, genesis_hash: Hash32 | None) -> Hash32:
        """Look at all endpoints; return the hash of the chain's block 0.

        Args:
            genesis_hash: What it must be; None takes the word of the first that answers.

        Raises:
            FatalError: too few serve the chain, because the others serve another one or cap the gas of calls.
            TransientError: too few can be reached.
        """
        async for attempt in stamina.retry_context(
            on=RetryableError, attempts=self._attempts, timeout=None, wait_initial=0.1, wait_max=2.0
        ):
            with attempt:
                return await self._open(genesis_hash)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _open(self, genesis_hash: Hash32 | None) -> Hash32:
        failures = [
            failed
            for failed in await asyncio.gather(*(self._look(endpoint, genesis_hash) for endpoint in self._endpoints))
            if failed is not None
        ]
        found = [endpoint.genesis_hash for endpoint in self._endpoints if endpoint.genesis_hash is not None]
        if len(found) < self.agreement or (genesis_hash is None and len(set(found)) > 1):
            self._raise_unopened(failures, found)
        self._genesis_hash = found[0]
        return found[0]

    def _raise_unopened(self, failures: Sequence[TransientError], found: Sequence[Hash32]) -> None:
        if len(set(found)) > 1:
            raise FatalError(
                f"chain {self._chain_id}: the endpoints serve chains of different genesis "
                f"({', '.join(sorted(set(found)))}): set genesis_hash",
                code="wrong_chain",
            )
        passing = [failed for failed in failures if failed.code not in _FATAL]
        if not passing:
            raise FatalError("; ".join(failed.message for failed in failures), code=failures[0].code)
        raise too_few(self._endpoints, self._chain_id, self.agreement, passing, len(found))

    async def _look(self, endpoint: Endpoint, genesis_hash: Hash32 | None) -> TransientError | None:
        try:
            await endpoint.look(genesis_hash)
        except TransientError as error:
            return error
        return None

    async def one(self, method: str, *parameters: Any) -> Any:
        """Return the result of one request.

        Raises:
            TransientError: see `many`.
        """
        answer = (await self.many([(method, list(parameters))]))[0]
        if answer.error:
            raise failure(answer.error, f"{self.where} {method}")
        return answer.result

    async def many(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        """Return the answers to any number of requests, in order: results, and reverts of calls.

        Raises:
            TransientError: too few endpoints answered, or too few said the same.
        """
        others = [index for index, (method, _) in enumerate(requests) if method != LOGS]
        chunks = [others[at : at + self._batch_size] for at in range(0, len(others), self._batch_size)]
        chunks += [[index] for index, (method, _) in enumerate(requests) if method == LOGS]
        parts = await in_parallel(self._vote([requests[index] for index in chunk]) for chunk in chunks)
        answers: list[RpcAnswer] = [RpcAnswer()] * len(requests)
        for chunk, part in zip(chunks, parts, strict=True):
            for index, answer in zip(chunk, part, strict=True):
                answers[index] = answer
        return answers

    @property
    def most_blocks(self) -> int:
        """How many blocks a log query may have so that as many endpoints as must agree take it."""
        trusted = [each.most_blocks for each in self._endpoints if each.health.state not in DISTRUSTED]
        return sorted(trusted, reverse=True)[min(self.agreement, len(trusted)) - 1] if trusted else 1

    async def head(self, tag: str) -> BlockReference:
        """Return the newest block that as many as must agree have under `tag`, by the word of those asked first.

        All are asked, so that those that fell behind or came back are noticed.

        Raises:
            TransientError: too few answered.
        """
        found = await self._heads.look(tag, agreement=self.agreement, genesis_hash=self._genesis_hash)
        lowest = min(found, key=lambda block: block.number)
        if all(block == lowest for block in found):
            return lowest
        return to_block(await self.one("eth_getBlockByNumber", hex(lowest.number), False), self._chain_id, self.where)

    async def _vote(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        async with self._slots:
            async for attempt in stamina.retry_context(
                on=RetryableError, attempts=self._attempts, timeout=None, wait_initial=0.1, wait_max=2.0
            ):
                with attempt:
                    return await self._ballots(requests)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _ballots(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        """Ask endpoints in turn until enough gave one answer; who gave another is quarantined.

        Raises:
            TransientError: too few answered, or too few said the same.
        """
        voters, heard = self._voters(requests), self._auditioning(requests)
        auditions = [asyncio.create_task(self._ballot(each, requests)) for each in heard]
        ballots: list[Ballot] = []
        failures: list[TransientError] = []
        try:
            while (missing := self.agreement - _most(_standing(ballots))) > 0 and voters:
                asked, voters = voters[:missing], voters[missing:]
                for said in await asyncio.gather(*(self._ballot(endpoint, requests) for endpoint in asked)):
                    if isinstance(said, Ballot):
                        ballots.append(said)
                    else:
                        failures.append(said)
            if missing > 0:
                raise self._undecided(requests, _standing(ballots), failures)
            winner = self._winner(ballots)  # before anything is waited for, in which one could turn out to lie
            heard_again = [said for said in await asyncio.gather(*auditions) if isinstance(said, Ballot)]
        finally:
            for audition in auditions:
                audition.cancel()
        await self._note(requests, winner, ballots, heard_again)
        return winner.answers

    def _voters(self, requests: Sequence[Request]) -> list[Endpoint]:
        """Return who is asked: those alive in their order, then those that failed, never those that are distrusted."""
        able = [each for each in self._endpoints if all(each.takes(request) for request in requests[:1])]
        alive = [each for each in able if each.health.alive]
        failed = [each for each in able if not each.health.alive and each.health.state not in DISTRUSTED]
        return alive + sorted(failed, key=lambda each: each.health.paused_until)

    def _auditioning(self, requests: Sequence[Request]) -> list[Endpoint]:
        """Return the liars whose quarantine is over: their next answer does not count, but is compared."""
        heard = [
            each
            for each in self._endpoints
            if each.health.state is EndpointState.LYING and not each.health.pause and each.takes(requests[0])
        ]
        for endpoint in heard:
            endpoint.health.extend(AUDITION_SECONDS)
        return heard

    async def _ballot(self, endpoint: Endpoint, requests: Sequence[Request]) -> Ballot | TransientError:
        try:
            await endpoint.look(self._genesis_hash)
            answers = await endpoint.ask(requests)
            if len(self._endpoints) == 1:
                return Ballot(endpoint, answers, b"")
            return Ballot(endpoint, answers, digest(requests, answers, endpoint.name))
        except TransientError as error:
            return error

    def _winner(self, ballots: Sequence[Ballot]) -> Ballot:
        """Return a ballot that as many as must agree cast alike."""
        standing = _standing(ballots)
        digests = [ballot.digest for ballot in standing]
        return next(ballot for ballot in standing if digests.count(ballot.digest) >= self.agreement)

    async def _note(
        self, requests: Sequence[Request], winner: Ballot, ballots: Sequence[Ballot], auditions: Sequence[Ballot]
    ) -> None:
        """Note who agreed with the answer that won and who did not."""
        for ballot in (*ballots, *auditions):
            if ballot.digest != winner.digest:
                what = _difference(requests, ballot, winner)
                name, other = ballot.endpoint.name, winner.endpoint.name
                lies = await self._lies(requests, ballot, winner)
                ballot.endpoint.fail(
                    Fault(
                        EndpointState.LYING if lies else EndpointState.BEHIND,
                        f"{name} contradicts {other} and those that agree with it on {what}",
                    )
                )
            elif ballot in auditions or ballot.endpoint.health.state is not EndpointState.LYING:
                ballot.endpoint.recover()  # found out in another batch, a liar stays one until it is heard again

    async def _lies(self, requests: Sequence[Request], ballot: Ballot, winner: Ballot) -> bool:
        """Tell a lie from the answer of an endpoint that has another block, or none yet, at the height asked about."""
        if all(method == "eth_getBlockByNumber" for method, _ in requests):
            return False
        if requests[0][0] != LOGS:
            return True
        last = [("eth_getBlockByNumber", [requests[0][1][0]["toBlock"], False])]
        theirs, right = await asyncio.gather(self._ballot(ballot.endpoint, last), self._ballot(winner.endpoint, last))
        if not isinstance(theirs, Ballot) or not isinstance(right, Ballot) or theirs.digest != right.digest:
            return False
        again = await self._ballot(ballot.endpoint, requests)  # it may have got the block only just now
        return isinstance(again, Ballot) and again.digest != winner.digest

    def _undecided(
        self, requests: Sequence[Request], ballots: Sequence[Ballot], failures: Sequence[TransientError]
    ) -> TransientError:
        """Return why there is no answer."""
        if len({ballot.digest for ballot in ballots}) > 1:
            names = " and ".join(ballot.endpoint.name for ballot in ballots)
            what = _difference(requests, ballots[0], next(b for b in ballots if b.digest != ballots[0].digest))
            return failure_kind(failures)(
                f"chain {self._chain_id}: {names} contradict each other on {what}; {self.agreement} must agree",
                code="endpoints_disagree",
            )
        return too_few(self._endpoints, self._chain_id, self.agreement, failures, len(ballots))


def _most(ballots: Sequence[Ballot]) -> int:
    """Return how many gave the answer that most gave."""
    digests = [ballot.digest for ballot in ballots]
    return max(map(digests.count, digests), default=0)


def _standing(ballots: Sequence[Ballot]) -> list[Ballot]:
    """Return those that count: an endpoint found out in another batch meanwhile decides nothing."""
    return [ballot for ballot in ballots if ballot.endpoint.health.state is not EndpointState.LYING]


def _difference(requests: Sequence[Request], one: Ballot, other: Ballot) -> str:
    """Return the first request that two answered differently."""
    for request, left, right in zip(requests, one.answers, other.answers, strict=True):
        if content(request, left, one.endpoint.name) != content(request, right, other.endpoint.name):
            return f"{request[0]} {msgspec.json.encode(request[1]).decode()[:160]}"
    return requests[0][0]
