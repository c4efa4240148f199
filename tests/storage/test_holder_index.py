"""The index file: whole ranges or nothing, taken back to a checkpoint, the same after a crash anywhere."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from riskschema.errors import FatalError, TransientError
from riskschema.holders import Holder, Touch
from riskschema.units import Address, Hash32
from storage.holder_index import (
    CHECKPOINT_BLOCKS,
    KEPT_CHECKPOINTS,
    Checkpoint,
    HolderIndex,
    open_holder_index,
    read_index_facts,
)
from tests.builders.token_chain import account

VENUE = "token:7:main"
TOKEN = Address("0x" + "70" * 20)


@contextmanager
def opened(path: Path, *, venue: str = VENUE, start_block: int = 0) -> Iterator[HolderIndex]:
    with open_holder_index(path / "index.sqlite", venue=venue, start_block=start_block) as index:
        yield index


def checkpoint(number: int) -> Checkpoint:
    return Checkpoint(number, Hash32(number.to_bytes(32, "big")))


def touch(number: int, who: int, *, book: str = "units", place: int = 0) -> Touch:
    return Touch(book, account(who), number, place)


def fill(index: HolderIndex) -> None:
    """Two ranges: accounts 1 and 2 up to block 10, accounts 2 and 3 up to block 20."""
    index.append(checkpoint(10), {"token": TOKEN}, [touch(5, 1), touch(6, 2, place=3)])
    index.append(checkpoint(20), {"token": TOKEN, "more": TOKEN}, [touch(15, 2), touch(15, 3, place=1)])
    index.count((holder, int(holder.account, 16) * 100) for holder in index.uncounted(9))


def content(index: HolderIndex) -> tuple[object, ...]:
    return (
        index.tip,
        index.known(),
        {book: dict(held) for book, held in index.units.items()},
        index.uncounted(99),
        index.digests(0, 10**9),
        list(index.checkpoints()),
    )


def test_what_was_put_in_is_there_after_opening_it_again(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        assert (index.tip, index.known(), index.uncounted(9)) == (None, {}, ())
        fill(index)
        before = content(index)
    with opened(tmp_path) as index:
        assert content(index) == before
        assert index.units == {"units": {account(1): 100, account(2): 200, account(3): 300}}
        assert [index.place(account(each)) for each in (1, 2, 3)] == [(5, 0), (6, 3), (15, 1)]
        assert (index.known(at=19), index.known(at=9)) == ({"token": TOKEN}, {})
        facts = read_index_facts(tmp_path / "index.sqlite")
        assert (facts.venue, facts.block, facts.proved) == (VENUE, 20, None)
        size = facts.size
        assert (size.logs, size.accounts, size.holders, size.uncounted) == (4, 3, 3, 0)


def test_a_touched_holder_has_no_units_until_it_is_counted_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        fill(index)
        index.append(checkpoint(30), index.known(), [touch(25, 1)])
        assert index.uncounted(9) == (Holder("units", account(1)),)
        assert account(1) not in index.units["units"]
        index.count([(Holder("units", account(1)), 0)])
        assert index.uncounted(9) == ()
        assert account(1) not in index.units["units"]


def test_what_is_taken_back_is_as_if_it_had_never_been_and_whom_it_touched_is_counted_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        fill(index)
        index.roll_back(10)
        assert index.tip == checkpoint(10)
        assert index.known() == {"token": TOKEN}
        assert index.uncounted(9) == (Holder("units", account(2)),)
        assert index.units == {"units": {account(1): 100}}
        assert index.touched_after(5) == (Holder("units", account(2)),)
        index.roll_back(-1)
        assert index.tip is None
        assert (index.known(), index.uncounted(9)) == ({}, ())


def test_uncounted_holders_come_in_pages(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        touches = [touch(1, who, book=book, place=who) for who in range(7) for book in ("a", "b")]
        index.append(checkpoint(1), {}, touches)
        pages: list[Holder] = []
        last = None
        while page := index.uncounted(3, after=last):
            pages += page
            last = page[-1]
        assert pages == [Holder(book, account(who)) for book in ("a", "b") for who in range(7)]


def test_units_may_be_as_large_as_a_word(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        index.append(checkpoint(1), {}, [touch(1, 1)])
        index.count([(Holder("units", account(1)), 2**256 - 1)])
    with opened(tmp_path) as index:
        assert index.units["units"][account(1)] == 2**256 - 1


def test_old_checkpoints_are_thinned_out_and_the_newest_stay(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        for number in range(1, 3 * KEPT_CHECKPOINTS):
            index.append(checkpoint(number * 100), {}, [])
        kept = [each.number for each in index.checkpoints()]
        newest = 100 * (3 * KEPT_CHECKPOINTS - 1)
        assert kept[:KEPT_CHECKPOINTS] == list(range(newest, newest - 100 * KEPT_CHECKPOINTS, -100))
        assert kept[KEPT_CHECKPOINTS:] == [
            start + CHECKPOINT_BLOCKS - 100 for start in range(40_000, -1, -CHECKPOINT_BLOCKS)
        ]


def test_the_proof_is_kept_while_its_checkpoint_is(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        fill(index)
        assert index.proved is None
        index.prove()
        assert index.proved == 20
    with opened(tmp_path) as index:
        assert index.proved == 20
        index.roll_back(10)
        assert index.proved is None


@pytest.mark.parametrize(
    ("venue", "start_block", "named"), [("token:8:main", 0, "venue"), (VENUE, 5, "start_block 0 for 5")]
)
def test_the_index_of_another_venue_is_refused(tmp_path: Path, venue: str, start_block: int, named: str) -> None:
    with opened(tmp_path) as index:
        fill(index)
    with pytest.raises(FatalError, match=named), opened(tmp_path, venue=venue, start_block=start_block):
        pass


def test_only_one_process_writes_an_index_and_another_may_look(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        fill(index)
        with pytest.raises(FatalError, match="another process writes it"), opened(tmp_path):
            pass
        assert read_index_facts(tmp_path / "index.sqlite").size.holders == 3


def test_everybody_is_counted_anew_in_an_index_of_somebody_else(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        fill(index)
        index.prove()
        index.forget_units()
        assert (index.proved, len(index.uncounted(9)), dict(index.units["units"])) == (None, 3, {})


def test_a_file_that_is_no_index_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"no database" * 1_000)
    with pytest.raises(FatalError, match="plimsoll index backfill makes it anew"), opened(tmp_path):
        pass


def test_a_failed_write_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as index:
        fill(index)
        before = content(index)
        for refused, touches in (
            (20, [touch(12, 9, book="new")]),  # the range lies in the index already
            (30, [touch(25, 9, place=2**64)]),
            (30, [touch(25, 9, book=str(number), place=number) for number in range(2**16)]),
        ):
            with pytest.raises(TransientError, match="does not fit what is there") as unfit:
                index.append(checkpoint(refused), {}, touches)
            assert unfit.value.code == "index_unusable"
            assert content(index) == before


WRITER = """
import sys
from pathlib import Path
from tests.storage.test_holder_index import checkpoint, opened, touch
with opened(Path(sys.argv[1])) as index:
    first = 1 if index.tip is None else index.tip.number + 1
    print("open", flush=True)
    for number in range(first, 10**9):
        index.append(checkpoint(number), {}, [touch(number, who, place=who) for who in range(number % 50)])
        index.count((holder, number) for holder in index.uncounted(20))
"""


def test_a_process_that_is_killed_anywhere_leaves_whole_ranges(tmp_path: Path) -> None:
    choose = random.Random(3)
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(choose.uniform(0.05, 0.4))
            process.send_signal(signal.SIGKILL)
        with opened(tmp_path) as index:
            assert index.tip is not None
            expected = {number * 2**24 + who for number in range(1, index.tip.number + 1) for who in range(number % 50)}
            assert index.digests(0, 10**9).keys() == expected
            assert read_index_facts(tmp_path / "index.sqlite").size.holders == max(
                number % 50 for number in range(1, index.tip.number + 1)
            )
