"""An index held against the chain: its checkpoints, the logs of some ranges read again, and the sums of its holders."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

import msgspec

from adapters.discovery import fold_logs
from node.index.backfill import leave_branch
from riskschema.errors import InvalidData
from riskschema.holders import Fold, Known, Log, LogQuery
from riskschema.ports import ChainReader, PinnedReader, ProtocolAdapter
from riskschema.units import Address
from storage.holder_index import HolderIndex

RANGE_BLOCKS = 2_000
"""Of one range that is read again."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared."""

    ranges: int
    blocks: int
    logs: int


async def verify_logs(
    adapter: ProtocolAdapter,
    index: HolderIndex,
    chain: ChainReader,
    reader: PinnedReader,
    *,
    start_block: int,
    ranges: int | None,
    watch: Callable[[int], None],
) -> Verified:
    """Read the logs of some ranges, and all that name something, again; compare what they say with the index.

    Args:
        adapter: Of the venue.
        index: Its index; nothing is written but what lies on no canonical block is taken back.
        chain: The chain.
        reader: Of a block at or after the index's tip.
        start_block: Of the venue.
        ranges: How many, drawn at random; None: all.
        watch: Called with the blocks compared so far.

    Raises:
        InvalidData: a range differs; the message says from which block on the index is wrong.
        TransientError: the endpoint failed.
    """
    await leave_branch(index, chain)
    tip = index.tip
    if tip is None:
        return Verified(ranges=0, blocks=0, logs=0)
    named = await _Named.read(adapter, reader, start_block, tip.number)
    named.compare(index)
    blocks = logs = done = 0
    for first, last in _ranges(start_block, tip.number, ranges):
        found = await _compare(adapter, index, reader, named.known(first - 1), (first, last))
        blocks, logs, done = blocks + last - first + 1, logs + found, done + 1
        watch(blocks)
    return Verified(ranges=done, blocks=blocks, logs=logs)


class _Named:
    """What all logs that name something say, read again however few ranges of the others are.

    Args:
        adapter: Of the venue.
        logs: Those logs, in the order of the chain.
        start_block: Of the venue.
    """

    def __init__(self, adapter: ProtocolAdapter, logs: Sequence[Log], start_block: int) -> None:
        self._adapter, self._logs, self._start_block = adapter, logs, start_block

    @classmethod
    async def read(cls, adapter: ProtocolAdapter, reader: PinnedReader, first: int, last: int) -> _Named:
        """Read them, until they name nobody more who may name something."""
        logs, asked = list[Log](), set[Address]()
        naming = adapter.log_query({}).naming
        while naming and (new := tuple(address for address in _naming(adapter, logs) if address not in asked)):
            logs += await reader.logs(addresses=new, topics=naming.topics, from_block=first, to_block=last)
            logs.sort(key=lambda log: log.place)
            asked.update(new)
        return cls(adapter, logs, first)

    def known(self, block: int) -> Known:
        """Return what was known after a block."""
        return self._adapter.fold({}, [log for log in self._logs if log.block_number <= block]).known

    def compare(self, index: HolderIndex) -> None:
        """Compare it with what the index says.

        Raises:
            InvalidData: they differ.
        """
        right, begin, known = self._start_block, 0, Fold({}).known
        for number in index.known_ends():
            end = bisect_right(self._logs, number, key=lambda log: log.block_number)
            begin, known = end, self._adapter.fold(known, self._logs[begin:end]).known
            if index.known(at=number) != known:
                raise InvalidData(
                    f"{index.path}: what logs named up to block {number} differs from the chain: "
                    f"take the index back with plimsoll index backfill --from {right}",
                    code="index_unusable",
                )
            right = number + 1


def _naming(adapter: ProtocolAdapter, logs: Sequence[Log]) -> dict[Address, None]:
    """Return who may name something by what any of the first logs said: a later one may put another in its place."""
    known: Known = {}
    found = dict[Address, None]()
    for part in ([], *([log] for log in logs)):
        known = adapter.fold(known, part).known
        query = adapter.log_query(known).naming
        found.update(dict.fromkeys(query.addresses if query else ()))
    return found


async def _compare(
    adapter: ProtocolAdapter, index: HolderIndex, reader: PinnedReader, known: Known, blocks: tuple[int, int]
) -> int:
    first, last = blocks

    async def read(query: LogQuery) -> Sequence[Log]:
        return await reader.logs(addresses=query.addresses, topics=query.topics, from_block=first, to_block=last)

    fold = await fold_logs(adapter, known, read)
    told, held = index.digests_of(fold.touches), index.digests(first, last)
    differing = sorted(place for place in told.keys() | held.keys() if told.get(place) != held.get(place))
    if differing:
        block = index.block_of(differing[0])
        raise InvalidData(
            f"{index.path}: of the logs of blocks {first} to {last} {len(differing)} differ from the chain, the first "
            f"in block {block}: take the index back with plimsoll index backfill --from {block}",
            code="index_unusable",
        )
    return len(held)


def _ranges(first: int, last: int, count: int | None) -> Iterator[tuple[int, int]]:
    starts = range(first, last + 1, RANGE_BLOCKS)
    drawn = sorted(random.sample(starts, count)) if count is not None and count < len(starts) else starts
    for start in drawn:
        yield start, min(start + RANGE_BLOCKS - 1, last)
