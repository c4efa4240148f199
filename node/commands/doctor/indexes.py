"""The index of each venue as it lies on the disk: how far it is behind the chain, and whether it was found complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.commands.doctor.findings import Finding, care, good, wrong
from node.commands.doctor.operator import Operator
from node.index.following import INLINE_BLOCKS
from node.index.opening import IndexedVenue, index_path
from node.round.reading import indexed_venues
from riskschema.errors import FatalError, InvalidData, TransientError
from riskschema.instruments import VenueId, chain_of
from riskschema.portfolio import BlockReference
from storage.holder_index import IndexFacts, read_index_facts

Indexes = Mapping[VenueId, IndexFacts | FatalError | None]
"""What each venue's index says about itself; None: there is none yet."""


def read_indexes(operator: Operator) -> Indexes:
    """Read what lies on the disk, also while a node writes it."""
    return {venue.adapter.venue: _facts(operator, venue) for venue in indexed_venues(operator.venues)}


def first_needed(operator: Operator, indexes: Indexes) -> dict[int, set[int]]:
    """Return by chain the blocks from which on logs will be asked for: behind an index, or where a venue begins."""
    blocks: dict[int, set[int]] = {}
    for venue in operator.venues:
        facts = indexes.get(venue.venue)
        known = facts.block if isinstance(facts, IndexFacts) else None
        blocks.setdefault(venue.chain_id, set()).add(venue.start_block if known is None else known + 1)
    return blocks


def indexes_findings(operator: Operator, indexes: Indexes, heads: Sequence[BlockReference]) -> Sequence[Finding]:
    """Return a line for each index that is not as it should be, or one for all.

    Args:
        operator: Whose.
        indexes: As they lie on the disk (`read_indexes`).
        heads: Newest blocks; of a chain without one nothing is said of what is missing.
    """
    newest = {head.chain_id: head.number for head in sorted(heads, key=lambda head: head.number)}
    venues = indexed_venues(operator.venues)
    found = [_finding(each, indexes[each.adapter.venue], newest) for each in venues]
    off = [finding for finding in found if finding is not None]
    if off:
        return off
    behind = [_behind(each, indexes[each.adapter.venue], newest) for each in venues]
    return [good("indexes", f"{len(venues)}, at most {max(behind, default=0):,} blocks behind, caught up in a round")]


def _facts(operator: Operator, venue: IndexedVenue) -> IndexFacts | FatalError | None:
    path = index_path(operator.directory / operator.settings.data_directory, venue)
    if not path.exists():
        return None
    try:
        return read_index_facts(path)
    except FatalError as error:
        return error


def _finding(venue: IndexedVenue, facts: IndexFacts | FatalError | None, newest: Mapping[int, int]) -> Finding | None:
    name = venue.adapter.venue
    check = f"index {name}"
    if isinstance(facts, FatalError):
        return wrong(check, facts)
    if facts is not None and facts.venue != name:
        return wrong(check, InvalidData(f"its file is that of {facts.venue!r}", code="index_unusable"))
    behind = _behind(venue, facts, newest)
    if behind >= INLINE_BLOCKS:
        at = "there is none yet" if facts is None or facts.block is None else f"it is at block {facts.block}"
        error = TransientError(f"{at}, {behind:,} blocks behind: the node abstains until then", code="index_behind")
        return wrong(check, error, f"Fill it before the start: plimsoll index backfill --venue {name}")
    if facts is None or facts.block is None:
        return None
    proved = venue.start_block - 1 if facts.proved is None else facts.proved
    if facts.block - proved >= INLINE_BLOCKS:
        when = "at no block" if facts.proved is None else f"at block {facts.proved} last"
        said = f"at block {facts.block}, found complete {when}"
        return care(
            check, "holders_incomplete", said, f"Hold it against the chain: plimsoll index verify --venue {name}"
        )
    return None


def _behind(venue: IndexedVenue, facts: IndexFacts | FatalError | None, newest: Mapping[int, int]) -> int:
    """Return how many blocks are to be read, where a head is known."""
    known = facts.block if isinstance(facts, IndexFacts) else None
    tip = venue.start_block - 1 if known is None else known
    return max(newest.get(chain_of(venue.adapter.venue), tip) - tip, 0)
