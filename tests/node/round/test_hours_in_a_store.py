"""Hours of the network in a real store: a report taken over, two days later; a joiner long after the genesis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from attest.hours.hourly import HOUR, RECENT_HOURS, FreshPrice, HourlyMemory, HourRow, advance
from attest.hours.table import genesis_memory, history_hash
from node.round.hourly_prices import HourlyPrices, encode_hours
from riskschema.buffers import Column
from riskschema.errors import FatalError
from riskschema.market import HourlyHistory
from riskschema.ports import Store
from riskschema.units import Hash32
from storage.store import open_store

DIGEST = Hash32(bytes(32))
TAKEN_OVER = 6
HOURS = 60


def genesis() -> HourlyHistory:
    flat = Column(dtype="int64", shape=(1, 2), data=(5).to_bytes(8, "little") * 2)
    return HourlyHistory(first_hour=0, factors=("ETH",), close=flat, high=flat, low=flat, simulated=False)


def table() -> HourlyPrices:
    return HourlyPrices(genesis(), history_hash(genesis()), 1_000)


def life() -> Iterator[tuple[int, HourlyMemory, HourRow]]:
    """One report an hour: its number, the state's hours after it, and the hour that it completed."""
    memory = genesis_memory(genesis())
    begin = 2 * HOUR
    memory = advance(memory, begin + 1, {"ETH": FreshPrice(price=6, fresh=True)})
    for number in range(1, HOURS + 1):
        memory = advance(memory, begin + number * HOUR + 1, {"ETH": FreshPrice(price=6 + number, fresh=True)})
        yield number, memory, memory.recent[-1]


async def certify(store: Store, hours: HourlyPrices, memory: HourlyMemory) -> None:
    """Keep the hours of a certified state, as a round does."""
    rows = hours.completed_by(memory)
    await store.put_hours(DIGEST, encode_hours(rows))
    hours.keep(rows)


async def test_an_hour_that_came_with_a_report_of_others_is_there_two_days_later(tmp_path: Path) -> None:
    assert HOURS > RECENT_HOURS + TAKEN_OVER, "the state carries it no more"
    last = genesis_memory(genesis())
    async with open_store(tmp_path / "plimsoll.sqlite") as store:
        hours = table()
        for number, memory, completed in life():
            if number != TAKEN_OVER:  # that report was not worked out here: its state came as a snapshot
                hours.expect(memory, [completed])
            await certify(store, hours, memory)
            last = memory
    async with open_store(tmp_path / "plimsoll.sqlite") as store:
        restarted = table()
        restarted.load(await store.hours(DIGEST), last)
        assert restarted.at(last).hours == genesis().hours + HOURS


async def test_an_hour_that_is_missing_in_the_store_stops_the_node_with_a_word(tmp_path: Path) -> None:
    """Otherwise the test above might pass whatever is kept."""
    everything = list(life())
    kept = [completed for number, _, completed in everything if number != TAKEN_OVER]
    async with open_store(tmp_path / "plimsoll.sqlite") as store:
        await store.put_hours(DIGEST, encode_hours(kept))
        with pytest.raises(FatalError, match="hours that the network agreed on"):
            table().load(await store.hours(DIGEST), everything[-1][1])


async def test_a_joiner_with_an_empty_database_long_after_the_genesis_has_the_whole_table(tmp_path: Path) -> None:
    everything = list(life())
    rows = [completed for _, _, completed in everything]
    last = everything[-1][1]
    async with open_store(tmp_path / "plimsoll.sqlite") as store:
        joiner = table()
        assert joiner.lacks(last) == rows[0].hour
        assert joiner.lacks(last, rows[:5]) == rows[5].hour
        learned = joiner.learn(last, rows[: HOURS - RECENT_HOURS])
        assert joiner.lacks(last) is None
        await store.put_hours(DIGEST, encode_hours(learned))
        restarted = table()
        restarted.load(await store.hours(DIGEST), last)
    assert restarted.at(last) == joiner.at(last)
    assert restarted.at(last).hours == genesis().hours + HOURS
