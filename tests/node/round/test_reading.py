"""From venues to portfolios: whose accounts are read, what counts as read, and what a chain left out means."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.parallel import in_parallel
from node.index.opening import open_indexes
from node.round.reading import (
    ConfiguredVenue,
    Reading,
    configured_venues,
    indexed_venues,
    read_portfolios,
    venue_holders,
)
from node.settings import Chain
from riskschema.errors import InvalidData, TransientError
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Units
from riskschema.instruments import chain_of, protocol_of, venue_id
from riskschema.portfolio import BlockReference, NoLiquidation, Portfolio, Silo, Unread, VenueReading
from riskschema.ports import PinnedReader, ProtocolAdapter
from riskschema.units import Address, Hash32
from tests.adapters.confirmed import Confirmed
from tests.builders.token_chain import TokenChain, TokenVenue

HOME, AWAY = 1, 10


def account(number: int) -> Address:
    return Address(f"0x{number:040x}")


class Pinned(Confirmed):
    """A reader that nothing is asked of: the venues here answer by themselves."""

    def __init__(self, chain_id: int) -> None:
        self.block = BlockReference(chain_id=chain_id, number=5, hash=Hash32(bytes(32)), timestamp=1_700_000_000)


class Venue:
    """A protocol that names some accounts and reverts for some."""

    def __init__(
        self, name: str, chain_id: int, named: Sequence[int], *, reverting: Sequence[int] = (), failing: bool = False
    ) -> None:
        self.venue = venue_id(name, chain_id, "main")
        self.chain_id = chain_id
        self.named = named
        self.reverting = {account(number) for number in reverting}
        self.failing = failing

    def log_query(self, _known: Known) -> LogQuery:
        return LogQuery((account(self.chain_id),))

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        return Fold(known)

    async def books(self, _reader: PinnedReader, _known: Known) -> tuple[Book, ...]:
        return (Book(name="all"),)

    async def holdings(self, _reader: PinnedReader, _known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        return (1,) * len(holders)

    async def read(
        self, _reader: PinnedReader, accounts: Sequence[Address], _indexed: Units | None = None
    ) -> VenueReading:
        if self.failing:
            raise TransientError("no answer", code="endpoint_unreachable")
        read = [each for each in accounts if each not in self.reverting]
        return VenueReading(
            venue=self.venue,
            silos=tuple(self.silo(each) for each in read),
            unread=tuple(self.unread(each) for each in accounts if each in self.reverting),
        )

    def silo(self, owner: Address) -> Silo:
        return Silo(
            id=f"{self.venue}:{owner}",
            venue=self.venue,
            chain_id=self.chain_id,
            market="",
            account=owner,
            health=None,
            rule=NoLiquidation(),
            positions=(),
        )

    def unread(self, owner: Address) -> Unread:
        return Unread(
            chain_id=self.chain_id, venue=self.venue, market="", account=owner, code="call_reverted", detail="paused"
        )

    def configured(self) -> ConfiguredVenue:
        return ConfiguredVenue(chain_id=self.chain_id, start_block=3, adapter=self)


def readers(*chains: int) -> dict[int, Any]:
    return {chain_id: Pinned(chain_id) for chain_id in chains}


async def read(venues: Sequence[Venue], accounts: Sequence[int], *, chains: Sequence[int]) -> Reading:
    return await read_portfolios(
        [venue.configured() for venue in venues], readers(*chains), [account(number) for number in accounts]
    )


async def test_a_chain_that_is_out_names_nobody_and_the_others_name_theirs(tmp_path: Path) -> None:
    chain = TokenChain()
    chain.give(1, 2)
    adapters: list[ProtocolAdapter] = [TokenVenue(), Venue("b", AWAY, [2])]
    venues = [ConfiguredVenue(chain_id=chain_of(each.venue), start_block=3, adapter=each) for each in adapters]
    async with open_indexes(tmp_path, indexed_venues(venues)) as indexes:
        assert [index.venue for index in indexes] == [each.venue for each in adapters]
        (found,) = await venue_holders(indexes, {chain.chain_id: chain}, {chain.chain_id: await chain.at()})
    assert found.venue == adapters[0].venue
    assert set(found.units["units"]) == {account(1), account(2)}


def test_a_venue_whose_logs_name_nobody_has_no_index() -> None:
    assert indexed_venues(configured({"protocol": "wallet"})) == ()


async def test_every_account_gets_a_portfolio_with_the_silos_of_all_venues() -> None:
    reading = await read([Venue("b", HOME, []), Venue("a", AWAY, [])], [2, 1], chains=[HOME, AWAY])
    assert [portfolio.subject for portfolio in reading.portfolios] == [account(2), account(1)]
    assert [protocol_of(silo.venue) for silo in reading.portfolios[0].silos] == ["a", "b"]
    assert [block.chain_id for block in reading.portfolios[0].blocks] == [HOME, AWAY]
    assert reading.coverage == (0b11, 0b11)
    assert reading.coverage_ppm == 1_000_000


async def test_a_revert_clears_the_bit_of_its_venue_and_account_alone() -> None:
    reading = await read([Venue("a", HOME, []), Venue("b", HOME, [], reverting=[2])], [1, 2], chains=[HOME])
    assert reading.coverage == (0b11, 0b01)
    assert reading.coverage_ppm == 750_000
    assert [protocol_of(item.venue) for item in reading.portfolios[1].unread] == ["b"]
    assert reading.portfolios[0].unread == ()


async def test_a_venue_whose_chain_is_out_is_unread_for_everyone() -> None:
    reading = await read([Venue("a", HOME, []), Venue("b", AWAY, [])], [1, 2], chains=[HOME])
    assert reading.coverage == (0b01, 0b01)
    assert {item.code for portfolio in reading.portfolios for item in portfolio.unread} == {"chain_out"}


async def test_no_accounts_and_half_of_the_venues_out_is_half_the_coverage() -> None:
    assert (await read([Venue("a", HOME, []), Venue("b", AWAY, [])], [], chains=[HOME])).coverage_ppm == 500_000
    assert (await read([Venue("a", HOME, [])], [], chains=[HOME])).coverage_ppm == 1_000_000


async def test_when_one_venue_fails_nothing_goes_on_reading_beside_the_next_round() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    class Slow(Venue):
        async def read(
            self, _reader: PinnedReader, accounts: Sequence[Address], _indexed: Units | None = None
        ) -> VenueReading:
            begun.set()
            try:
                await asyncio.sleep(3_600)
            finally:
                ended.set()
            raise AssertionError

    with pytest.raises(TransientError):
        await read([Slow("slow", HOME, []), Venue("b", HOME, [], failing=True)], [1], chains=[HOME])
    assert begun.is_set() == ended.is_set()


async def test_a_bug_does_not_hide_behind_a_failure() -> None:
    async def fail(error: Exception) -> None:
        raise error

    with pytest.raises(ZeroDivisionError):
        await in_parallel([fail(TransientError("no answer", code="deadline")), fail(ZeroDivisionError())])


async def test_a_failing_endpoint_is_no_fact_and_ends_the_reading() -> None:
    with pytest.raises(TransientError, match="no answer"):
        await read([Venue("a", HOME, []), Venue("b", HOME, [], failing=True)], [1], chains=[HOME])


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"protocol": "aave_v4"}, "unknown protocol 'aave_v4'"),
        ({"addresses_provider": str(account(1))}, "protocol is missing"),
        ({"protocol": "aave_v3"}, "addresses_provider"),
        ({"protocol": "aave_v3", "addresses_provider": str(account(1)), "pool": "x"}, "pool"),
        ({"protocol": "aave_v3", "addresses_provider": "0x12"}, "addresses_provider"),
        ({"protocol": "aave_v3", "addresses_provider": str(account(1)), "start_block": -1}, "start_block"),
        ({"protocol": "aave_v3", "addresses_provider": str(account(1)), "start_block": True}, "start_block"),
    ],
)
def test_a_wrong_venue_table_is_named_with_its_field(table: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidData) as refusal:
        configured_venues(Chain(chain_id=7, rpc_url="http://localhost", venues=({"protocol": "wallet"}, table)))
    assert "chain 7: venues[1]" in refusal.value.message
    assert named in refusal.value.message


def configured(*tables: dict[str, Any]) -> tuple[ConfiguredVenue, ...]:
    return configured_venues(Chain(chain_id=7, rpc_url="http://localhost", venues=tables))


def test_two_pools_of_one_protocol_on_one_chain_are_two_venues() -> None:
    tables = (
        {"protocol": "aave_v3", "addresses_provider": str(account(1)), "start_block": 9},
        {"protocol": "aave_v3", "addresses_provider": str(account(2))},
    )
    found = [(each.venue, each.start_block) for each in configured(*tables)]
    assert found == [(f"aave_v3:7:{account(1)}", 9), (f"aave_v3:7:{account(2)}", 0)]


@pytest.mark.parametrize(
    "twice",
    [
        ({"protocol": "wallet"}, {"protocol": "wallet", "native_symbol": "xDAI"}),
        (
            {"protocol": "aave_v3", "addresses_provider": "0x" + "aB" * 20},
            {"protocol": "aave_v3", "addresses_provider": "0x" + "ab" * 20, "start_block": 5},
        ),
        tuple(
            {"protocol": "morpho_blue", "singleton": str(account(1)), "markets": ["0x" + digits * 32]}
            for digits in ("01", "02")
        ),
    ],
)
def test_one_venue_read_twice_is_refused_since_everything_would_count_twice(twice: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(InvalidData, match=r"chain 7: venues\[0\] and venues\[1\] both read .* into one table"):
        configured(*twice)


@pytest.mark.parametrize(("read", "share"), [(0, 0), (1, 333_333), (2, 666_666), (3, 1_000_000)])
def test_coverage_is_rounded_down_so_that_something_unread_never_reads_as_everything(read: int, share: int) -> None:
    portfolios = tuple(Portfolio(subject=account(number), silos=()) for number in range(3))
    coverage = tuple(int(number < read) for number in range(3))
    assert Reading(portfolios=portfolios, coverage=coverage, venues=1, readable=1).coverage_ppm == share
