"""`plimsoll positions`: one account on every configured chain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import click

from adapters.chains import Chain
from node.checksums import checked_address
from node.commands.output import portfolio_table, print_table
from node.commands.pinning import pin
from node.endpoints.opening import open_chains
from node.round.reading import configured_venues, read_portfolios
from node.settings import Settings, load_settings
from node.telemetry import configure_logging
from riskschema.codec import encode_json
from riskschema.errors import InvalidData
from riskschema.portfolio import Portfolio
from riskschema.units import Address


def show_positions(address: str, config: Path, *, block: int | None, as_json: bool) -> None:
    """Read and print the portfolio of `address`.

    Raises:
        InvalidData: the address or the settings are wrong, or nothing is configured to be read.
        TransientError: an endpoint failed, or does not know the block.
    """
    configure_logging(level="ERROR")  # what a command has to say is its message, not a log
    account = checked_address(address, what="ADDRESS")
    settings = load_settings(config)
    if block is not None and len(settings.chains) != 1:
        raise InvalidData(
            f"--block names a block of one chain, {config} configures {len(settings.chains)}", code="invalid_settings"
        )
    portfolio, sources = asyncio.run(_read(settings, config, account, block))
    if as_json:
        click.echo(encode_json(portfolio))
    else:
        print_table(portfolio_table(portfolio))
    for source in sources:
        click.echo(source, err=as_json)


async def _read(settings: Settings, config: Path, account: Address, block: int | None) -> tuple[Portfolio, list[str]]:
    venues = [venue for chain in settings.chains for venue in configured_venues(chain)]
    if not venues:
        raise InvalidData(f"{config}: no [[chains.venues]] table, so nothing is read", code="invalid_settings")
    async with AsyncExitStack() as stack:
        chains = await open_chains(stack, settings.chains, config.parent)
        pinned = {chain_id: await pin(reader, block) for chain_id, reader in chains.items()}
        reading = await read_portfolios(venues, pinned, (account,))
        return reading.portfolios[0], [_source(chain) for chain in chains.values()]


def _source(chain: Chain) -> str:
    """Return a line that says whose word the reading is."""
    endpoints = chain.endpoints()
    if chain.agreement > 1:
        said = f"chain {chain.chain_id}: {chain.agreement} of {len(endpoints)} endpoints agree on every answer"
    else:
        said = f"chain {chain.chain_id}: the word of one endpoint at a time, which nobody confirms"
    failed = [f"{each.name} is {each.state.value}: {each.detail}" for each in endpoints if each.detail]
    return "; ".join([said, *failed])
