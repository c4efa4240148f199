"""Who is assessed: asked for, then by debt; never by address."""

from __future__ import annotations

import pytest

from node.index.choosing import Chosen, choose, has_shrunken
from node.index.following import VenueHolders
from riskschema.holders import Book
from riskschema.units import WAD, Address
from tests.builders.token_chain import PRICES, account

MANY = 10_000
HONEST = [account(2**150 + number) for number in range(20)]


def venue(
    name: str = "token", *, owed: dict[Address, int] | None = None, held: dict[Address, int] | None = None
) -> VenueHolders:
    """Return a venue at which accounts were first named in the order given."""
    named = list(dict.fromkeys((*(owed or {}), *(held or {}))))
    places = {each: (number, 0) for number, each in enumerate(named)}
    return VenueHolders(
        venue=f"{name}:7:main",
        books=(
            Book(name="debt", owed=True, factor="DOLLAR", numerator=1),
            Book(name="supply", factor="DOLLAR", numerator=1, total=0),
        ),
        units={"debt": owed or {}, "supply": held or {}},
        place=places.__getitem__,
    )


def chosen(
    *venues: VenueHolders, limit: int = 100, cap: int = 100, smallest: int = 0, requested: tuple[Address, ...] = ()
) -> Chosen:
    return choose(
        venues,
        PRICES,
        requested=requested,
        caps={each.venue: cap for each in venues},
        limit=limit,
        smallest=smallest,
    )


def test_ten_thousand_dust_accounts_at_low_addresses_evict_nobody_who_owes() -> None:
    dust = {account(number): 1 for number in range(1, MANY)}
    honest = {each: 1_000 + place for place, each in enumerate(HONEST)}
    result = chosen(venue(owed=dust | honest), limit=20, cap=20)
    assert result.accounts == tuple(sorted(HONEST))
    assert (result.beyond_caps, result.small) == (MANY - 1, 0)


def test_dust_that_came_first_evicts_no_honest_lender() -> None:
    dust = {account(number): 1 for number in range(1, MANY)}
    result = chosen(venue(held=dust | dict.fromkeys(HONEST, 1_000)), limit=20)
    assert result.accounts == tuple(sorted(HONEST))


def test_below_the_smallest_size_nobody_is_assessed_unless_asked_for() -> None:
    dust = {account(number): 9 for number in range(1, 5)}
    result = chosen(venue(owed=dust | dict.fromkeys(HONEST, 10)), smallest=10, requested=(account(2), account(77)))
    assert result.accounts == (account(2), account(77), *sorted(HONEST))
    assert (result.small, result.beyond_caps) == (3, 0)


def test_what_is_small_at_every_venue_counts_together() -> None:
    one, two = venue("one", owed={account(1): 6}), venue("two", owed={account(1): 6, account(2): 6})
    result = chosen(one, two, smallest=10)
    assert (result.accounts, result.small) == ((account(1),), 1)


def test_of_equal_debts_the_one_of_the_earlier_log_counts() -> None:
    late_but_low = {account(9): 5, account(8): 5, account(1): 5}
    assert chosen(venue(owed=late_but_low), limit=2).accounts == (account(8), account(9))


def test_who_was_asked_for_comes_before_the_largest_debt() -> None:
    result = chosen(venue(owed={account(5): 10**9}), limit=1, requested=(account(3),))
    assert (result.accounts, result.beyond_caps) == ((account(3),), 1)


def test_a_venue_contributes_those_who_owe_most_there_up_to_its_cap() -> None:
    spam = venue("spam", owed={account(number): 10**6 + number for number in range(1, 50)})
    result = chosen(spam, venue("honest", owed={account(90): 1, account(91): 2}), cap=2)
    assert result.accounts == (account(48), account(49), account(90), account(91))


def test_debt_in_a_token_without_price_buys_no_place() -> None:
    junk = VenueHolders(
        venue="junk:7:main",
        books=(Book(name="debt", owed=True, factor="JUNK", numerator=1),),
        units={"debt": {account(number): 10**30 for number in range(1, 40)}},
        place=lambda _account: (0, 0),
    )
    result = chosen(junk, venue(owed=dict.fromkeys(HONEST, 1)), limit=20)
    assert result.accounts == tuple(sorted(HONEST))


def test_books_that_nobody_can_prove_complete_are_named() -> None:
    assert chosen(venue(owed={})).unproved == {"token:7:main": ("debt",)}


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [(29, 0, True), (100, 50, False), (100, 49, True), (16, 0, False), (17, 0, True), (40, 80, False)],
)
def test_a_set_that_shrinks_by_more_than_half_is_seen_unless_it_is_very_small(
    before: int, now: int, refused: bool
) -> None:
    assert has_shrunken(before, now, 500_000) is refused


def test_debt_is_weighed_at_the_agreed_price() -> None:
    books = (
        Book(name="ether", owed=True, factor="ETHER", numerator=1, denominator=10**18),
        Book(name="dollars", owed=True, factor="DOLLAR", numerator=1, denominator=10**6),
    )
    found = VenueHolders(
        venue="two:7:main",
        books=books,
        units={"ether": {account(1): 10**18}, "dollars": {account(2): 1_999 * 10**6, account(3): 2_001 * 10**6}},
        place=lambda _account: (0, 0),
    )
    prices = PRICES | {"ETHER": 2_000 * WAD}
    result = choose([found], prices, requested=(), caps={found.venue: 9}, limit=2, smallest=0)
    assert result.accounts == (account(1), account(3))
