"""Bringing certified reports to the destination contract beside the rounds: a slow chain holds up no round."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attest.formats.certificate import Certificate
from attest.formats.eip712 import Destination
from contracts.calls import publish_call
from node.status import NodeStatus
from node.telemetry import Metrics
from riskschema.errors import InvalidData, PlimsollError, TransientError
from riskschema.ports import Clock, PublishedTransaction, Publisher

PUBLISHER = "publisher"

Landing = PublishedTransaction | PlimsollError | None
"""The transaction; why there is none; None: a newer report took its place."""


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

    async def send(self, certificate: Certificate, *, patience: float | None) -> Landing:
        """Begin to publish a certified report, and wait a while for it to land.

        Args:
            certificate: Of the report.
            patience: Seconds to wait; None: until the publisher gives up.

        Returns:
            How it ended; None also where it is still under way: that goes on beside the next rounds.
        """
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()  # a bug that ended an earlier one stops the node here
        self._newest = max(self._newest, certificate.header.round)
        sending = asyncio.create_task(self._publish_in_turn(certificate))
        self._tasks.add(sending)
        await asyncio.wait({sending}, timeout=patience)
        return sending.result() if sending.done() else None

    async def close(self) -> None:
        """Stop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _publish_in_turn(self, certificate: Certificate) -> Landing:
        async with self._turn:
            if certificate.header.round < self._newest:
                return None
            return await self._publish(certificate)

    async def _publish(self, certificate: Certificate) -> Landing:
        try:
            published = await self._publisher.publish(
                round_number=certificate.header.round, to=self._destination.oracle, data=publish_call(certificate)
            )
        except (TransientError, InvalidData) as error:
            self._status.fail(PUBLISHER, error.code, at=self._clock.now(), detail=error.message)
            return error
        self._status.recover(PUBLISHER, at=self._clock.now())
        self._metrics.published(chain_id=published.chain_id, gas_used=published.gas_used)
        return published
