"""The index of a venue at the pinned block, as every node sees it there: brought up to it, and proved complete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from adapters.discovery import fold_logs
from node.index.backfill import Progress, catch_up, count_holders, extend, leave_branch, refusing_books
from node.index.mending import Mending
from riskschema.errors import PlimsollError, TransientError
from riskschema.holders import Book, Known, Log, LogQuery, Units
from riskschema.instruments import VenueId
from riskschema.ports import ChainReader, PinnedReader, ProtocolAdapter
from riskschema.units import Address
from storage.holder_index import HolderIndex

INLINE_BLOCKS = 20_000
"""An index farther behind is caught up beside the rounds, which this node abstains from meanwhile."""
INLINE_HOLDERS = 5_000
"""As many holders are asked within a round; more beside the rounds."""


_ALL = 2**62


class VenueHolders(msgspec.Struct, frozen=True, kw_only=True):
    """Who has something at a venue at the pinned block."""

    venue: VenueId
    books: tuple[Book, ...]
    units: Units
    """By book, without those who have nothing; of a book that refuses to be counted everybody, with nothing."""
    place: Callable[[Address], tuple[int, int]]
    """Block and index of the first log that names an account."""

    @property
    def told(self) -> Units:
        """What everybody has, of the books whose contracts told it: their sums equal the totals where there are any."""
        return {book.name: self.units[book.name] for book in self.books if not book.refusal}

    @property
    def unproved(self) -> tuple[str, ...]:
        """Books of which nobody can prove that they are complete, by name."""
        return tuple(book.name for book in self.books if book.amounts and book.total is None)


class VenueIndex:
    """The index of one venue and how it follows the chain.

    Args:
        adapter: Of the venue.
        index: Its opened file.
        start_block: Of the venue.
        clock: Seconds of any origin.
    """

    def __init__(
        self,
        adapter: ProtocolAdapter,
        index: HolderIndex,
        *,
        start_block: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._adapter = adapter
        self._index = index
        self._start_block = start_block
        self._behind: asyncio.Task[None] | None = None
        self._refused = 0  # holders of whom their contracts told nothing when all were asked last
        self._progress = Progress(block=start_block, target=start_block, logs=0)
        self._mending = Mending(adapter, index, start_block=start_block, clock=clock)

    @property
    def venue(self) -> VenueId:
        """Whose index this is."""
        return self._adapter.venue

    async def holders(self, chain: ChainReader, reader: PinnedReader) -> VenueHolders:
        """Bring the index to the pinned block; return who has something there.

        Raises:
            TransientError: (``index_behind``) it is too far behind and caught up meanwhile; (``holders_incomplete``)
                somebody is missing, and what may be wrong is read anew (see `Mending`); or the endpoint failed.
        """
        await self._meanwhile()
        await leave_branch(self._index, chain)
        pin, tip = reader.block, self._index.tip
        first = self._start_block if tip is None else tip.number + 1
        if pin.number - first >= INLINE_BLOCKS:
            await self._catch_up(chain, reader)
        if first <= pin.number:
            await extend(self._adapter, self._index, reader, first)
        known = await self._known(reader)
        books = await self._adapter.books(reader, known)
        refusing = refusing_books(books)
        later = self._index.touched_after(pin.number)
        if not later:
            most = self._refused + INLINE_HOLDERS
            if len(self._index.uncounted(most + 1, besides=refusing)) > most:
                await self._catch_up(chain, reader)
            await count_holders(self._adapter, self._index, reader, refusing)
            self._refused = len(self._index.uncounted(_ALL, besides=refusing))
        found = VenueHolders(
            venue=self.venue, books=books, units=await self._units(reader, known, books), place=self._index.place
        )
        self._prove(found, reader, at_tip=tip is None or tip.number <= pin.number)
        return found

    async def proved(self, chain: ChainReader, tell: Callable[[str], None]) -> VenueHolders:
        """Return who has something at the newest block, however much has to be read again before.

        Args:
            chain: The chain.
            tell: Gets what is wrong, and what is done about it.

        Raises:
            TransientError: the endpoint failed, or nothing that can be done helps.
        """
        while True:
            try:
                return await self.holders(chain, await chain.pin(await chain.head()))
            except TransientError as error:
                in_vain = error.code == "holders_incomplete" and self._mending.pause > 0
                if error.code not in {"index_behind", "holders_incomplete"} or in_vain:
                    raise
                tell(error.message)
            if self._behind is not None:
                await asyncio.wait([self._behind])

    async def close(self) -> None:
        """Stop what runs beside the rounds; what it finished stays."""
        if self._behind is not None:
            self._behind.cancel()
            with suppress(asyncio.CancelledError, PlimsollError):
                await self._behind

    async def _meanwhile(self) -> None:
        """Abstain while the index is caught up; tell once why that failed, the next round begins it again."""
        if self._behind is None:
            return
        if not self._behind.done():
            raise TransientError(f"{self.venue}: the index is {self._progress}", code="index_behind")
        ended, self._behind = self._behind, None
        await ended

    async def _catch_up(self, chain: ChainReader, reader: PinnedReader) -> None:
        async def work() -> None:
            await catch_up(self._adapter, self._index, chain, reader, start_block=self._start_block, watch=self._watch)
            self._refused = len(self._index.uncounted(_ALL))  # all were asked just now

        self._behind = asyncio.create_task(work())
        await self._meanwhile()

    def _watch(self, progress: Progress) -> None:
        self._progress = progress

    async def _units(self, reader: PinnedReader, known: Known, books: Sequence[Book]) -> Units:
        """Return what all have at the pin; where the index is beyond it, who was touched since is asked at the pin."""
        units = {book.name: dict(self._index.units.get(book.name, {})) for book in books}
        later = self._index.touched_after(reader.block.number)
        uncounted = self._index.uncounted(INLINE_HOLDERS, besides=refusing_books(books)) if later else ()
        asked = dict.fromkeys((*later, *uncounted))
        again = tuple(holder for holder in asked if holder.book in units)  # others are of books begun after the pin
        told = await self._adapter.holdings(reader, known, again)
        for holder, held in zip(again, told, strict=True):
            units[holder.book].pop(holder.account, None)
            if held:
                units[holder.book][holder.account] = held
        for book in books:
            if book.refusal:  # unknown, for all nodes alike: what was told before is no fact of this block
                units[book.name] = dict.fromkeys(self._index.accounts(book.name, up_to=reader.block.number), 0)
        return units

    async def _known(self, reader: PinnedReader) -> Known:
        """Return what the logs up to the pin said: the index keeps only what they said at the ends of ranges."""
        pin = reader.block.number
        ends = (checkpoint.number for checkpoint in self._index.checkpoints())
        last = next((number for number in ends if number <= pin), self._start_block - 1)
        known = self._index.known(at=last)
        if last == pin:
            return known

        async def read(query: LogQuery) -> Sequence[Log]:
            return await reader.logs(addresses=query.addresses, topics=query.topics, from_block=last + 1)

        return (await fold_logs(self._adapter, known, read)).known

    def _prove(self, found: VenueHolders, reader: PinnedReader, *, at_tip: bool) -> None:
        """Compare the sum of every book with its contract's total."""
        for book in found.books:
            held = sum(found.units[book.name].values())
            if book.total is None or book.total == held:
                continue
            remedy = f"; {self._mend(reader)}" if at_tip else ""
            raise TransientError(
                f"{self.venue}: the holders in {book.name} have {held} together, its contract says {book.total}: "
                + ("logs are missing" if held < book.total else "the index holds what is not so")
                + remedy,
                code="holders_incomplete",
            )
        if at_tip:
            self._index.prove()
            self._mending.healed()

    def _mend(self, reader: PinnedReader) -> str:
        """Begin what may make the index right; return what that is."""
        proved, tip = self._index.proved, self._index.tip
        if proved is None and tip is not None and tip.number - self._start_block < INLINE_BLOCKS:
            proved = -1  # so little was read that all of it can be read anew in a round
        remedy = self._mending.begin(proved)
        if self._mending.reading:
            self._progress = Progress(block=self._start_block, target=reader.block.number, logs=0, again=True)
            self._behind = asyncio.create_task(self._mending.read_again(reader, self._watch))
        return remedy
