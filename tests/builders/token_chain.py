"""A chain in memory with one token on it: blocks, branches, transfers, and an endpoint that may keep logs back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from adapters.abi import address_topic, event_topic
from riskschema.errors import TransientError
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Touch, Units
from riskschema.instruments import VenueId
from riskschema.portfolio import BlockReference, VenueReading
from riskschema.ports import Call, CallResult, PinnedReader
from riskschema.units import WAD, ZERO_ADDRESS, Address, Hash32
from tests.adapters.confirmed import Confirmed

CHAIN_ID = 7
TOKEN = Address("0x" + "70" * 20)
TRANSFER = event_topic("Transfer(address,address,uint256)")
REGISTRY = Address("0x" + "4e" * 20)
NAMED = event_topic("Named(address)")
START = 3
"""Blocks before hold nothing."""


def account(number: int) -> Address:
    """Return an address that sorts as its number."""
    return Address(f"0x{number:040x}")


def topic(address: Address) -> Hash32:
    """Return an address as an indexed argument."""
    return Hash32(bytes(12) + address.to_bytes())


class Block(msgspec.Struct):
    """A block, and what everybody has after it."""

    reference: BlockReference
    logs: tuple[Log, ...]
    balances: dict[Address, int]


@dataclass
class TokenChain:
    """The endpoint of a chain with one token; a `ChainReader`."""

    blocks: list[Block] = field(default_factory=list)
    silent: bool = False
    """It answers no logs at all."""
    lost: int = 0
    """It keeps back the logs from this block on (0: none)."""
    requests: int = 0
    """Log requests that it answered."""
    asked: int = 0
    """Holders whose balance was asked for."""
    branch: str = "main"

    def __post_init__(self) -> None:
        self.mine(START)

    @property
    def chain_id(self) -> int:
        return CHAIN_ID

    @property
    def tip(self) -> BlockReference:
        return self.blocks[-1].reference

    def mine(self, count: int = 1) -> None:
        """Add empty blocks."""
        for _ in range(count):
            self._add((), self.blocks[-1].balances if self.blocks else {})

    def transfer(self, *moves: tuple[Address, Address, int]) -> None:
        """Add a block with transfers; the zero address makes and burns units."""
        number, balances = len(self.blocks), dict(self.blocks[-1].balances)
        logs = []
        for at, (sender, receiver, amount) in enumerate(moves):
            for each, change in ((sender, -amount), (receiver, amount)):
                if each != ZERO_ADDRESS:
                    balances[each] = balances.get(each, 0) + change
            logs.append(Log(TOKEN, (TRANSFER, topic(sender), topic(receiver)), b"", number, at))
        self._add(tuple(logs), balances)

    def name_token(self) -> None:
        """Add a block in which the registry names the token."""
        self._add((Log(REGISTRY, (NAMED, topic(TOKEN)), b"", len(self.blocks), 0),), self.blocks[-1].balances)

    def give(self, *receivers: int, amount: int = 100) -> None:
        """Make units for some accounts, all in one block."""
        self.transfer(*((ZERO_ADDRESS, account(number), amount) for number in receivers))

    def reorganise(self, depth: int, branch: str) -> None:
        """Take the last blocks off; those that follow are another branch."""
        del self.blocks[-depth:]
        self.branch = branch

    def _add(self, logs: tuple[Log, ...], balances: dict[Address, int]) -> None:
        number = len(self.blocks)
        parent = self.blocks[-1].reference.hash if self.blocks else ""
        digest = Hash32(hashlib.sha256(f"{self.branch} {number} {parent}".encode()).digest())
        reference = BlockReference(chain_id=CHAIN_ID, number=number, hash=digest, timestamp=1_700_000_000 + 12 * number)
        placed = tuple(msgspec.structs.replace(log, block_hash=digest) for log in logs)
        self.blocks.append(Block(reference, placed, balances))

    async def head(self) -> BlockReference:
        return self.tip

    async def block(self, number: int) -> BlockReference:
        if number >= len(self.blocks):
            raise TransientError(f"no block {number}", code="block_unknown")
        return self.blocks[number].reference

    async def pin(self, block: BlockReference) -> PinnedToken:
        if block.number >= len(self.blocks) or self.blocks[block.number].reference != block:
            raise TransientError(f"no block {block.hash}", code="block_unknown")
        return PinnedToken(self, self.blocks[block.number])

    async def at(self, number: int | None = None) -> PinnedToken:
        """Pin a height; the newest if None."""
        return PinnedToken(self, self.blocks[-1 if number is None else number])


class PinnedToken(Confirmed):
    """A `PinnedReader` of the token's chain."""

    def __init__(self, chain: TokenChain, pinned: Block) -> None:
        self.chain = chain
        self.pinned = pinned

    @property
    def block(self) -> BlockReference:
        return self.pinned.reference

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        raise AssertionError("the token venue asks the chain itself")

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        return (0,) * len(accounts)

    async def logs(
        self, *, addresses: Sequence[Address], from_block: int, to_block: int | None = None, **_topics: Any
    ) -> tuple[Log, ...]:
        self.chain.requests += 1
        last = self.block.number if to_block is None else to_block
        return tuple(
            log
            for block in self.chain.blocks[from_block : last + 1]
            for log in block.logs
            if log.address in addresses and not self._kept_back(log)
        )

    def _kept_back(self, log: Log) -> bool:
        return self.chain.silent or bool(self.chain.lost and log.block_number >= self.chain.lost)


class TokenVenue:
    """The `ProtocolAdapter` of the token: one book, whose units are dollars that are owed.

    Args:
        refusing: The contract tells neither its total nor anybody's units.
        proved: It tells its total.
    """

    def __init__(self, name: str = "token", *, proved: bool = True, owed: bool = True) -> None:
        self.venue: VenueId = f"{name}:{CHAIN_ID}:main"
        self.refusing = False
        self._proved = proved
        self._owed = owed

    def log_query(self, known: Known) -> LogQuery:
        return LogQuery((TOKEN,), ((TRANSFER,),))

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        touches = [
            Touch("units", address_topic(each), log.block_number, log.index) for log in logs for each in log.topics[1:]
        ]
        return Fold(known, touches)

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        assert isinstance(reader, PinnedToken)
        if self.refusing:
            return (Book(name="units", owed=self._owed, refusal="call_reverted"),)
        total = sum(reader.pinned.balances.values()) if self._proved else None
        return (Book(name="units", owed=self._owed, total=total, factor="DOLLAR", numerator=1),)

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        assert isinstance(reader, PinnedToken)
        reader.chain.asked += len(holders)
        if self.refusing:
            return (None,) * len(holders)
        return tuple(reader.pinned.balances.get(holder.account, 0) for holder in holders)

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
    ) -> VenueReading:
        return VenueReading(venue=self.venue, silos=(), unread=())


class NamedTokenVenue(TokenVenue):
    """The same where only a log of the registry says that there is the token."""

    def log_query(self, known: Known) -> LogQuery:
        naming = LogQuery((REGISTRY,), ((NAMED,),))
        return LogQuery((REGISTRY, *known.values()), ((NAMED, TRANSFER),), naming)

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        named = dict(known)
        named.update(("units", address_topic(log.topics[1])) for log in logs if log.address == REGISTRY)
        return Fold(named, super().fold(known, [log for log in logs if log.address == TOKEN]).touches)

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        return await super().books(reader, known) if known else ()

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        assert all(holder.book in known for holder in holders)
        return await super().holdings(reader, known, holders)


PRICES = {"DOLLAR": WAD}
