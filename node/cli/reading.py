"""What is read and kept: positions, recordings, price histories."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.options import PATH, block_option, config_option, example, json_option


@click.command(
    short_help="Read an account on every configured chain.",
    epilog=example("plimsoll positions 0xADDRESS --config plimsoll.toml --json > portfolio.json"),
)
@click.argument("address")
@config_option
@block_option
@json_option
def positions(address: str, config: Path, block: int | None, as_json: bool) -> None:
    """Read what ADDRESS holds and owes on every configured chain, and what could not be read.

    With --json the output is a portfolio document (docs/schema/portfolio.json) that `assess` accepts. --block needs
    settings with one chain.
    """
    from node.commands.positions import show_positions  # noqa: PLC0415

    show_positions(address, config, block=block, as_json=as_json)


@click.command(
    short_help="Keep a protocol's raw answers, for replay.",
    epilog=example(
        "plimsoll record aave_v3 --config plimsoll.toml --account 0xADDRESS --output aave.json",
    ),
)
@click.argument("protocol")
@config_option
@click.option("--account", "accounts", multiple=True, required=True, help="Account to read; may be repeated.")
@click.option("--chain", "chain_id", type=int, help="Chain id, where several are configured.")
@block_option
@click.option("--discovery", is_flag=True, help="Record also whom the logs name, from the venue's start block on.")
@click.option("--output", type=PATH, required=True, help="Where the recording goes.")
@json_option
def record(
    *,
    protocol: str,
    config: Path,
    accounts: tuple[str, ...],
    chain_id: int | None,
    block: int | None,
    discovery: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Write the raw answers of PROTOCOL's contracts at one block, with hashes, for replay in tests."""
    from node.commands.record import record_protocol  # noqa: PLC0415

    record_protocol(
        protocol,
        config,
        accounts=accounts,
        chain_id=chain_id,
        block=block,
        discovery=discovery,
        output=output,
        as_json=as_json,
    )


@click.command(
    short_help="Write the price history that a network begins with.",
    epilog=example("plimsoll history ETH=eth.csv BTC=btc.csv USDC=usdc.csv --output history.json"),
)
@click.argument("files", metavar="FACTOR=FILE...", nargs=-1, required=True)
@click.option("--output", type=PATH, required=True, help="Where the history goes; an existing file is kept.")
@json_option
def history(files: tuple[str, ...], output: Path, as_json: bool) -> None:
    """Align hourly candles (.csv, .parquet) of several factors and write them as one history file.

    Columns: ts (Unix seconds of the hour), open, high, low, close (US dollars), volume_base.
    """
    from node.commands.history import write_history  # noqa: PLC0415

    write_history(files, output, as_json=as_json)
