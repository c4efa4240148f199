"""`plimsoll record`: the raw answers of one protocol at one block, for replay."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import click

from adapters.recording import record
from node.reading import configured_venues, open_chains
from node.settings import Chain, load_settings
from riskschema.codec import encode_json
from riskschema.errors import InvalidData
from riskschema.portfolio import BlockReference, VenueReading
from riskschema.units import Address, parse_address


def record_protocol(
    protocol: str,
    config: Path,
    *,
    accounts: tuple[str, ...],
    chain_id: int | None,
    block: int | None,
    output: Path,
    as_json: bool,
) -> None:
    """Record and say what was written."""
    subjects = tuple(parse_address(account, what="--account") for account in accounts)
    chain = _chain(load_settings(config).chains, chain_id, config)
    pinned, reading = asyncio.run(
        _record(protocol, chain, config.parent, accounts=subjects, block=block, output=output)
    )
    if as_json:
        click.echo(encode_json({"file": str(output), "block": pinned, "silos": len(reading.silos)}))
    else:
        click.echo(
            f"{output}: {protocol} on chain {pinned.chain_id} at block {pinned.number}, {len(subjects)} accounts, "
            f"{len(reading.silos)} silos, {len(reading.unread)} unread"
        )


async def _record(
    protocol: str, chain: Chain, directory: Path, *, accounts: tuple[Address, ...], block: int | None, output: Path
) -> tuple[BlockReference, VenueReading]:
    venues = [venue for venue in configured_venues(chain) if venue.adapter.venue == protocol]
    if len(venues) != 1:
        raise InvalidData(
            f"the settings configure {protocol} {len(venues)} times on chain {chain.chain_id}; exactly once is needed",
            code="invalid_settings",
        )
    async with AsyncExitStack() as stack:
        reader = (await open_chains(stack, [chain], directory))[chain.chain_id]
        reference = await reader.head() if block is None else await reader.block(block)
        pinned = await reader.pin(reference)
        deployment = next(table for table in chain.venues if table.get("protocol") == protocol)
        return pinned.block, await record(venues[0].adapter, pinned, accounts, output, deployment=deployment)


def _chain(chains: tuple[Chain, ...], chain_id: int | None, config: Path) -> Chain:
    if chain_id is None and len(chains) == 1:
        return chains[0]
    for chain in chains:
        if chain.chain_id == chain_id:
            return chain
    known = ", ".join(str(chain.chain_id) for chain in chains)
    raise InvalidData(f"{config}: choose one of its chains with --chain: {known}", code="invalid_settings")
