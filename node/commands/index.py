"""`plimsoll index`: fill, show, verify and take over the indexes of who has something at a venue."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import click
import msgspec
from rich.table import Table

from node.commands.output import print_table
from node.endpoints.opening import open_chains
from node.endpoints.remembered import FILE, RememberedEndpoints
from node.index.backfill import Progress, catch_up
from node.index.following import VenueIndex
from node.index.opening import IndexedVenue, index_path, open_index
from node.index.verifying import Verified, verify_logs
from node.round.reading import configured_venues, indexed_venues
from node.settings import Settings, load_settings
from node.telemetry import configure_logging
from riskschema.codec import encode_json
from riskschema.errors import InvalidData
from riskschema.instruments import chain_of
from riskschema.ports import ChainReader, PinnedReader
from storage.holder_index import HolderIndex, IndexSize, read_index_facts

TOLD_EVERY_SECONDS = 2.0


class IndexStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One index as it lies on the disk."""

    venue: str
    file: str
    start_block: int
    block: int | None
    """Its tip; null: it is empty, or not there."""
    proved: int | None
    """The last block at which it was found complete."""
    size: IndexSize | None


class IndexChecked(msgspec.Struct, frozen=True, kw_only=True):
    """An index that agrees with the chain."""

    venue: str
    block: int
    holders: int
    unproved: tuple[str, ...]
    """Books of which no contract tells a total."""
    verified: Verified | None
    """What was read again; null where the index was only filled."""


Work = Callable[[IndexedVenue, HolderIndex, ChainReader, PinnedReader], Awaitable[IndexChecked]]


def show_status(config: Path, *, venue: str | None, as_json: bool) -> None:
    """Print how far each index is, without any endpoint.

    Raises:
        InvalidData: the settings cannot be used.
        FatalError: an index cannot be read.
    """
    settings, data = _settings(config)
    found = [_status(each, data) for each in _venues(settings, venue)]
    if as_json:
        click.echo(encode_json(found))
        return
    table = Table()
    for heading in ("venue", "block", "proved at", "logs", "accounts", "holders", "to count", "MB"):
        table.add_column(heading, justify="left" if heading == "venue" else "right", overflow="fold")
    for each in found:
        size = each.size
        numbers = (size.logs, size.accounts, size.holders, size.uncounted, size.bytes // 10**6) if size else ()
        table.add_row(each.venue, *(f"{n:,}" if n is not None else "none" for n in (each.block, each.proved, *numbers)))
    print_table(table)


def backfill(config: Path, *, venue: str | None, first: int | None, as_json: bool) -> None:
    """Bring indexes to the newest final block and prove them there.

    Args:
        config: The settings.
        venue: One of its venues; None: all.
        first: Take the index back to before this block first.
        as_json: Print JSON.

    Raises:
        InvalidData: the settings cannot be used.
        TransientError: an endpoint failed, or somebody is missing; what was read stays.
    """

    async def fill(each: IndexedVenue, index: HolderIndex, chain: ChainReader, reader: PinnedReader) -> IndexChecked:
        if first is not None:
            index.roll_back(max((known.number for known in index.checkpoints() if known.number < first), default=-1))
        told = _Told(each.adapter.venue)
        await catch_up(each.adapter, index, chain, reader, start_block=each.start_block, watch=told)
        return await _proved(each, index, chain, None)

    _print(asyncio.run(_with_indexes(config, venue, fill)), as_json=as_json)


def verify(config: Path, *, venue: str | None, ranges: int | None, as_json: bool) -> None:
    """Compare indexes with the chain: logs read again, then the sums of holders at the newest final block.

    Raises:
        InvalidData: an index differs from the chain.
        TransientError: an endpoint failed, or somebody is missing.
    """

    async def check(each: IndexedVenue, index: HolderIndex, chain: ChainReader, reader: PinnedReader) -> IndexChecked:
        told = _Told(each.adapter.venue)
        verified = await verify_logs(
            each.adapter,
            index,
            chain,
            reader,
            start_block=each.start_block,
            ranges=ranges,
            watch=lambda blocks: told(Progress(block=blocks, target=reader.block.number, logs=0)),
        )
        await catch_up(each.adapter, index, chain, reader, start_block=each.start_block, watch=told)
        return await _proved(each, index, chain, verified)

    _print(asyncio.run(_with_indexes(config, venue, check)), as_json=as_json)


def take_over(file: Path, config: Path, *, ranges: int | None, as_json: bool) -> None:
    """Copy another operator's index to where this node's belongs, and verify it.

    Raises:
        InvalidData: it is of no venue of the settings, this node has an index already, or the chain says otherwise.
    """
    settings, data = _settings(config)
    facts = read_index_facts(file)
    (each,) = _venues(settings, facts.venue)
    path = index_path(data, each)
    if path.exists():
        raise InvalidData(f"{path} is there already: move it away first", code="invalid_settings")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(file, path)
    try:
        with open_index(data, each) as index:
            index.forget_units()  # the chain is asked what everybody has: the file is believed for nothing
        verify(config, venue=facts.venue, ranges=ranges, as_json=as_json)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def _with_indexes(config: Path, venue: str | None, work: Work) -> list[IndexChecked]:
    settings, data = _settings(config)
    venues = _venues(settings, venue)
    wanted = {chain_of(each.adapter.venue) for each in venues}
    async with AsyncExitStack() as stack:
        used = [each for each in settings.chains if each.chain_id in wanted]
        chains = await open_chains(stack, used, config.parent, RememberedEndpoints(data / FILE))
        done = []
        for each in venues:
            chain = chains[chain_of(each.adapter.venue)]
            with open_index(data, each) as index:
                done.append(await work(each, index, chain, await chain.pin(await chain.head())))
        return done


async def _proved(
    each: IndexedVenue, index: HolderIndex, chain: ChainReader, verified: Verified | None
) -> IndexChecked:
    following = VenueIndex(each.adapter, index, start_block=each.start_block)
    try:
        found = await following.proved(chain, lambda said: click.echo(said, file=sys.stderr))
    finally:
        await following.close()
    tip = index.tip
    return IndexChecked(
        venue=found.venue,
        block=each.start_block if tip is None else tip.number,
        holders=sum(len(held) for held in found.units.values()),
        unproved=found.unproved,
        verified=verified,
    )


def _settings(config: Path) -> tuple[Settings, Path]:
    configure_logging(level="ERROR")  # what a command has to say is its message, not a log
    settings = load_settings(config)
    return settings, config.parent / settings.data_directory


def _venues(settings: Settings, venue: str | None) -> tuple[IndexedVenue, ...]:
    found = indexed_venues(each for chain in settings.chains for each in configured_venues(chain))
    if venue is None:
        return found
    for each in found:
        if each.adapter.venue == venue:
            return (each,)
    known = ", ".join(each.adapter.venue for each in found)
    raise InvalidData(
        f"venue {venue[:256]!r} has no index in these settings; those that have: {known}", code="invalid_settings"
    )


def _status(each: IndexedVenue, data: Path) -> IndexStatus:
    path = index_path(data, each)
    facts = read_index_facts(path) if path.exists() else None
    return IndexStatus(
        venue=each.adapter.venue,
        file=str(path),
        start_block=each.start_block,
        block=facts.block if facts else None,
        proved=facts.proved if facts else None,
        size=facts.size if facts else None,
    )


class _Told:
    """Says on standard error how far a venue is, every few seconds."""

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._began = self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Say it, where nothing was said for a while."""
        now = time.monotonic()
        if now - self._last < TOLD_EVERY_SECONDS:
            return
        self._last = now
        speed = f", {progress.logs / (now - self._began):,.0f} logs a second" if progress.logs else ""
        click.echo(f"{self._venue}: {progress}{speed}", file=sys.stderr)


def _print(done: list[IndexChecked], *, as_json: bool) -> None:
    if as_json:
        click.echo(encode_json(done))
        return
    for each in done:
        again = (
            f", {each.verified.logs:,} logs of {each.verified.blocks:,} blocks as on the chain" if each.verified else ""
        )
        missing = f"; no contract tells a total of {len(each.unproved)} lists" if each.unproved else ""
        click.echo(
            f"{each.venue}: {each.holders:,} holders at block {each.block}, sums as the contracts say{again}{missing}"
        )
