"""Who the logs name: an adapter's query and fold, repeated until the logs name no further contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from riskschema.holders import Fold, Holder, Known, Log, LogQuery
from riskschema.ports import PinnedReader, ProtocolAdapter
from riskschema.units import Address


class Discovery(Fold, frozen=True):
    """A fold of all logs of a venue."""

    @property
    def holders(self) -> tuple[Holder, ...]:
        """All holders that ever were, in the order of their first logs."""
        return tuple(dict.fromkeys(touch.holder for touch in self.touches))

    @property
    def accounts(self) -> frozenset[Address]:
        """All accounts that ever held or owed something."""
        return frozenset(touch.account for touch in self.touches)


async def fold_logs(
    adapter: ProtocolAdapter, known: Known, read: Callable[[LogQuery], Awaitable[Sequence[Log]]]
) -> Fold:
    """Return what the logs of a range of blocks say; where they name new contracts, those are asked for too.

    Args:
        adapter: Of the venue.
        known: After all logs before the range.
        read: Returns the logs of a query in the range; called once where no new contract is named.
    """
    fold, logs, asked = Fold(known), list[Log](), set[Address]()
    while True:
        query = adapter.log_query(fold.known)
        new = tuple(address for address in query.addresses if address not in asked)
        if not new:
            return fold
        logs += await read(LogQuery(new, query.topics))
        asked.update(new)
        fold = adapter.fold(known, sorted(logs, key=lambda log: log.place))


async def discover(adapter: ProtocolAdapter, reader: PinnedReader, *, start_block: int) -> Discovery:
    """Return who ever held or owed something up to the pinned block, from all logs since `start_block`.

    Raises:
        TransientError: the endpoint failed.
    """

    async def read(query: LogQuery) -> Sequence[Log]:
        return await reader.logs(addresses=query.addresses, topics=query.topics, from_block=start_block)

    fold = await fold_logs(adapter, {}, read)
    return Discovery(fold.known, fold.touches)
