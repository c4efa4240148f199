"""Bringing certified reports to the destination contract beside the rounds: a slow chain holds up no round."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from attest.formats.certificate import Certificate
from attest.formats.eip712 import Destination
from contracts.calls import decode_result, encode_call, publish_call
from node.status import NodeStatus
from node.telemetry import Metrics
from riskschema.errors import InvalidData, PlimsollError, TransientError
from riskschema.ports import Clock, PublishedTransaction, Publisher

PUBLISHER = "publisher"
ORACLE = "RiskOracle"


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """The contract has this report, or a newer one, from another operator."""

    round: int
    """The newest that the contract has."""


class NotDue(msgspec.Struct, frozen=True, kw_only=True):
    """What the contract has is recent enough, and nothing moved since."""

    round: int
    """The newest that the contract has."""


IsDue = Callable[[int], Awaitable[bool]]
"""Says whether a report is to be published, given the newest round of the contract (0: none)."""
Landing = PublishedTransaction | Elsewhere | NotDue | PlimsollError | None
"""The transaction; that another's was there first; that none is due; why there is none; None: a newer report took its
place."""


@asynccontextmanager
async def open_transmitter(
    publisher: Publisher, destination: Destination, *, status: NodeStatus, metrics: Metrics, clock: Clock
) -> AsyncIterator[Transmitter]:
    """Open the transmitter of one destination; what is under way in the end is left to the next start.

    Args:
        publisher: Stores every transaction before it sends it, so that it may be stopped anywhere.
        destination: The contract.
        status: Told when publishing fails and recovers.
        metrics: Told what a transaction cost.
        clock: Time.
    """
    transmitter = Transmitter(publisher, destination, status=status, metrics=metrics, clock=clock)
    try:
        yield transmitter
    finally:
        await transmitter.close()


class Transmitter:
    """Publishes one report at a time; one that is overtaken by a newer report while it waits is left out."""

    def __init__(
        self, publisher: Publisher, destination: Destination, *, status: NodeStatus, metrics: Metrics, clock: Clock
    ) -> None:
        self._publisher = publisher
        self._destination = destination
        self._status = status
        self._metrics = metrics
        self._clock = clock
        self._turn = asyncio.Lock()
        self._newest = 0
        self._tasks: set[asyncio.Task[Landing]] = set()

    async def send(
        self, certificate: Certificate, *, patience: float | None, wait: float = 0.0, is_due: IsDue | None = None
    ) -> Landing:
        """Begin to publish a certified report, and wait a while for it to land.

        Args:
            certificate: Of the report.
            patience: Seconds to wait; None: until the publisher gives up.
            wait: Seconds that belong to those who try before this operator.
            is_due: The rule, where not every report is published.

        Returns:
            How it ended; None also where it is still under way: that goes on beside the next rounds.
        """
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()  # a bug that ended an earlier one stops the node here
        self._newest = max(self._newest, certificate.header.round)
        sending = asyncio.create_task(self._publish_in_turn(certificate, wait, is_due))
        self._tasks.add(sending)
        await asyncio.wait({sending}, timeout=patience)
        return sending.result() if sending.done() else None

    async def close(self) -> None:
        """Stop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _publish_in_turn(self, certificate: Certificate, wait: float, is_due: IsDue | None) -> Landing:
        await asyncio.sleep(wait)
        async with self._turn:
            if certificate.header.round < self._newest:
                return None
            return await self._publish(certificate, first=wait == 0, is_due=is_due)

    async def _publish(self, certificate: Certificate, *, first: bool, is_due: IsDue | None) -> Landing:
        """Publish, unless another operator was quicker; that is no failure, whenever it is noticed."""
        try:
            if not first and (there := await self._there(certificate)):
                return there
            if is_due is not None:
                newest = await self._newest_there()
                if newest < certificate.header.round and not await is_due(newest):
                    return NotDue(round=newest)
            published = await self._publisher.publish(
                round_number=certificate.header.round, to=self._destination.oracle, data=publish_call(certificate)
            )
        except (TransientError, InvalidData) as error:
            with suppress(TransientError, InvalidData):
                if error.code == "publish_refused" and (there := await self._there(certificate)):
                    return there
            self._status.fail(PUBLISHER, error.code, at=self._clock.now(), detail=error.message)
            return error
        self._status.recover(PUBLISHER, at=self._clock.now())
        self._metrics.published(chain_id=published.chain_id, gas_used=published.gas_used)
        return published

    async def _there(self, certificate: Certificate) -> Elsewhere | None:
        """Return the newest round of the contract, if that is this report's or a later one."""
        newest = await self._newest_there()
        if newest < certificate.header.round:
            return None
        self._status.recover(PUBLISHER, at=self._clock.now())
        return Elsewhere(round=newest)

    async def _newest_there(self) -> int:
        answer = await self._publisher.read(self._destination.oracle, encode_call(ORACLE, "latestRound"))
        return int(decode_result(ORACLE, "latestRound", answer)[0])
