"""What the round loop does when things go wrong, and how it goes on afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest

from attest.formats.committee import round_at
from attest.hours.hourly import HOUR
from attest.keys.guard import guard_path
from devnet.launch import launch
from devnet.local_chain import Devnet
from devnet.prices import read_prices, set_prices
from node.key_files import ATTESTATION
from node.loop.rounds import ATTEMPTS_ONCE, run_rounds
from node.loop.stopping import StopRequest
from node.round.node import Node
from node.round.result import RoundResult
from riskschema.errors import FatalError, TransientError
from riskschema.rounds import RoundStep
from tests.node.conftest import Prepare
from tests.node.local_node import LocalNode, ManualClock, NoReport, certified_rounds

pytestmark = pytest.mark.chain

INTERVAL = 4
STEPS = list(RoundStep)


class Crash(BaseException):
    """The process ends here."""


async def run_until(local: LocalNode, step: RoundStep) -> int:
    """Run one whole round, then stop dead before a step of the next; return its number."""
    (first,) = await local.run(1)

    async def crash(reached: RoundStep, _round: int) -> None:
        if reached is step:
            raise Crash

    reached = first.round + 1
    with pytest.raises(Crash):
        await local.run(1, before_step=crash)
    return reached


@pytest.mark.parametrize("step", STEPS)
async def test_a_restart_in_the_same_slot_completes_the_round(local: LocalNode, step: RoundStep) -> None:
    interrupted = await run_until(local, step)
    visited: list[tuple[RoundStep, int]] = []

    async def note(reached: RoundStep, round_number: int) -> None:
        visited.append((reached, round_number))

    (result,) = await local.run(1, before_step=note)
    certified_before = step is RoundStep.PUBLISH
    assert result.round == interrupted + certified_before
    assert {len(reports) for reports in local.signed().values()} == {1}
    assert local.accepted().keys() == {interrupted - 1, interrupted, result.round}
    assert (RoundStep.OBSERVE, interrupted) not in visited or step in {RoundStep.OBSERVE, RoundStep.PROPOSE}


@pytest.mark.parametrize("step", [RoundStep.SIGN, RoundStep.CERTIFY])
async def test_a_kept_report_is_completed_without_reading_again(local: LocalNode, step: RoundStep) -> None:
    interrupted = await run_until(local, step)
    local.devnet.anvil.reorganise(1)  # what the report was computed from is gone

    async def refuse(reached: RoundStep, round_number: int) -> None:
        assert round_number != interrupted or reached not in {RoundStep.OBSERVE, RoundStep.READ, RoundStep.ASSESS}

    (result,) = await local.run(1, before_step=refuse)
    assert result.round == interrupted


async def test_a_restart_in_the_next_slot_completes_the_round_before_and_its_own(local: LocalNode) -> None:
    interrupted = await run_until(local, RoundStep.READ)
    local.clock.time += INTERVAL
    results = await local.run(2)
    assert [result.round for result in results] == [interrupted, interrupted + 1]
    assert results[1].certificate.header.parent == results[0].certificate.report_hash


async def test_a_round_whose_slot_is_long_over_is_left_alone(local: LocalNode) -> None:
    interrupted = await run_until(local, RoundStep.CERTIFY)
    local.clock.time += 3 * INTERVAL
    (result,) = await local.run(1)
    assert result.round == interrupted + 3
    assert local.signed()[interrupted] != local.signed()[result.round]
    assert interrupted not in local.accepted()


async def test_a_failing_endpoint_makes_the_node_abstain_with_the_reason_until_it_is_back(local: LocalNode) -> None:
    local.impatient()
    reasons: dict[int, tuple[str, ...]] = {}
    frozen = ExitStack()

    async def fail_in_the_second_round(step: RoundStep, round_number: int) -> None:
        if step is RoundStep.OBSERVE:
            reasons[round_number] = node.status.ready(local.clock.now())
        if (step, round_number) == (RoundStep.READ, 2):
            frozen.enter_context(local.unreachable())
        if (step, round_number) == (RoundStep.OBSERVE, 4):
            frozen.close()

    with frozen:
        async with local.open(before_step=fail_in_the_second_round) as node:
            results = await certified_rounds(node, 2)
            exposition = node.metrics.exposition(local.clock.now()).decode()
            now = node.status.ready(local.clock.now())
            kept = await node.store.report(node.config_digest, 2)

    assert [result.round for result in results] == [1, 4]
    assert reasons == {
        1: ("round_missing",),
        2: (),
        3: ("endpoint_unreachable",),  # failed while reading
        4: ("endpoint_unreachable",),  # failed while observing
    }
    assert now == ()
    assert kept is None
    assert local.signed().keys() == {1, 4}
    assert 'plimsoll_abstentions_total{reason="endpoint_unreachable"} 2.0' in exposition


async def test_with_once_the_reason_of_the_last_failure_is_raised(local: LocalNode) -> None:
    attempts: list[int] = []

    async def fail(step: RoundStep, round_number: int) -> None:
        if step is RoundStep.READ:
            attempts.append(round_number)
            raise TransientError("the disk is slow", code="deadline")

    async with local.open(before_step=fail) as node:
        with pytest.raises(TransientError, match="the disk is slow"):
            await run_rounds(node, StopRequest(), once=True)
    assert len(attempts) == ATTEMPTS_ONCE


async def test_values_no_honest_observer_sends_are_an_abstention_not_an_end(local: LocalNode) -> None:
    """A node that was suspended while it observed would send an observation of a slot long gone."""

    async def oversleep(step: RoundStep, round_number: int) -> None:
        if (step, round_number) == (RoundStep.OBSERVE, 1):
            local.clock.time += 5 * INTERVAL

    (result,) = await local.run(1, before_step=oversleep)
    assert result.round == 6


async def test_an_expired_parent_is_built_on_but_not_published_again(local: LocalNode) -> None:
    (first,) = await local.run(1)
    later(local, hours=2)
    async with local.open() as node:
        (second,) = await certified_rounds(node, 1)
        state = await node.store.report(node.config_digest, second.round)
    assert state is not None
    assert second.certificate.header.parent == first.certificate.report_hash
    assert list(local.accepted()) == [first.round, second.round]


def later(local: LocalNode, *, hours: int) -> None:
    """Let time pass on the chain and for the node; the feeds answer anew."""
    local.clock.time += hours * HOUR
    local.devnet.anvil.mine_at(int(local.clock.time))
    set_prices(local.devnet, read_prices(local.devnet), arbitrage=False)


async def test_the_price_table_outlives_the_hours_that_the_state_carries(local: LocalNode) -> None:
    await local.run(1)
    later(local, hours=60)
    await local.run(1)
    later(local, hours=50)
    await local.run(1)
    later(local, hours=1)
    async with local.open() as node:
        (result,) = await certified_rounds(node, 1)
        kept = await node.store.hours(node.config_digest)
        report = await node.store.report(node.config_digest, result.round)
    assert report is not None
    assert len(kept) == 111
    assert kept[-1].hour - kept[0].hour == 110 * HOUR


@pytest.mark.parametrize(
    "damage",
    ["DELETE FROM hours WHERE hour = (SELECT min(hour) FROM hours)", "UPDATE hours SET row = x'00'"],
)
async def test_a_price_table_that_is_not_the_networks_is_refused_at_the_start(local: LocalNode, damage: str) -> None:
    await local.run(1)
    later(local, hours=60)
    await local.run(1)
    with closing(local.database()) as database, database:
        database.execute(damage)
    with pytest.raises(FatalError, match="copy the database of another operator") as refusal:
        await local.run(1)
    assert refusal.value.code == "store_unusable"


async def test_hours_of_a_report_that_was_never_certified_are_overwritten(local: LocalNode) -> None:
    await local.run(1)
    later(local, hours=1)

    async def crash(step: RoundStep, _round: int) -> None:
        if step is RoundStep.PUBLISH:
            raise Crash

    with pytest.raises(Crash):
        await local.run(1, before_step=crash)
    with closing(local.database()) as database, database:  # as if the crash had come just before the certificate
        database.execute("UPDATE reports SET certificate = NULL WHERE round > 1")
        (first,) = database.execute("SELECT row FROM hours").fetchone()
    local.clock.time += 3 * INTERVAL
    prices = read_prices(local.devnet)
    set_prices(local.devnet, {**prices, "WETH": prices["WETH"] * 101 // 100}, arbitrage=False)
    await local.run(1)
    with closing(local.database()) as database:
        (second,) = database.execute("SELECT row FROM hours").fetchone()
    assert first != second
    await local.run(1)


async def test_a_second_run_on_a_fresh_chain_does_not_trip_over_the_old_database(
    chain: Devnet, tmp_path: Path, prepare: Prepare
) -> None:
    old = prepare(chain, tmp_path)
    before = await old.run(2)
    with launch() as fresh:
        new = prepare(fresh, tmp_path)
        (after,) = await new.run(1)
        assert new.accepted() == {after.round: after.certificate.report_hash}
    assert after.round <= before[-1].round
    assert after.certificate.header.parent == bytes(32)
    with closing(sqlite3.connect(tmp_path / "plimsoll.sqlite")) as database:
        (digests,) = database.execute("SELECT count(DISTINCT config_digest) FROM reports").fetchone()
    assert digests == 2


async def test_old_rounds_are_deleted(local: LocalNode) -> None:
    local.settings = msgspec.structs.replace(local.settings, keep_rounds=2)
    results = await local.run(5)
    async with local.open() as node:
        kept = [result.round for result in results if await is_kept(node, result)]
    assert kept == [result.round for result in results[-3:]]


async def is_kept(node: Node, result: RoundResult) -> bool:
    return await node.store.report(node.config_digest, result.round) is not None


async def test_a_chain_that_no_round_can_pin_means_no_report(local: LocalNode) -> None:
    """The chain stands still for longer than a pin may be old: what it says is nothing about now."""
    local.clock.time += 1_000
    reasons: set[str] = set()

    async def note(step: RoundStep, _round: int) -> None:
        reasons.update(node.status.ready(local.clock.now()))

    async with local.open(before_step=note) as node:
        with pytest.raises(NoReport):
            await certified_rounds(node, 1, slots=3)
    assert "chain_out" in reasons


YEAR = 365 * 86_400.0


class GlitchingClock(ManualClock):
    """The next readings are wrong by what is in `wrong`; who waits for such a time waits in vain."""

    def __init__(self, time: float) -> None:
        super().__init__(time)
        self.wrong: list[float] = []

    def now(self) -> float:
        return self.time + (self.wrong.pop(0) if self.wrong else 0.0)

    async def sleep_until(self, timestamp: float) -> None:
        if timestamp > self.time + YEAR / 2:
            await asyncio.Event().wait()
        await super().sleep_until(timestamp)


@pytest.mark.parametrize("readings", [1, 3, 5])
@pytest.mark.parametrize("off", [YEAR, -YEAR])
async def test_rounds_go_on_after_wrong_readings_of_the_clock(local: LocalNode, off: float, readings: int) -> None:
    """The readings are those that end the wait for a slot and begin its round, so all that comes of them is seen."""
    clock = local.clock = GlitchingClock(local.clock.time)
    (first,) = await local.run(1)
    results: list[RoundResult] = []
    stop = StopRequest()

    def note(result: RoundResult) -> None:
        results.append(result)
        if len(results) == 1:
            clock.wrong = [off] * readings
        if len(results) == 4:
            stop.ask()

    async with local.open() as node:
        clock.limit = clock.time + 20 * INTERVAL
        await run_rounds(node, stop, on_round=note)
        mark = node.guard.high_water_mark(node.rules.config_digest)
        slot = round_at(node.rules.committee, int(clock.time))
    assert results[-1].round <= first.round + 10, "a wrong reading costs its moment"
    assert mark == results[-1].round <= slot
    assert {len(reports) for reports in local.signed().values()} == {1}


@pytest.mark.parametrize("off", [YEAR, -YEAR])
async def test_a_node_whose_clock_is_wrong_does_not_start_and_leaves_the_guard_as_it_is(
    local: LocalNode, off: float
) -> None:
    guard = guard_path(local.directory / "keys" / ATTESTATION)
    guard.unlink()  # a missing guard is marked by the clock
    right = local.clock.time
    local.clock.time = right + off
    with pytest.raises(TransientError, check=lambda error: error.code == "clock_wrong"):
        await local.run(1)
    local.clock.time = right
    (result,) = await local.run(1)
    assert result.round <= 5


async def test_a_guard_marked_for_next_year_stops_the_start_with_the_ways_out(local: LocalNode) -> None:
    async with local.open() as node:
        digest = node.rules.config_digest
        slot = round_at(node.rules.committee, int(local.clock.time))
        ahead = slot + int(YEAR) // INTERVAL
        node.guard.sign_once(digest, ahead, bytes([1]) * 32, lambda: b"signed by a wrong clock", parent_round=0)
    with pytest.raises(FatalError, check=lambda error: error.code == "guard_ahead"):
        await local.run(1)


async def test_a_node_without_a_place_to_publish_certifies_all_the_same(local: LocalNode) -> None:
    local.settings = msgspec.structs.replace(local.settings, publish=None)
    first, second = await local.run(2)
    assert (first.round, second.round) == (1, 2)
    assert first.transaction is None
    assert second.transaction is None
    assert local.accepted() == {}
