"""Where the indexes lie, and how a node opens and closes them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from node.index.following import VenueIndex
from riskschema.codec import encode_json
from riskschema.ports import ProtocolAdapter
from storage.holder_index import HolderIndex, open_holder_index

FOLDER = "index"
"""In the data directory."""


class IndexedVenue(msgspec.Struct, frozen=True, kw_only=True):
    """A venue whose logs name accounts."""

    adapter: ProtocolAdapter
    start_block: int
    table: Mapping[str, Any]
    """The settings of its deployment."""


def index_path(data: Path, venue: IndexedVenue) -> Path:
    """Return the file of a venue's index: another list of markets is another index."""
    table = hashlib.sha256(encode_json(dict(sorted(venue.table.items())))).hexdigest()[:8]
    return data / FOLDER / f"{venue.adapter.venue.replace(':', '-')}-{table}.sqlite"


@contextmanager
def open_index(data: Path, venue: IndexedVenue) -> Iterator[HolderIndex]:
    """Open the index of a venue, made if missing.

    Raises:
        FatalError: it cannot be opened.
    """
    with open_holder_index(index_path(data, venue), venue=venue.adapter.venue, start_block=venue.start_block) as index:
        yield index


@asynccontextmanager
async def open_indexes(data: Path, venues: Iterable[IndexedVenue]) -> AsyncIterator[tuple[VenueIndex, ...]]:
    """Open the indexes of venues, in their order.

    Raises:
        FatalError: one cannot be opened.
    """
    async with AsyncExitStack() as stack:
        opened: list[VenueIndex] = []
        for venue in venues:
            index = stack.enter_context(open_index(data, venue))
            opened.append(VenueIndex(venue.adapter, index, start_block=venue.start_block))
            stack.push_async_callback(opened[-1].close)
        yield tuple(opened)
