"""`plimsoll positions`: one account on every configured chain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import click

from node.commands.output import portfolio_table, print_table
from node.reading import configured_venues, open_chains, read_portfolios
from node.settings import Settings, load_settings
from riskschema.codec import encode_json
from riskschema.errors import InvalidData
from riskschema.portfolio import Portfolio
from riskschema.units import Address, parse_address


def show_positions(address: str, config: Path, *, block: int | None, as_json: bool) -> None:
    """Read and print the portfolio of `address`."""
    account = parse_address(address, what="ADDRESS")
    settings = load_settings(config)
    if block is not None and len(settings.chains) != 1:
        raise InvalidData("--block needs settings with exactly one chain", code="invalid_settings")
    portfolio = asyncio.run(_read(settings, config.parent, account, block))
    if as_json:
        click.echo(encode_json(portfolio))
    else:
        print_table(portfolio_table(portfolio))


async def _read(settings: Settings, directory: Path, account: Address, block: int | None) -> Portfolio:
    venues = [venue for chain in settings.chains for venue in configured_venues(chain)]
    async with AsyncExitStack() as stack:
        chains = await open_chains(stack, settings.chains, directory)
        pinned = {}
        for chain_id, reader in chains.items():
            reference = await reader.head() if block is None else await reader.block(block)
            pinned[chain_id] = await reader.pin(reference)
        reading = await read_portfolios(venues, pinned, (account,))
        return reading.portfolios[0]
