"""`plimsoll record`: the raw answers of one protocol at one block, for replay."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import click
import msgspec

from adapters.protocols import load_protocol
from adapters.recording import record
from node.checksums import checked_address
from node.commands.documents import require_directory_of
from node.commands.pinning import pin
from node.endpoints.opening import open_chains
from node.round.reading import configured_venues
from node.settings import VENUE_KEYS, Chain, load_settings
from node.telemetry import configure_logging
from riskschema.codec import encode_json
from riskschema.errors import InvalidData
from riskschema.instruments import protocol_of
from riskschema.portfolio import BlockReference, VenueReading
from riskschema.units import Address


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What `record` wrote."""

    file: str
    protocol: str
    block: BlockReference
    accounts: int
    silos: int
    unread: int


def record_protocol(
    protocol: str,
    config: Path,
    *,
    accounts: tuple[str, ...],
    chain_id: int | None,
    block: int | None,
    discovery: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Record and say what was written.

    Raises:
        InvalidData: protocol, account, settings or output cannot be used; nothing is read.
        TransientError: the endpoint failed; nothing is written.
    """
    configure_logging(level="ERROR")  # what a command has to say is its message, not a log
    load_protocol(protocol)
    subjects = tuple(dict.fromkeys(checked_address(account, what="--account") for account in accounts))
    require_directory_of(output, what="--output")
    chain = _chain(load_settings(config).chains, chain_id, config)
    pinned, reading = asyncio.run(
        _record(protocol, chain, config, accounts=subjects, block=block, discovery=discovery, output=output)
    )
    written = Written(
        file=str(output),
        protocol=protocol,
        block=pinned,
        accounts=len(subjects),
        silos=len(reading.silos),
        unread=len(reading.unread),
    )
    if as_json:
        click.echo(encode_json(written))
    else:
        click.echo(
            f"{output}: {protocol} on chain {pinned.chain_id} at block {pinned.number}, {written.accounts} accounts, "
            f"{written.silos} silos, {written.unread} unread"
        )


async def _record(
    protocol: str,
    chain: Chain,
    config: Path,
    *,
    accounts: tuple[Address, ...],
    block: int | None,
    discovery: bool,
    output: Path,
) -> tuple[BlockReference, VenueReading]:
    venues = [venue for venue in configured_venues(chain) if protocol_of(venue.venue) == protocol]
    if len(venues) != 1:
        raise InvalidData(
            f"{config}: {protocol} is configured {len(venues)} times on chain {chain.chain_id}; once is needed",
            code="invalid_settings",
        )
    async with AsyncExitStack() as stack:
        reader = (await open_chains(stack, [chain], config.parent))[chain.chain_id]
        pinned = await pin(reader, block)
        table = next(table for table in chain.venues if table.get("protocol") == protocol)
        reading = await record(
            venues[0].adapter,
            pinned,
            accounts,
            output,
            deployment={key: value for key, value in table.items() if key not in VENUE_KEYS},
            assets={asset.address: asset.follows for asset in chain.assets},
            start_block=venues[0].start_block if discovery else None,
        )
        return pinned.block, reading


def _chain(chains: tuple[Chain, ...], chain_id: int | None, config: Path) -> Chain:
    if chain_id is None and len(chains) == 1:
        return chains[0]
    for chain in chains:
        if chain.chain_id == chain_id:
            return chain
    known = ", ".join(str(chain.chain_id) for chain in chains)
    raise InvalidData(f"{config}: choose one of its chains with --chain: {known}", code="invalid_settings")
