"""Whom to assess: those who were asked for, then those who owe most; never by address.

Addresses are free: whoever may choose them comes first in any order of them. What somebody owes at the pinned block
costs at least as much collateral, and the earliest log cannot be had afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from node.index.following import VenueHolders
from riskschema.instruments import VenueId
from riskschema.units import WAD, Address

FEW_ACCOUNTS = 16
"""So many may leave at once however few there are."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts of a round, and how many were left out."""

    accounts: tuple[Address, ...]
    """By address."""
    small: int = 0
    """Accounts that hold and owe less than the smallest size."""
    beyond_caps: int = 0
    """Accounts for which there was no room."""
    unproved: Mapping[VenueId, tuple[str, ...]] = {}
    """Books of which nobody can prove that they are complete."""


class Size(msgspec.Struct, order=True):
    """How much somebody has at the venues, for an order in which the first counts most."""

    minus_owed: int = 0
    """Minus what is owed, in 10^-18 US dollars at the agreed prices; what has no price counts nothing."""
    minus_held: int = 0
    """Minus what is held, likewise."""
    first: tuple[int, int, int] = (2**62, 0, 0)
    """Place of the venue in the committee, block and index of the first log that names the account."""

    def add(self, other: Size) -> None:
        """Add what the same account has elsewhere."""
        self.minus_owed += other.minus_owed
        self.minus_held += other.minus_held
        self.first = min(self.first, other.first)


def choose(
    venues: Sequence[VenueHolders],
    prices: Mapping[str, int],
    *,
    requested: Iterable[Address],
    caps: Mapping[VenueId, int],
    limit: int,
    smallest: int,
) -> Chosen:
    """Choose the accounts of a round: a function of the pins and the outcome alone.

    Args:
        venues: In the committee's order.
        prices: Agreed, by factor, in 10^-18 US dollars.
        requested: Accounts asked for: they come first, however little they have.
        caps: Most accounts that each venue contributes: those who owe most there.
        limit: Most accounts of all: those who owe most in all.
        smallest: Least US dollars that somebody must hold or owe in all.
    """
    there = {found.venue: _sizes(found, place, prices) for place, found in enumerate(venues)}
    total = defaultdict[Address, Size](Size)
    for sizes in there.values():
        for account, size in sizes.items():
            total[account].add(size)
    large = {each for each, size in total.items() if max(-size.minus_owed, -size.minus_held) >= smallest * WAD}
    named = set[Address]()
    for venue, sizes in there.items():
        known = sorted(large & sizes.keys(), key=lambda account: (sizes[account], account))
        named.update(known[: caps[venue]])
    first = sorted(set(requested))[:limit]
    others = sorted(named.difference(first), key=lambda account: (total[account], account))[: limit - len(first)]
    accounts = {*first, *others}
    return Chosen(
        accounts=tuple(sorted(accounts)),
        small=len(total.keys() - large - accounts),
        beyond_caps=len(large - accounts),
        unproved={found.venue: found.unproved for found in venues if found.unproved},
    )


def has_shrunken(before: int, now: int, max_shrink_ppm: int) -> bool:
    """Tell whether more accounts left at once than a committee lets pass unseen."""
    return before - now > max(FEW_ACCOUNTS, before * max_shrink_ppm // 1_000_000)


def _sizes(found: VenueHolders, place: int, prices: Mapping[str, int]) -> dict[Address, Size]:
    """Return what everybody has at one venue."""
    sizes: dict[Address, Size] = {}
    for book in found.books:
        if not book.amounts:
            continue
        price = prices.get(book.factor, 0)
        for account, units in found.units[book.name].items():
            size = sizes.get(account)
            if size is None:
                size = sizes[account] = Size(first=(place, *found.place(account)))
            worth = book.tokens(units) * price // WAD
            if book.owed:
                size.minus_owed -= worth
            else:
                size.minus_held -= worth
    return sizes
