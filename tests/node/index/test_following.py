"""The index at the pinned block: one request a round, the same whatever happened before, complete or no answer."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

import node.index.backfill
import node.index.following
import node.index.mending
from node.index.backfill import catch_up, silent
from node.index.following import VenueHolders, VenueIndex
from node.index.mending import Mending
from riskschema.errors import TransientError
from riskschema.holders import Book, Holder, Known, Log
from riskschema.ports import PinnedReader
from riskschema.units import ZERO_ADDRESS, Address
from storage.holder_index import Checkpoint, HolderIndex, open_holder_index
from tests.builders.token_chain import START, NamedTokenVenue, PinnedToken, TokenChain, TokenVenue, account
from tests.patience import eventually


@contextmanager
def index_file(path: Path) -> Iterator[HolderIndex]:
    with open_holder_index(path / "index.sqlite", venue="token:7:main", start_block=START) as index:
        yield index


@asynccontextmanager
async def following(path: Path, venue: TokenVenue | None = None) -> AsyncIterator[VenueIndex]:
    with index_file(path) as index:
        opened = VenueIndex(venue or TokenVenue(), index, start_block=START)
        try:
            yield opened
        finally:
            await opened.close()


async def found(index: VenueIndex, chain: TokenChain, reader: PinnedToken | None = None) -> dict[Address, int]:
    return units(await index.holders(chain, reader or await chain.at()))


def units(holders: VenueHolders) -> dict[Address, int]:
    return dict(holders.units["units"])


def truth(reader: PinnedToken) -> dict[Address, int]:
    return {each: held for each, held in reader.pinned.balances.items() if held}


async def test_who_holds_something_is_found_with_one_request_of_logs_a_round(tmp_path: Path) -> None:
    chain = TokenChain()
    async with following(tmp_path) as index:
        for round_number in range(5):
            chain.give(1, 2, round_number)
            chain.transfer((account(1), account(50 + round_number), 10))
            before = chain.requests, chain.asked
            assert await found(index, chain) == truth(await chain.at())
            assert chain.requests - before[0] == 1
            assert chain.asked - before[1] <= 5  # those touched, and the zero address
        before = chain.requests, chain.asked
        await found(index, chain)
        assert (chain.requests, chain.asked) == before


async def test_who_gave_everything_away_is_gone_and_the_zero_address_counts_where_it_has_something(
    tmp_path: Path,
) -> None:
    chain = TokenChain()
    chain.give(1, 2)
    chain.transfer((account(1), account(2), 100))
    async with following(tmp_path) as index:
        assert await found(index, chain) == {account(2): 200}


async def test_a_reorganisation_takes_back_what_is_on_no_chain_any_more(tmp_path: Path) -> None:
    chain = TokenChain()
    async with following(tmp_path) as index:
        for number in range(1, 60):
            chain.give(number)
            if number % 3 == 0:
                await found(index, chain)
        await found(index, chain)
        chain.reorganise(30, "other")
        for number in range(100, 140):
            chain.give(number, amount=7)
        assert await found(index, chain) == truth(await chain.at())
        assert account(59) not in await found(index, chain)


async def test_another_chain_of_the_same_name_begins_anew(tmp_path: Path) -> None:
    chain, other = TokenChain(), TokenChain(branch="other")
    chain.give(1, 2, 3)
    other.mine(40)
    other.give(9)
    async with following(tmp_path) as index:
        await found(index, chain)
        assert await found(index, other) == {account(9): 100}


async def test_the_holders_are_a_function_of_the_pin_whatever_the_index_saw_before(tmp_path: Path) -> None:
    chain, choose = TokenChain(), random.Random(5)
    for _ in range(80):
        held = [each for each, amount in chain.blocks[-1].balances.items() if amount > 10]
        if held and choose.random() < 0.6:
            chain.transfer((choose.choice(held), account(choose.randrange(1, 30)), choose.randrange(1, 11)))
        else:
            chain.give(choose.randrange(1, 30))
    async with following(tmp_path / "wandering") as index:
        for number in [*choose.choices(range(START, len(chain.blocks)), k=40), len(chain.blocks) - 1, START]:
            reader = await chain.at(number)
            seen = await index.holders(chain, reader)
            assert units(seen) == truth(reader)
            async with following(tmp_path / f"fresh-{number}-{choose.random()}") as fresh:
                again = await fresh.holders(chain, reader)
                assert units(again) == units(seen)
                assert all(again.place(each) == seen.place(each) for each in units(seen))


async def test_contracts_that_logs_named_are_known_from_then_on_whatever_the_index_saw_before(tmp_path: Path) -> None:
    chain = TokenChain()
    chain.mine(4)
    chain.name_token()
    chain.give(1, 2)
    chain.mine(4)
    chain.transfer((account(1), account(2), 30))
    named = next(number for number, block in enumerate(chain.blocks) if block.logs)
    async with following(tmp_path / "later", NamedTokenVenue()) as index:
        for number in (len(chain.blocks) - 1, *range(START, len(chain.blocks))):
            reader = await chain.at(number)
            async with following(tmp_path / f"fresh-{number}", NamedTokenVenue()) as fresh:
                for each in (index, fresh):
                    seen = await each.holders(chain, reader)
                    assert [book.name for book in seen.books] == ["units"] * (number >= named)
                    assert seen.units == {book.name: truth(reader) for book in seen.books}


async def test_an_index_beyond_the_pin_proves_nothing_about_what_lies_between(tmp_path: Path) -> None:
    chain = TokenChain()
    chain.give(1)
    with index_file(tmp_path) as file:
        index = VenueIndex(TokenVenue(), file, start_block=START)
        pin = await chain.at()
        await index.holders(chain, pin)
        chain.lost = len(chain.blocks)
        chain.give(2)
        with pytest.raises(TransientError, match="logs are missing"):
            await index.holders(chain, await chain.at())
        assert file.proved == pin.block.number
        chain.mine()
        later = await chain.at()
        file.append(Checkpoint(later.block.number, later.block.hash), {}, [])
        await index.holders(chain, pin)
        assert file.proved == pin.block.number


async def test_however_many_a_contract_refuses_to_count_they_are_named_in_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.index.following, "INLINE_HOLDERS", 3)
    chain, venue = TokenChain(), TokenVenue()
    venue.refusing = True
    chain.give(*range(1, 9))
    async with following(tmp_path, venue) as index:
        for _ in range(3):
            assert len(await found(index, chain)) == 9
            chain.mine()
    assert chain.asked == 0


async def test_an_endpoint_that_answers_no_logs_makes_the_node_abstain_and_a_good_one_goes_on(tmp_path: Path) -> None:
    chain = TokenChain()
    chain.give(1, 2, 3)
    async with following(tmp_path) as index:
        await found(index, chain)
        chain.silent = True
        chain.give(4)
        for _ in range(2):
            with pytest.raises(TransientError, match="logs are missing") as refused:
                await found(index, chain)
            assert refused.value.code == "holders_incomplete"
        chain.silent = False
        assert await found(index, chain) == truth(await chain.at())


async def test_an_endpoint_that_never_answers_logs_never_gives_an_empty_set(tmp_path: Path) -> None:
    chain = TokenChain(silent=True)
    chain.give(*range(1, 30))
    async with following(tmp_path) as index:
        with pytest.raises(TransientError, match="units have 0 together, its contract says 2900"):
            await found(index, chain)
        chain.silent = False
        assert await found(index, chain) == truth(await chain.at())


async def test_logs_that_an_endpoint_keeps_back_are_missed_at_the_next_change_and_read_anew(tmp_path: Path) -> None:
    chain = TokenChain()
    chain.give(1)
    async with following(tmp_path) as index:
        await found(index, chain)
        chain.lost = len(chain.blocks)
        chain.transfer((account(1), account(2), 40))
        chain.give(3)
        with pytest.raises(TransientError, match="logs are missing"):
            await found(index, chain)
        chain.lost = 0
        assert await found(index, chain) == {account(1): 60, account(2): 40, account(3): 100}


async def test_where_the_contract_tells_no_total_completeness_is_unproved(tmp_path: Path) -> None:
    chain = TokenChain()
    chain.give(1)
    async with following(tmp_path, TokenVenue(proved=False)) as index:
        holders = await index.holders(chain, await chain.at())
    assert (units(holders), holders.unproved) == ({account(1): 100}, ("units",))


async def test_of_a_contract_that_refuses_everybody_is_named_and_nobodys_units_are_kept(tmp_path: Path) -> None:
    chain, venue = TokenChain(), TokenVenue()
    chain.give(1, 2)
    for seen_before in (True, False):
        venue.refusing = not seen_before
        async with following(tmp_path / str(seen_before), venue) as index:
            if seen_before:
                await found(index, chain)
                venue.refusing = True
            holders = await index.holders(chain, await chain.at())
            assert (units(holders), holders.unproved) == (
                dict.fromkeys((ZERO_ADDRESS, account(1), account(2)), 0),
                ("units",),
            )
            venue.refusing = False
            assert await found(index, chain) == {account(1): 100, account(2): 100}


async def test_a_node_far_behind_abstains_while_its_index_is_caught_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.index.following, "INLINE_BLOCKS", 50)
    monkeypatch.setattr(node.index.backfill, "FIRST_SPAN", 8)
    monkeypatch.setattr(node.index.backfill, "FEW_LOGS", 0)
    chain = TokenChain()
    for number in range(1, 200):
        chain.give(number)
    async with following(tmp_path) as index:
        reader = await chain.at()
        with pytest.raises(TransientError, match="the index is at block") as behind:
            await index.holders(chain, reader)
        assert behind.value.code == "index_behind"

        async def caught_up() -> VenueHolders | None:
            try:
                return await index.holders(chain, reader)
            except TransientError:
                return None

        holders = await eventually(caught_up)
        assert holders is not None
        assert units(holders) == truth(reader)


async def test_a_failure_while_catching_up_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.index.following, "INLINE_BLOCKS", 5)
    chain = TokenChain()
    chain.mine(20)
    chain.give(1)
    reader = await chain.at()

    class Gone(PinnedToken):
        async def logs(self, **_query: Any) -> tuple[Log, ...]:
            raise TransientError("gone", code="endpoint_unreachable")

    gone = Gone(chain, reader.pinned)
    async with following(tmp_path) as index:
        told = set()

        async def both_were_told() -> bool:
            with pytest.raises(TransientError) as refused:
                await index.holders(chain, gone)
            told.add(refused.value.code)
            return told == {"index_behind", "endpoint_unreachable"}

        assert await eventually(both_were_told)

        async def recovered() -> dict[Address, int] | None:
            try:
                return await found(index, chain, reader)
            except TransientError:
                return None

        assert await eventually(recovered) == {account(1): 100}


class Stubborn(TokenVenue):
    """A contract that tells what some accounts have, and its total of theirs, and refuses to tell about the others."""

    def __init__(self, refused: int) -> None:
        super().__init__()
        self._silent = {account(number) for number in range(1, refused + 1)}

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        told = await super().holdings(reader, known, holders)
        pairs = zip(holders, told, strict=True)
        return tuple(None if holder.account in self._silent else units for holder, units in pairs)

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        assert isinstance(reader, PinnedToken)
        held = sum(units for each, units in reader.pinned.balances.items() if each not in self._silent)
        return tuple(msgspec.structs.replace(book, total=held) for book in await super().books(reader, known))


async def test_however_many_are_refused_one_by_one_the_index_is_not_taken_for_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.index.following, "INLINE_HOLDERS", 3)
    chain = TokenChain()
    chain.give(*range(1, 12))
    async with following(tmp_path, Stubborn(refused=8)) as index:

        async def told() -> dict[Address, int] | None:
            with suppress(TransientError):
                return await found(index, chain)
            return None

        assert await eventually(told) == {account(number): 100 for number in (9, 10, 11)}
        chain.mine()
        assert await found(index, chain) == {account(number): 100 for number in (9, 10, 11)}


async def healed(index: VenueIndex, chain: TokenChain) -> dict[Address, int]:
    """Return who has something once the index says it, round after round."""

    async def told() -> dict[Address, int] | None:
        with suppress(TransientError):
            return await found(index, chain)
        return None

    holders = await eventually(told)
    assert holders is not None
    return holders


async def test_a_long_history_that_was_lied_about_and_never_proved_is_read_again_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.index.following, "INLINE_BLOCKS", 5)
    monkeypatch.setattr(node.index.backfill, "FIRST_SPAN", 8)
    monkeypatch.setattr(node.index.backfill, "FEW_LOGS", 0)
    chain = TokenChain()
    chain.give(1)
    chain.mine(20)
    chain.lost = len(chain.blocks)
    for number in range(2, 40):
        chain.give(number)
    with index_file(tmp_path) as file:
        await catch_up(TokenVenue(), file, chain, await chain.at(), start_block=START)
        index = VenueIndex(TokenVenue(), file, start_block=START)
        with pytest.raises(TransientError, match="everybody is counted anew") as refused:
            await found(index, chain)
        assert refused.value.code == "holders_incomplete"
        chain.lost = 0
        assert await healed(index, chain) == truth(await chain.at())
        assert file.proved == chain.tip.number
        await index.close()


@pytest.mark.parametrize("receiver", [2, 5])
async def test_a_log_kept_back_before_a_proof_that_it_did_not_spoil_is_found_when_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: int
) -> None:
    monkeypatch.setattr(node.index.following, "INLINE_BLOCKS", 5)
    chain = TokenChain()
    chain.give(1, 2)
    chain.mine(20)
    async with following(tmp_path) as index:
        await healed(index, chain)
        chain.lost = len(chain.blocks)
        chain.transfer((account(1), account(receiver), 40))
        assert await found(index, chain) == {account(1): 100, account(2): 100}  # the sum is right
        chain.lost = 0
        chain.transfer((account(1), account(6), 10))
        with pytest.raises(TransientError, match="logs are missing"):
            await found(index, chain)
        assert await healed(index, chain) == truth(await chain.at())


async def test_where_reading_all_again_does_not_help_it_is_not_repeated_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.index.following, "INLINE_BLOCKS", 5)
    monkeypatch.setattr(node.index.backfill, "FIRST_SPAN", 8)
    monkeypatch.setattr(node.index.backfill, "FEW_LOGS", 0)
    chain, now = TokenChain(), [0.0]
    chain.mine(60)
    chain.lost = len(chain.blocks)
    chain.give(1)
    chain.mine(60)
    with index_file(tmp_path) as file:
        await catch_up(TokenVenue(), file, chain, await chain.at(), start_block=START)
        index = VenueIndex(TokenVenue(), file, start_block=START, clock=lambda: now[0])

        async def nothing_is_left() -> bool:
            with pytest.raises(TransientError) as refused:
                await found(index, chain)
            return "name other endpoints" in refused.value.message

        for _ in range(2):
            await eventually(nothing_is_left)
            before = chain.requests
            for _ in range(10):
                chain.mine()
                assert await nothing_is_left()
            assert chain.requests - before == 10  # the new blocks
            now[0] += 3_600
        chain.lost = 0
        assert await healed(index, chain) == truth(await chain.at())
        await index.close()


async def test_reading_again_goes_on_where_an_endpoint_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.index.mending, "FIRST_SPAN", 8)
    monkeypatch.setattr(node.index.backfill, "FIRST_SPAN", 8)
    monkeypatch.setattr(node.index.backfill, "FEW_LOGS", 0)
    chain = TokenChain()
    for number in range(1, 80):
        chain.give(number)
    reader = await chain.at()
    asked: list[int] = []

    class Failing(PinnedToken):
        async def logs(self, **query: Any) -> tuple[Log, ...]:
            asked.append(query["from_block"])
            if len(asked) == 5:
                raise TransientError("gone", code="endpoint_unreachable")
            return await super().logs(**query)

    with index_file(tmp_path) as file:
        await catch_up(TokenVenue(), file, chain, reader, start_block=START)
        mending = Mending(TokenVenue(), file, start_block=START)
        with pytest.raises(TransientError, match="gone"):
            await mending.read_again(Failing(chain, reader.pinned), silent)
        await mending.read_again(Failing(chain, reader.pinned), silent)
    assert asked[4] == asked[5]
    assert sorted(set(asked)) == [*asked[:5], *asked[6:]]
