"""The transmitter: rounds never wait for a slow chain, and what is published is the newest report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from attest.formats.certificate import Certificate
from attest.formats.eip712 import Destination
from contracts.calls import encode_call
from node.publishing.transmitter import PUBLISHER, Elsewhere, NotDue, Transmitter, open_transmitter
from node.status import NodeStatus
from node.telemetry import Metrics
from riskschema.errors import InvalidData, PlimsollError, TransientError
from riskschema.ports import PublishedTransaction
from riskschema.units import Address, Hash32
from tests.builders.reports import header
from tests.node.local_node import ManualClock
from tests.patience import eventually

ORACLE = Address("0x" + "0f" * 20)
LATE = TransientError("it has not landed", code="publish_late")


def certificate(round_number: int) -> Certificate:
    return Certificate(header=header(round=round_number), bitmap=1, signatures=(bytes(65),))


def landed(round_number: int) -> PublishedTransaction:
    return PublishedTransaction(chain_id=1, hash=Hash32(bytes(32)), block_number=round_number, gas_used=95_000)


class SlowChain:
    """A publisher whose transactions land when the test says so."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.newest = 0
        """What the contract has, whoever brought it."""
        self.answers: dict[int, asyncio.Future[PublishedTransaction]] = {}

    async def publish(self, *, round_number: int, to: Address, data: bytes) -> PublishedTransaction:
        assert to == ORACLE
        assert data
        self.asked.append(round_number)
        return await self.answers.setdefault(round_number, asyncio.get_running_loop().create_future())

    async def read(self, to: Address, data: bytes) -> bytes:
        """`latestRound` of the contract."""
        assert (to, data) == (ORACLE, encode_call("RiskOracle", "latestRound"))
        return self.newest.to_bytes(32, "big") + bytes(32)

    def land(self, round_number: int) -> None:
        self.answers[round_number].set_result(landed(round_number))


class World:
    def __init__(self) -> None:
        self.chain = SlowChain()
        self.status = NodeStatus(round_interval=1)
        self.metrics = Metrics(self.status)

    @asynccontextmanager
    async def transmitter(self) -> AsyncIterator[Transmitter]:
        destination = Destination(chain_id=1, oracle=ORACLE)
        async with open_transmitter(
            self.chain, destination, status=self.status, metrics=self.metrics, clock=ManualClock(0.0)
        ) as transmitter:
            yield transmitter

    def failing(self) -> list[tuple[str, str]]:
        failures = self.status.failures(0.0)
        return [(failure.component, failure.code) for failure in failures if failure.component == PUBLISHER]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_transaction_that_lands_in_time_is_returned() -> None:
    world = World()
    async with world.transmitter() as transmitter:
        sending = asyncio.create_task(transmitter.send(certificate(1), patience=5.0))
        await settled()
        world.chain.land(1)
        assert await sending == landed(1)
    assert b'plimsoll_publish_gas_count{chain_id="1"} 1.0' in world.metrics.exposition(0.0)


async def test_a_slow_transaction_goes_on_beside_the_next_rounds() -> None:
    world = World()
    async with world.transmitter() as transmitter:
        assert await transmitter.send(certificate(1), patience=0.01) is None
        sending = asyncio.create_task(transmitter.send(certificate(2), patience=5.0))
        await settled()
        assert world.chain.asked == [1]
        world.chain.land(1)
        await settled()
        world.chain.land(2)
        assert await sending == landed(2)


async def test_a_report_that_is_overtaken_while_it_waits_is_left_out() -> None:
    world = World()
    async with world.transmitter() as transmitter:
        for number in range(1, 6):
            assert await transmitter.send(certificate(number), patience=0.0) is None
        await settled()
        world.chain.land(1)
        await settled()
        world.chain.land(5)
        await settled()
    assert world.chain.asked == [1, 5]


@pytest.mark.parametrize("error", [LATE, InvalidData("RoundNotNewer", code="publish_refused")])
async def test_a_failure_is_returned_and_shown_until_a_later_report_lands(error: PlimsollError) -> None:
    world = World()
    async with world.transmitter() as transmitter:
        sending = asyncio.create_task(transmitter.send(certificate(1), patience=None))
        await settled()
        world.chain.answers[1].set_exception(error)
        assert await sending == error
        assert world.failing() == [(PUBLISHER, error.code)]

        sending = asyncio.create_task(transmitter.send(certificate(2), patience=None))
        await settled()
        world.chain.land(2)
        await sending
    assert world.failing() == []


async def test_a_bug_in_the_background_stops_the_node_with_the_next_report() -> None:
    world = World()
    async with world.transmitter() as transmitter:
        await transmitter.send(certificate(1), patience=0.0)
        await settled()
        world.chain.answers[1].set_exception(ZeroDivisionError("a bug"))
        await settled()
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await transmitter.send(certificate(2), patience=0.0)


async def test_closing_stops_what_is_under_way() -> None:
    world = World()
    async with world.transmitter() as transmitter:
        await transmitter.send(certificate(1), patience=0.0)
        await settled()
    assert world.chain.answers[1].cancelled()


async def test_giving_up_a_round_does_not_give_up_its_transaction() -> None:
    world = World()
    async with world.transmitter() as transmitter:
        round_under_way = asyncio.create_task(transmitter.send(certificate(1), patience=None))
        await settled()
        round_under_way.cancel()
        await settled()
        assert not world.chain.answers[1].cancelled()


async def test_a_report_landed_by_another_is_a_success_that_costs_nothing() -> None:
    world = World()
    world.status.fail(PUBLISHER, "publish_late", at=0.0, detail="before")
    async with world.transmitter() as transmitter:
        world.chain.newest = 7
        assert await transmitter.send(certificate(7), patience=None, wait=0.01) == Elsewhere(round=7)
    assert not world.chain.asked
    assert world.failing() == []


async def test_who_is_second_publishes_where_the_first_did_not() -> None:
    world = World()
    async with world.transmitter() as transmitter:
        world.chain.newest = 6
        sending = asyncio.create_task(transmitter.send(certificate(7), patience=None, wait=0.01))
        await eventually(lambda: asked(world, 7))
        world.chain.land(7)
        assert await sending == landed(7)


async def test_one_that_another_landed_while_it_was_sent_is_a_success_too() -> None:
    world = World()
    async with world.transmitter() as transmitter:
        sending = asyncio.create_task(transmitter.send(certificate(7), patience=None))
        await settled()
        world.chain.newest = 7
        world.chain.answers[7].set_exception(InvalidData("RoundNotNewer", code="publish_refused"))
        assert await sending == Elsewhere(round=7)
    assert world.failing() == []


async def test_a_report_that_is_not_due_is_left_out_and_the_rule_knows_what_the_contract_has() -> None:
    world, seen = World(), list[int]()

    async def is_due(newest: int) -> bool:
        seen.append(newest)
        return newest < 5

    async with world.transmitter() as transmitter:
        world.chain.newest = 5
        assert await transmitter.send(certificate(7), patience=None, is_due=is_due) == NotDue(round=5)
        assert not world.chain.asked
        world.chain.newest = 4
        sending = asyncio.create_task(transmitter.send(certificate(8), patience=None, is_due=is_due))
        await settled()
        world.chain.land(8)
        assert await sending == landed(8)
    assert seen == [5, 4]


async def asked(world: World, round_number: int) -> bool:
    return round_number in world.chain.asked
