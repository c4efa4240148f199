"""Filling an index: ranges of blocks read side by side and folded in order, then the holders' units."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from adapters.discovery import fold_logs
from riskschema.errors import TransientError
from riskschema.holders import Book, Fold, Holder, Log, LogQuery
from riskschema.ports import ChainReader, PinnedReader, ProtocolAdapter
from riskschema.units import Address
from storage.holder_index import Checkpoint, HolderIndex

PARALLEL = 4
"""Ranges that are read at once."""
FIRST_SPAN, LONGEST_SPAN = 2_000, 500_000
"""Blocks of a range: at the beginning, and at most where they hold few logs."""
FEW_LOGS, MANY_LOGS = 2_500, 10_000
"""A range of fewer logs makes the next ones twice as long, one of more half as long: memory stays bounded."""
COUNTED_AT_ONCE = 2_000


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an index is."""

    block: int
    target: int
    logs: int
    """That were read so far."""
    uncounted: bool = False
    """True: all logs are read, holders are being counted."""
    again: bool = False
    """True: logs that the index has are read again and compared."""

    def __str__(self) -> str:
        """Return it in words."""
        if self.uncounted:
            return f"at block {self.block}, counting what the holders have"
        if self.again:
            return f"read again, at block {self.block} of {self.target}"
        return f"at block {self.block} of {self.target}"


Watch = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Watch nothing."""


def next_span(span: int, blocks: int, logs: int) -> int:
    """Return how many blocks a range should have after one of `blocks` had so many logs.

    Several were begun before that one ended: each says something of ranges of its own length only.
    """
    if logs > MANY_LOGS:
        return max(1, min(span, blocks // 2))
    return max(span, min(LONGEST_SPAN, 2 * blocks)) if logs < FEW_LOGS else span


async def leave_branch(index: HolderIndex, chain: ChainReader) -> None:
    """Take back what lies on no canonical block any more: down to the newest checkpoint that does.

    Raises:
        TransientError: the endpoint failed.
    """
    for checkpoint in _sparser(index.checkpoints()):
        if await _is_canonical(chain, checkpoint):
            if checkpoint != index.tip:
                index.roll_back(checkpoint.number)
            return
    if index.tip is not None:
        index.roll_back(-1)


def _sparser(checkpoints: Iterator[Checkpoint]) -> Iterator[Checkpoint]:
    """Yield the first ones, then ever fewer: who leaves a long branch reads a little more again."""
    found = list(checkpoints)
    at, step = 0, 1
    while at < len(found):
        yield found[at]
        at, step = at + step, step + (at > 8) * step


async def _is_canonical(chain: ChainReader, checkpoint: Checkpoint) -> bool:
    try:
        return (await chain.block(checkpoint.number)).hash == checkpoint.hash
    except TransientError as error:
        if error.code == "block_unknown":  # the chain is shorter now
            return False
        raise


async def require_history(chain: ChainReader, index: HolderIndex, start_block: int) -> None:
    """Ask for the first block that the index still needs: an endpoint that has pruned it cannot fill the index.

    Raises:
        TransientError: (``history_pruned``) the endpoint does not keep it; or it failed.
    """
    tip = index.tip
    first = start_block if tip is None else tip.number
    try:
        await chain.block(first)
    except TransientError as error:
        if error.code not in {"block_unknown", "history_pruned"}:
            raise
        raise TransientError(
            f"{index.path.name} needs the logs since block {first}, which the endpoint does not keep: name one that "
            "does for the backfill, or import another operator's index",
            code="history_pruned",
        ) from error


async def extend(adapter: ProtocolAdapter, index: HolderIndex, reader: PinnedReader, first: int) -> None:
    """Add the logs from `first` up to the pinned block: one request, unless they name further contracts.

    Raises:
        TransientError: the endpoint or the disk failed; nothing was added.
    """

    async def read(query: LogQuery) -> Sequence[Log]:
        return await reader.logs(addresses=query.addresses, topics=query.topics, from_block=first)

    fold = await fold_logs(adapter, index.known(), read)
    index.append(Checkpoint(reader.block.number, reader.block.hash), fold.known, fold.touches)


def refusing_books(books: Sequence[Book]) -> frozenset[str]:
    """Return the books whose contracts refuse to tell anything: nobody in them can be counted."""
    return frozenset(book.name for book in books if book.refusal)


async def count_holders(
    adapter: ProtocolAdapter,
    index: HolderIndex,
    reader: PinnedReader,
    refusing: Collection[str],
    *,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Ask the contracts what all have whom a log touched since they were asked; who is refused stays uncounted.

    Args:
        adapter: Of the venue.
        index: Its index.
        reader: Of a block after which no log in the index touches anybody.
        refusing: Books in which nobody is asked for.
        watch: Called after each part.

    Raises:
        TransientError: the endpoint or the disk failed; what was counted stays.
    """
    last: Holder | None = None
    while holders := index.uncounted(COUNTED_AT_ONCE, after=last, besides=refusing):
        told = await adapter.holdings(reader, index.known(), holders)
        index.count((holder, units) for holder, units in zip(holders, told, strict=True) if units is not None)
        last = holders[-1]
        watch()


async def catch_up(
    adapter: ProtocolAdapter,
    index: HolderIndex,
    chain: ChainReader,
    reader: PinnedReader,
    *,
    start_block: int,
    watch: Watch = silent,
) -> None:
    """Bring an index to the pinned block however far that is; begun again after a crash it goes on where it was.

    Raises:
        TransientError: an endpoint or the disk failed; finished ranges stay.
    """
    await require_history(chain, index, start_block)
    target = reader.block.number
    tip = index.tip
    first = start_block if tip is None else tip.number + 1
    ahead = _ReadAhead(adapter, index, chain, reader, first)
    seen = 0
    try:
        while (part := await ahead.next_range()) is not None:
            last, logs, fold = part
            index.append(last, fold.known, fold.touches)
            seen += logs
            watch(Progress(block=last.number, target=target, logs=seen))
    finally:
        await ahead.close()
    counting = Progress(block=target, target=target, logs=seen, uncounted=True)
    refusing = refusing_books(await adapter.books(reader, index.known()))
    await count_holders(adapter, index, reader, refusing, watch=lambda: watch(counting))


class _Range(msgspec.Struct, frozen=True):
    """A range that is being read for the contracts known when it was begun."""

    first: int
    last: int
    asked: frozenset[Address]
    logs: asyncio.Task[tuple[Log, ...]]
    checkpoint: asyncio.Task[Checkpoint]


class _ReadAhead:
    """Reads the next ranges while one is folded."""

    def __init__(
        self, adapter: ProtocolAdapter, index: HolderIndex, chain: ChainReader, reader: PinnedReader, first: int
    ) -> None:
        self._adapter, self._index, self._chain, self._reader = adapter, index, chain, reader
        self._next = first
        self._span = FIRST_SPAN
        self._ranges = deque[_Range]()

    async def next_range(self) -> tuple[Checkpoint, int, Fold] | None:
        """Return the next range's end, how many logs it has and what they say; None at the end."""
        while len(self._ranges) < PARALLEL and self._next <= self._reader.block.number:
            self._begin()
        if not self._ranges:
            return None
        part = self._ranges[0]
        logs = await part.logs
        count = len(logs)

        async def read(query: LogQuery) -> Sequence[Log]:
            nonlocal logs, count
            early, logs = logs, ()
            missing = [address for address in query.addresses if address not in part.asked]
            late = await self._logs(missing, query, part.first, part.last)
            count += len(late)
            return (*early, *late)

        fold = await fold_logs(self._adapter, self._index.known(), read)
        checkpoint = await part.checkpoint
        self._ranges.popleft()
        self._span = next_span(self._span, part.last - part.first + 1, count)
        return checkpoint, count, fold

    async def close(self) -> None:
        """Stop reading."""
        tasks = [task for part in self._ranges for task in (part.logs, part.checkpoint)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self) -> None:
        first, last = self._next, min(self._next + self._span - 1, self._reader.block.number)
        query = self._adapter.log_query(self._index.known())
        self._ranges.append(
            _Range(
                first,
                last,
                frozenset(query.addresses),
                asyncio.create_task(self._logs(query.addresses, query, first, last)),
                asyncio.create_task(self._checkpoint(last)),
            )
        )
        self._next = last + 1

    async def _logs(self, addresses: Sequence[Address], query: LogQuery, first: int, last: int) -> tuple[Log, ...]:
        if not addresses:
            return ()
        return await self._reader.logs(addresses=addresses, topics=query.topics, from_block=first, to_block=last)

    async def _checkpoint(self, number: int) -> Checkpoint:
        if number == self._reader.block.number:
            return Checkpoint(number, self._reader.block.hash)
        return Checkpoint(number, (await self._chain.block(number)).hash)
