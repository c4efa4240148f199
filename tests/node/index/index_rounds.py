"""Rounds of a node with an index on the local chain: as it remembers, as a new node reads, and without an index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.chains import Chain, EndpointOptions, open_chain
from devnet.local_chain import Devnet
from node.index.following import VenueIndex
from riskschema.holders import Units
from riskschema.portfolio import VenueReading
from riskschema.ports import PinnedReader, ProtocolAdapter
from riskschema.units import Address
from storage.holder_index import open_holder_index

Venue = Callable[[], ProtocolAdapter]


class Rounds:
    """Rounds of a node on the local chain: its index, and the adapter that remembers.

    Args:
        chain: The chain.
        opened: It through the reader.
        index: Of the venue.
        warm: The adapter that reads every round.
        new: Makes one that remembers nothing.
    """

    def __init__(self, chain: Devnet, opened: Chain, index: VenueIndex, warm: ProtocolAdapter, new: Venue) -> None:
        self.everyone = [Address(user.address) for user in chain.deployment.users]
        self._chain, self._opened, self._index, self._warm, self._new = chain, opened, index, warm, new

    async def pinned(self) -> tuple[PinnedReader, Units]:
        """Return the newest block, and what the index says there."""
        reader = await self._opened.pin(await self._opened.head())
        return reader, (await self._index.holders(self._opened, reader)).told

    async def compare(self) -> tuple[VenueReading, int]:
        """Return what was read, alike in all ways, and how many calls the remembering adapter made for it."""
        reader, told = await self.pinned()
        before = self.calls
        remembered = await self._warm.read(reader, self.everyone, told)
        calls = self.calls - before
        assert remembered == await self._new().read(reader, self.everyone)
        assert remembered == await self._new().read(reader, self.everyone, told)
        return remembered, calls

    async def fewest_calls(self) -> int:
        """Return the fewest calls of some rounds in which nothing happens.

        The block draws who is asked about; where those leave open how a pool rounds, that round asks about others too.
        """
        counts = []
        for _ in range(8):
            self._chain.anvil.mine()
            counts.append((await self.compare())[1])
        return min(counts)

    @property
    def calls(self) -> int:
        """All calls so far, of the endpoint that is asked first."""
        return self._opened.endpoints()[0].traffic.calls


@asynccontextmanager
async def rounds_of(chain: Devnet, directory: Path, new: Venue, *, agreement: int = 1) -> AsyncIterator[Rounds]:
    """Open an index and a remembering adapter; the chain counts as so many endpoints as must agree."""
    warm = new()
    endpoints = [EndpointOptions(url=chain.url)] * agreement
    async with open_chain(
        endpoints=endpoints, chain_id=chain.deployment.chain_id, agreement=agreement, finality="latest"
    ) as opened:
        with open_holder_index(directory / "index.sqlite", venue=warm.venue, start_block=0) as index:
            yield Rounds(chain, opened, VenueIndex(warm, index, start_block=0), warm, new)
