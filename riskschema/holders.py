"""Who holds or owes something at a venue: named by its event logs, counted by its contracts.

The logs say *who* (a fold, pure), the contracts say *how much* at a block: so no release of a protocol whose events
round in another way can make the index wrong, and the sum over all holders can be held against the contract's total.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from riskschema.units import WAD, Address, Hash32

Known = Mapping[str, Address]
"""What logs said so far about where further logs come from and whom they concern, by a name of the adapter's."""


PLACES = 1 << 24
"""More logs than a block can hold."""


class Log(msgspec.Struct, frozen=True, gc=False):
    """An event log."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes
    block_number: int
    index: int = 0
    """Its place among the logs of the block."""
    block_hash: Hash32 = Hash32(bytes(32))

    @property
    def place(self) -> tuple[int, int]:
        """Block number and index: the order of the chain."""
        return self.block_number, self.index


class LogQuery(msgspec.Struct, frozen=True):
    """Which logs: emitting contracts, and per topic position the accepted values (empty: any)."""

    addresses: tuple[Address, ...]
    topics: tuple[tuple[Hash32, ...], ...] = ()
    naming: LogQuery | None = None
    """Those of these logs that may change what is known, few in all of the history; None: none may."""


class Holder(msgspec.Struct, frozen=True, order=True):
    """An account in a book: a list of holders that one contract keeps, such as those of one token."""

    book: str
    account: Address


class Touch(msgspec.Struct, frozen=True, gc=False):
    """A log after which what a holder has in a book may be another."""

    book: str
    account: Address
    block_number: int
    index: int

    @property
    def holder(self) -> Holder:
        """Whose."""
        return Holder(self.book, self.account)


Units = Mapping[str, Mapping[Address, int]]
"""What each holder has, by book; nobody else has anything there."""


class Fold(msgspec.Struct, frozen=True):
    """What logs say, in their order."""

    known: Known
    touches: Sequence[Touch] = ()


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """A book as the contracts keep it at a block."""

    name: str
    owed: bool = False
    """True: its units are debt."""
    amounts: bool = True
    """False: its units are no amounts but settings of an account, such as a bitmap; nobody has anything there."""
    total: int | None = None
    """Units of all holders together, as the contract tells them; None: it tells none, or refuses."""
    refusal: str = ""
    """Why the contract does not tell its total although such contracts do: a key of `REASONS`."""
    factor: str = ""
    """Which factor the units' worth follows; empty: their worth is unknown."""
    numerator: int = 0
    """A unit is worth numerator / denominator whole tokens."""
    denominator: int = 1

    def tokens(self, units: int) -> int:
        """Return what units are worth, in 10^-18 of a whole token of the factor, rounded down."""
        return units * self.numerator * WAD // self.denominator
