"""The command line. Only click is imported here; each command imports its own module when it runs."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from riskschema.errors import PlimsollError

FILE = click.Path(path_type=Path, dir_okay=False)
DIRECTORY = click.Path(path_type=Path, file_okay=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
config_option = click.option(
    "--config", "config", type=FILE, required=True, help="TOML settings: chains, venues, keys (docs/operating.md)."
)


def _version() -> str:
    try:
        return version("plimsoll")
    except PackageNotFoundError:
        return "from a source tree"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="plimsoll")
def plimsoll() -> None:
    """Cross-protocol DeFi risk: read positions, compute one margin and one score, attest them.

    Results go to standard output, everything else to standard error. Exit status: 0 done, 1 refused or failed
    (the message says what, where and what to do), 2 wrong usage.
    """


@plimsoll.command()
@click.option("--config", "config", type=FILE, help="TOML settings of this node.")
@click.option("--devnet", "on_devnet", is_flag=True, help="Start a local chain with real protocols and run on it.")
@click.option("--once", is_flag=True, help="Run one round, publish it, print one JSON object as the last line, stop.")
@click.option("--data", "data_directory", type=DIRECTORY, help="Where the database and keys are kept.")
@click.option("--port", type=click.IntRange(0, 65_535), help="HTTP port; 0 takes a free one.")
@json_option
def run(
    *, config: Path | None, on_devnet: bool, once: bool, data_directory: Path | None, port: int | None, as_json: bool
) -> None:
    """Run a node: a round every few seconds, published on-chain and served over HTTP.

    Give --config for your own chains, or --devnet for a complete local network that needs no settings.
    """
    if on_devnet == (config is not None):
        raise click.UsageError("give either --config FILE or --devnet")
    if config is None:
        from node.commands.run_devnet import run_devnet  # noqa: PLC0415

        run_devnet(once=once, data_directory=data_directory, port=port, as_json=as_json)
    else:
        from node.commands.run_node import run_node  # noqa: PLC0415

        run_node(config, once=once, data_directory=data_directory, port=port, as_json=as_json)


@plimsoll.command()
@click.argument("address")
@config_option
@click.option(
    "--block", type=click.IntRange(min=0), help="Read at this block (one chain only). Default: the newest final."
)
@json_option
def positions(address: str, config: Path, block: int | None, as_json: bool) -> None:
    """Read what ADDRESS holds and owes on every configured chain, and what could not be read.

    With --json the output is a portfolio document (docs/schema/portfolio.json) that `assess` accepts.
    """
    from node.commands.positions import show_positions  # noqa: PLC0415

    show_positions(address, config, block=block, as_json=as_json)


@plimsoll.command()
@click.option("--portfolio", type=FILE, required=True, help="Portfolio document (docs/schema/portfolio.json).")
@click.option("--market", type=FILE, required=True, help="Market document (docs/schema/market.json).")
@click.option("--history", type=FILE, multiple=True, help="FACTOR=FILE: hourly CSV or Parquet; may be repeated.")
@click.option("--parameters", type=FILE, help="Parameter file; default: the one of this release.")
@json_option
def assess(portfolio: Path, market: Path, history: tuple[Path, ...], parameters: Path | None, as_json: bool) -> None:
    """Compute margin, liquidation probability, score and grade from files; needs no chain."""
    from node.commands.assess import assess_files  # noqa: PLC0415

    assess_files(portfolio, market, history=history, parameters_file=parameters, as_json=as_json)


@plimsoll.command()
@click.argument("file", type=FILE)
@click.option("--rpc", "rpc_url", required=True, help="Any endpoint of the chain that the attestation is published on.")
@click.option("--oracle", help="The RiskOracle you trust; default: the one that the file names.")
@json_option
def verify(file: Path, rpc_url: str, oracle: str | None, as_json: bool) -> None:
    """Check an attestation as a stranger: signatures, Merkle proof, and the root the contract holds.

    FILE is what GET /v1/accounts/{address} returned.
    """
    from node.commands.verify import verify_attestation  # noqa: PLC0415

    verify_attestation(file, rpc_url=rpc_url, oracle=oracle, as_json=as_json)


@plimsoll.group()
def keys() -> None:
    """Make and inspect a node's encrypted keys."""


@keys.command("create")
@click.option("--directory", type=DIRECTORY, required=True, help="Where the keystores go; made if missing.")
@click.option("--password-file", type=FILE, help="File (mode 0600) with the password; asked for if not given.")
@json_option
def keys_create(directory: Path, password_file: Path | None, as_json: bool) -> None:
    """Make an identity, an attestation and a transmitter key; nothing is overwritten."""
    from node.commands.keys import create_keys  # noqa: PLC0415

    create_keys(directory, password_file=password_file, as_json=as_json)


@keys.command("show")
@click.option("--directory", type=DIRECTORY, required=True, help="Where the keystores are.")
@json_option
def keys_show(directory: Path, as_json: bool) -> None:
    """Print the public addresses of the keys; needs no password."""
    from node.commands.keys import show_keys  # noqa: PLC0415

    show_keys(directory, as_json=as_json)


@plimsoll.command()
@click.argument("protocol")
@config_option
@click.option("--account", "accounts", multiple=True, required=True, help="Account to read; may be repeated.")
@click.option("--chain", "chain_id", type=int, help="Chain id, where several are configured.")
@click.option("--block", type=click.IntRange(min=0), help="Block to pin. Default: the newest final.")
@click.option("--output", type=FILE, required=True, help="Where the recording goes.")
@json_option
def record(
    *,
    protocol: str,
    config: Path,
    accounts: tuple[str, ...],
    chain_id: int | None,
    block: int | None,
    output: Path,
    as_json: bool,
) -> None:
    """Write the raw answers of PROTOCOL's contracts at one block, with hashes, for replay in tests."""
    from node.commands.record import record_protocol  # noqa: PLC0415

    record_protocol(protocol, config, accounts=accounts, chain_id=chain_id, block=block, output=output, as_json=as_json)


@plimsoll.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="RPC port; 0 takes a free one.")
@json_option
def devnet(port: int, as_json: bool) -> None:
    """Start a local chain with Aave v3, Morpho Blue and Uniswap v3 and seeded users, until Ctrl-C."""
    from node.commands.devnet import run_chain  # noqa: PLC0415

    run_chain(port=port, as_json=as_json)


def main() -> None:
    """Run the command line; an expected failure becomes one clear line and exit status 1."""
    try:
        plimsoll(standalone_mode=True)
    except PlimsollError as error:
        click.echo(f"plimsoll: {error.message} [{error.code}]", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
