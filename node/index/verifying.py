"""An index held against the chain: its checkpoints, the logs of some ranges read again, and the sums of its holders."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import msgspec

from adapters.discovery import fold_logs
from node.index.backfill import leave_branch
from riskschema.errors import InvalidData
from riskschema.holders import Log, LogQuery
from riskschema.ports import ChainReader, PinnedReader, ProtocolAdapter
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
    """Read the logs of some ranges again and compare what they say with what the index holds.

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
    blocks = logs = done = 0
    for first, last in _ranges(start_block, tip.number, ranges):
        found = await _compare(adapter, index, reader, first, last)
        blocks, logs, done = blocks + last - first + 1, logs + found, done + 1
        watch(blocks)
    return Verified(ranges=done, blocks=blocks, logs=logs)


async def _compare(adapter: ProtocolAdapter, index: HolderIndex, reader: PinnedReader, first: int, last: int) -> int:
    async def read(query: LogQuery) -> Sequence[Log]:
        return await reader.logs(addresses=query.addresses, topics=query.topics, from_block=first, to_block=last)

    fold = await fold_logs(adapter, index.known(at=first - 1), read)
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
