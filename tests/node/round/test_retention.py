"""What stays in the store: by number, age and bytes, and never less than the node needs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from node.round.retention import ROUNDS_PER_ROUND, Retention, make_room, retention
from riskschema.ports import Store
from riskschema.rounds import StoredAccount, StoredMessage, StoredReport
from riskschema.units import Address, Hash32
from storage.store import open_store

COMMITTEE = Hash32("0x" + "b2" * 32)
EARLIER = Hash32("0x" + "a1" * 32)
NOISE = random.Random(7).randbytes(40_000)
EVERYTHING = 10**12


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "node.db") as opened:
        yield opened


async def put_rounds(store: Store, *rounds: int, digest: Hash32 = COMMITTEE, certified: bool = True) -> None:
    """Keep rounds of about 40 kB each, which nothing makes smaller."""
    for number in rounds:
        await store.put_message(digest, StoredMessage(round=number, kind="share", sender="0", payload=b"x"))
        report = StoredReport(
            config_digest=digest, round=number, report_hash=EARLIER, header=b"", state=b"", certificate=None
        )
        account = StoredAccount(subject=Address("0x" + "11" * 20), leaf=b"", proof=(), assessment=NOISE)
        await store.put_report(report, [account])
        if certified:
            await store.certify(msgspec.structs.replace(report, certificate=b"certificate"))


async def kept(store: Store, last: int, digest: Hash32 = COMMITTEE) -> list[int]:
    return [number for number in range(last + 1) if await store.report(digest, number) is not None]


@pytest.mark.parametrize(
    ("days", "interval", "rounds"),
    [(None, 60, 10_000), (1, 60, 1_440), (7, 60, 10_000), (1, 86_400, 2), (1, 3_600, 24)],
)
def test_the_age_is_told_by_the_number_of_the_round(days: int | None, interval: int, rounds: int) -> None:
    assert retention(rounds=10_000, days=days, megabytes=1, interval_seconds=interval).rounds == rounds


async def test_rounds_beyond_the_number_are_deleted(store: Store) -> None:
    await put_rounds(store, *range(1, 9))
    await make_room(store, COMMITTEE, Retention(rounds=3, bytes=EVERYTHING), 8)
    assert await kept(store, 8) == [5, 6, 7, 8]


async def test_the_oldest_rounds_make_room_until_the_bytes_in_use_fit(store: Store) -> None:
    await put_rounds(store, *range(1, 21))
    before = await store.size()
    limit = before.used - 6 * len(NOISE)
    size = await make_room(store, COMMITTEE, Retention(rounds=10_000, bytes=limit), 20)
    assert size == await store.size()
    assert limit - 4 * 1.3 * len(NOISE) <= size.used <= limit
    remaining = await kept(store, 20)
    assert remaining == list(range(21 - len(remaining), 21))
    assert size.free >= before.used - limit


async def test_freed_pages_are_used_again_so_that_the_file_stops_growing(store: Store, tmp_path: Path) -> None:
    sizes = []
    for number in range(1, 41):
        await put_rounds(store, number)
        size = await make_room(store, COMMITTEE, Retention(rounds=10_000, bytes=10 * len(NOISE)), number)
        sizes.append(size.used + size.free)
    assert max(sizes[20:]) == max(sizes[:20])


async def test_no_limit_takes_what_the_node_needs(store: Store) -> None:
    await put_rounds(store, 1, 2, 3)
    await put_rounds(store, 4, 5, 6, certified=False)
    size = await make_room(store, COMMITTEE, Retention(rounds=2, bytes=1), 6)
    assert size.used > 1
    assert await kept(store, 6) == [3, 5, 6]
    assert len(await store.messages(COMMITTEE, 5)) == 1


async def test_rounds_of_an_earlier_committee_go_first_but_for_its_last(store: Store) -> None:
    await put_rounds(store, *range(1, 9), digest=EARLIER)
    await put_rounds(store, *range(1, 5))
    used = (await store.size()).used
    await make_room(store, COMMITTEE, Retention(rounds=10_000, bytes=used - 5 * len(NOISE)), 4)
    assert await kept(store, 4) == [1, 2, 3, 4]
    assert len(await kept(store, 8, EARLIER)) < 8
    await make_room(store, COMMITTEE, Retention(rounds=10_000, bytes=1), 4)
    assert await kept(store, 8, EARLIER) == [8]
    assert await kept(store, 4) == [3, 4]


async def test_a_limit_that_was_lowered_is_reached_over_several_rounds(store: Store) -> None:
    last = ROUNDS_PER_ROUND + 10
    await put_rounds(store, *range(1, last + 1))
    tight = Retention(rounds=10_000, bytes=1)
    await make_room(store, COMMITTEE, tight, last)
    assert len(await kept(store, last)) == 10
    await make_room(store, COMMITTEE, tight, last)
    assert len(await kept(store, last)) == 2
