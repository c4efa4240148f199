"""Who has something at the venues: the index of each."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.options import PATH, config_option, example, json_option

_venue = click.option("--venue", help="One venue by its name (aave_v3:1:0x...). Default: all of the settings.")
_ranges = click.option(
    "--ranges", type=click.IntRange(min=1), default=20, show_default=True, help="Ranges of 2,000 blocks to read again."
)
_all = click.option("--all", "everything", is_flag=True, help="Read all logs again.")


@click.group(short_help="Fill, show, verify and take over the indexes of who has positions.")
def index() -> None:
    """Each venue whose logs name accounts has an index of them (docs/operating.md, The index)."""


@index.command("backfill", epilog=example("plimsoll index backfill --config plimsoll.toml"))
@config_option
@_venue
@click.option("--from", "first", type=click.IntRange(min=0), help="Read again from this block on.")
@json_option
def backfill_index(config: Path, venue: str | None, first: int | None, as_json: bool) -> None:
    """Read all logs up to the newest final block, and prove that nobody is missing there.

    Interrupted, it goes on where it was. A node that runs does the same by itself, and abstains until it is done.
    """
    from node.commands.index import backfill  # noqa: PLC0415

    backfill(config, venue=venue, first=first, as_json=as_json)


@index.command("status", epilog=example("plimsoll index status --config plimsoll.toml"))
@config_option
@_venue
@json_option
def index_status(config: Path, venue: str | None, as_json: bool) -> None:
    """Show how far each index is; no endpoint is asked, and the node may run."""
    from node.commands.index import show_status  # noqa: PLC0415

    show_status(config, venue=venue, as_json=as_json)


@index.command("verify", epilog=example("plimsoll index verify --config plimsoll.toml --all"))
@config_option
@_venue
@_ranges
@_all
@json_option
def verify_index(config: Path, venue: str | None, ranges: int, everything: bool, as_json: bool) -> None:
    """Read the logs of some ranges again and compare; then compare the sums of holders with the contracts' totals."""
    from node.commands.index import verify  # noqa: PLC0415

    verify(config, venue=venue, ranges=None if everything else ranges, as_json=as_json)


@index.command("import", epilog=example("plimsoll index import aave_v3-1-0x2f39.sqlite --config plimsoll.toml"))
@click.argument("file", type=PATH)
@config_option
@_ranges
@_all
@json_option
def import_index(file: Path, config: Path, ranges: int, everything: bool, as_json: bool) -> None:
    """Take over the index in FILE, another operator's, and verify it against the chain."""
    from node.commands.index import take_over  # noqa: PLC0415

    take_over(file, config, ranges=None if everything else ranges, as_json=as_json)
