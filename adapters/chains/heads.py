"""The newest blocks of all endpoints of a chain: who is behind, who came back, and which height enough of them have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import stamina

from adapters.chains.answers import to_block
from adapters.chains.endpoint import Endpoint
from adapters.chains.health import DISTRUSTED, EndpointState, Fault
from adapters.chains.provider import RetryableError
from adapters.chains.shortage import too_few
from riskschema.errors import TransientError
from riskschema.portfolio import BlockReference
from riskschema.units import Hash32

LAG_BLOCKS = {"latest": 16, "safe": 96, "finalized": 96}
"""An endpoint whose head is further back than that is asked last; finality comes by epochs of 32 slots."""
OLD_SECONDS = {"latest": 192, "safe": 2_304, "finalized": 2_304}
"""Where no other need confirm it, a head is old that is older than that: twice what finality takes, at most."""
STRAGGLER_SECONDS = 2.0
"""How long a look at the heads waits for the others once enough have answered."""


class Heads:
    """Looks at all endpoints of a chain.

    Args:
        endpoints: In the order in which they are asked: own ones first.
        chain_id: The chain.
        attempts: Times that all are tried.
        clock: Unix seconds.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], *, chain_id: int, attempts: int, clock: Callable[[], float]
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._chain_id = chain_id
        self._attempts = attempts
        self._clock = clock

    async def look(self, tag: str, *, agreement: int, genesis_hash: Hash32 | None) -> list[BlockReference]:
        """Return the newest blocks of the first so many endpoints that are not behind; note who is.

        Args:
            tag: Which block: ``latest``, ``safe``, ``finalized``.
            agreement: How many must answer.
            genesis_hash: Of the chain; None: whatever each serves.

        Raises:
            TransientError: too few answered.
        """
        async for attempt in stamina.retry_context(
            on=RetryableError, attempts=self._attempts, timeout=None, wait_initial=0.1, wait_max=2.0
        ):
            with attempt:
                heads = await self._ask(tag, agreement, genesis_hash)
        reference = self._reference(heads, tag, agreement)
        fresh: list[BlockReference] = []
        for endpoint in self._endpoints:
            if endpoint not in heads:
                continue
            if heads[endpoint].number < reference - LAG_BLOCKS.get(tag, 0):
                detail = f"{endpoint.name} is at block {heads[endpoint].number}, others at {reference}"
                endpoint.fail(Fault(EndpointState.BEHIND, detail))
            else:
                endpoint.recover()
                fresh.append(heads[endpoint])
        return fresh[:agreement]

    def _reference(self, heads: Mapping[Endpoint, BlockReference], tag: str, agreement: int) -> int:
        """Return the height that nobody may be far behind.

        Where one endpoint's word is enough, that of no other may put the first one aside, only its own block's age.
        """
        if agreement > 1:
            ranked = sorted((block.number for block in heads.values()), reverse=True)
            return ranked[max(agreement, (len(ranked) + 1) // 2) - 1]
        told = [heads[each] for each in self._endpoints if each in heads]
        oldest = self._clock() - OLD_SECONDS.get(tag, 0)
        return next((block for block in told if block.timestamp >= oldest), told[0]).number

    async def _ask(self, tag: str, agreement: int, genesis_hash: Hash32 | None) -> dict[Endpoint, BlockReference]:
        """Ask all that are not left alone; those that are so only where the others are too few."""
        rested = [each for each in self._endpoints if not each.health.pause]
        trusted = [each for each in self._endpoints if each.health.state not in DISTRUSTED]
        asked = [each for each in rested if each.health.state is not EndpointState.LYING]
        if len(asked) < agreement:
            asked = list(dict.fromkeys((*asked, *trusted)))
        tasks = {asyncio.create_task(self._head(each, tag, genesis_hash)): each for each in asked}
        pending, answered, timeout = set(tasks), 0, None
        try:
            while pending:
                done, pending = await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                answered += sum(isinstance(task.result(), BlockReference) for task in done)
                timeout = STRAGGLER_SECONDS if answered >= agreement else None
            for task in pending:
                name = tasks[task].name
                tasks[task].fail(Fault(EndpointState.UNREACHABLE, f"{name}: slower than others by seconds"))
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        results = {tasks[task]: task.result() for task in tasks if task not in pending}
        heads = {each: said for each, said in results.items() if isinstance(said, BlockReference)}
        if len(heads) < agreement:
            failures = [said for said in results.values() if isinstance(said, TransientError)]
            raise too_few(self._endpoints, self._chain_id, agreement, failures, len(heads))
        return heads

    async def _head(self, endpoint: Endpoint, tag: str, genesis_hash: Hash32 | None) -> BlockReference | TransientError:
        try:
            await endpoint.look(genesis_hash)
            (answer,) = await endpoint.ask([("eth_getBlockByNumber", [tag, False])])
            return to_block(answer.result, self._chain_id, endpoint.name)
        except TransientError as error:
            return error
