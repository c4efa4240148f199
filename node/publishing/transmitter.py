"""Bringing certified reports to the destination contract beside the rounds: a slow chain holds up no round."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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

STAGE_SECONDS = 2.0
"""How long each operator waits for those before it to bring a report to the contract."""


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """The contract has this report, or a newer one, from another operator."""

    round: int
    """The newest that the contract has."""


Landing = PublishedTransaction | Elsewhere | PlimsollError | None
"""The transaction; that another's was there first; why there is none; None: a newer report took its place."""


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

    async def send(self, certificate: Certificate, *, patience: float | None, stage: int = 0) -> Landing:
        """Begin to publish a certified report, and wait a while for it to land.

        Args:
            certificate: Of the report.
            patience: Seconds to wait; None: until the publisher gives up.
            stage: How many operators try before this one.

        Returns:
            How it ended; None also where it is still under way: that goes on beside the next rounds.
        """
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()  # a bug that ended an earlier one stops the node here
        self._newest = max(self._newest, certificate.header.round)
        sending = asyncio.create_task(self._publish_in_turn(certificate, stage))
        self._tasks.add(sending)
        await asyncio.wait({sending}, timeout=patience)
        return sending.result() if sending.done() else None

    async def close(self) -> None:
        """Stop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _publish_in_turn(self, certificate: Certificate, stage: int) -> Landing:
        await asyncio.sleep(stage * STAGE_SECONDS)
        async with self._turn:
            if certificate.header.round < self._newest:
                return None
            return await self._publish(certificate, alone=stage == 0)

    async def _publish(self, certificate: Certificate, *, alone: bool) -> Landing:
        """Publish, unless another operator was quicker; that is no failure, whenever it is noticed."""
        try:
            if not alone and (there := await self._there(certificate)):
                return there
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
        answer = await self._publisher.read(self._destination.oracle, encode_call(ORACLE, "latestRound"))
        newest = int(decode_result(ORACLE, "latestRound", answer)[0])
        if newest < certificate.header.round:
            return None
        self._status.recover(PUBLISHER, at=self._clock.now())
        return Elsewhere(round=newest)
