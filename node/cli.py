"""The command line. Only click is imported here; each command imports its own module when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from riskschema.errors import PlimsollError, TransientError

PATH = click.Path(path_type=Path, allow_dash=True)
"""What reads a path says whether it can be used, with exit status 78; ``-`` is standard input where a file is read."""
MAY_PASS = 75
"""EX_TEMPFAIL of sysexits.h: an endpoint, a full disk, the clock; the same command may succeed later."""
FOR_A_PERSON = 78
"""EX_CONFIG: settings, keys, files or documents must be changed first."""
INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
config_option = click.option(
    "--config", type=PATH, required=True, help="TOML settings: chains, venues, keys (docs/operating.md)."
)
block_option = click.option(
    "--block", type=click.IntRange(min=0), help="Read at this block. Default: the newest final one."
)
directory_option = click.option("--directory", type=PATH, required=True, help="Where the keystores are.")


def _example(*lines: str) -> str:
    """Return the end of a command's help; the first character keeps click from joining the lines."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


def _print_version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - takes as long as click itself

    try:
        found = version("plimsoll")
    except PackageNotFoundError:
        found = "from a source tree"
    click.echo(f"plimsoll, version {found}")
    context.exit()


@contextmanager
def _ending_in_log(as_json: bool) -> Iterator[None]:
    """Let the last line of a command that writes a log be one of the log where that is JSON."""
    try:
        yield
    except (PlimsollError, KeyboardInterrupt) as error:
        if not as_json:
            raise
        from node.telemetry import log_end  # noqa: PLC0415

        log_end(error)
        sys.exit(_status(error) if isinstance(error, PlimsollError) else INTERRUPTED)


def _log_is_json(as_json: bool) -> bool:
    return as_json or not sys.stderr.isatty()


def _status(error: PlimsollError) -> int:
    return MAY_PASS if isinstance(error, TransientError) else FOR_A_PERSON


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=_example(
        "plimsoll run --devnet",
        "plimsoll assess --portfolio docs/examples/portfolio.json --market docs/examples/market.json",
    ),
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def plimsoll() -> None:
    """Cross-protocol DeFi risk: read positions, compute one margin and one score, attest them.

    Results go to standard output, everything else to standard error. Exit status: 0 done, 75 failed but may pass, 78
    refused until somebody acts (the message says what and where), 2 wrong usage, 1 a defect, 130 interrupted.
    """


@plimsoll.command(
    short_help="Run a node, on your chains or on a local one.",
    epilog=_example("plimsoll run --devnet --port 9000", "plimsoll run --config plimsoll.toml"),
)
@click.option("--config", type=PATH, help="TOML settings of this node.")
@click.option("--devnet", "on_devnet", is_flag=True, help="Start a local chain with real protocols and run on it.")
@click.option("--once", is_flag=True, help="Run one round, publish it, print one JSON object as the last line, stop.")
@click.option("--data", "data_directory", type=PATH, help="Where the database (with --devnet also the keys) is kept.")
@click.option("--port", type=click.IntRange(0, 65_535), help="HTTP port; 0 takes a free one. Default: 8547.")
@click.option(
    "--rpc-port", type=click.IntRange(0, 65_535), help="With --devnet: the local chain's port. Default: a free one."
)
@click.option("--json", "as_json", is_flag=True, help="Write the log as JSON, one object per line.")
def run(
    *,
    config: Path | None,
    on_devnet: bool,
    once: bool,
    data_directory: Path | None,
    port: int | None,
    rpc_port: int | None,
    as_json: bool,
) -> None:
    """Run a node: a round every few seconds, published on-chain and served over HTTP, until Ctrl-C.

    Give --config for your own chains, or --devnet for a complete local network that needs no settings.
    """
    if on_devnet == (config is not None):
        raise click.UsageError("give either --config FILE or --devnet")
    if rpc_port is not None and not on_devnet:
        raise click.UsageError("--rpc-port is the local chain's: give it with --devnet")
    if config is None:
        from node.local.screen import Screen  # noqa: PLC0415

        screen = Screen(as_json=as_json)
        screen.say("starting a local chain and a node on it; Ctrl-C stops everything")
        from node.local.start import run_devnet  # noqa: PLC0415 - takes a second: the line is there before

        with _ending_in_log(as_json):
            run_devnet(
                screen, once=once, data_directory=data_directory, port=port, rpc_port=rpc_port or 0, as_json=as_json
            )
    else:
        from node.commands.run_node import run_node  # noqa: PLC0415

        with _ending_in_log(_log_is_json(as_json)):
            run_node(config, once=once, data_directory=data_directory, port=port, as_json=as_json)


@plimsoll.command(
    short_help="Serve the HTTP API of a node that runs beside it.",
    epilog=_example("plimsoll serve --config plimsoll.toml --port 9001"),
)
@config_option
@click.option("--data", "data_directory", type=PATH, help="Where the node's database is kept.")
@click.option("--port", type=click.IntRange(0, 65_535), help="HTTP port; 0 takes a free one. Default: 8547.")
@click.option("--json", "as_json", is_flag=True, help="Write the log as JSON, one object per line.")
@click.option("--monitoring", help="URL of the node's monitoring port, if not as the settings say.")
@click.option("--listener", type=int, hidden=True, help="Listening socket that `plimsoll run` hands on.")
@click.option("--log-level", default="INFO", hidden=True, help="Lowest level written, as in `plimsoll run`.")
def serve(
    *,
    config: Path,
    data_directory: Path | None,
    port: int | None,
    as_json: bool,
    monitoring: str | None,
    listener: int | None,
    log_level: str,
) -> None:
    """Serve the HTTP API from the database of a node, read only and without any key, until Ctrl-C.

    `plimsoll run` does so by itself; start further ones on other ports, behind a proxy.
    """
    from node.commands.serve import serve_api  # noqa: PLC0415

    with _ending_in_log(_log_is_json(as_json)):
        serve_api(
            config,
            data_directory=data_directory,
            port=port,
            as_json=as_json,
            monitoring=monitoring,
            listener=listener,
            log_level=log_level,
        )


@plimsoll.command(
    short_help="Read an account on every configured chain.",
    epilog=_example("plimsoll positions 0xADDRESS --config plimsoll.toml --json > portfolio.json"),
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


@plimsoll.command(
    short_help="Compute margin, score and grade from files.",
    epilog=_example(
        "plimsoll assess --portfolio docs/examples/portfolio.json --market docs/examples/market.json",
        "plimsoll assess --portfolio p.json --market m.json --history ETH=eth.csv --history BTC=btc.csv --json",
    ),
)
@click.option("--portfolio", type=PATH, required=True, help="Portfolio document (docs/schema/portfolio.json), or -.")
@click.option("--market", type=PATH, required=True, help="Market document (docs/schema/market_state.json), or -.")
@click.option(
    "--history",
    multiple=True,
    metavar="FACTOR=FILE",
    help="Hourly candles (.csv, .parquet) of a factor; repeat for further factors and files.",
)
@click.option("--parameters", type=PATH, help="Parameter file; default: the one of this release.")
@json_option
def assess(portfolio: Path, market: Path, history: tuple[str, ...], parameters: Path | None, as_json: bool) -> None:
    """Compute margin, liquidation probability, score and grade from files; needs no chain.

    Without --history (and without one in the market document) reference moves of each asset group stand in, and the
    result is flagged.
    """
    from node.commands.assess import assess_files  # noqa: PLC0415

    assess_files(portfolio, market, history=history, parameters_file=parameters, as_json=as_json)


@plimsoll.command(
    short_help="Check an attestation as a stranger.",
    epilog=_example("curl -s $NODE/v1/accounts/0xADDRESS | plimsoll verify - --rpc $RPC --oracle 0xORACLE"),
)
@click.argument("file", type=PATH)
@click.option("--rpc", "rpc_url", required=True, help="Any endpoint of the chain that the attestation is published on.")
@click.option("--oracle", help="The RiskOracle you trust; default: the one that the file names.")
@json_option
def verify(file: Path, rpc_url: str, oracle: str | None, as_json: bool) -> None:
    """Check an attestation as a stranger: signatures, Merkle proof, and the root the contract holds.

    FILE is what GET /v1/accounts/{address} returned, or - for standard input.
    """
    from node.commands.verify import verify_attestation  # noqa: PLC0415

    verify_attestation(file, rpc_url=rpc_url, oracle=oracle, as_json=as_json)


@plimsoll.group(short_help="Make, show and move a node's keys.")
def keys() -> None:
    """Make and inspect a node's encrypted keys, and move its signing record to another machine."""


@keys.command(
    "create",
    epilog=_example("plimsoll keys create --directory operator/keys --password-file operator/password"),
)
@click.option("--directory", type=PATH, required=True, help="Where the keystores go; made if missing.")
@click.option("--password-file", type=PATH, help="File (mode 0600) with the password; asked for if not given.")
@json_option
def keys_create(directory: Path, password_file: Path | None, as_json: bool) -> None:
    """Make an identity, an attestation and a transmitter key; nothing is overwritten."""
    from node.commands.keys import create_keys  # noqa: PLC0415

    create_keys(directory, password_file=password_file, as_json=as_json)


@keys.command("show", epilog=_example("plimsoll keys show --directory operator/keys"))
@directory_option
@json_option
def keys_show(directory: Path, as_json: bool) -> None:
    """Print the public halves of the keys; needs no password."""
    from node.commands.keys import show_keys  # noqa: PLC0415

    show_keys(directory, as_json=as_json)


@keys.command("export-guard", epilog=_example("plimsoll keys export-guard --directory operator/keys > guard.json"))
@directory_option
def keys_export_guard(directory: Path) -> None:
    """Print, as JSON, the highest round the attestation key may have signed; stop the node first."""
    from node.commands.keys import export_guard  # noqa: PLC0415

    export_guard(directory)


@keys.command("import-guard", epilog=_example("plimsoll keys import-guard --directory operator/keys guard.json"))
@directory_option
@click.argument("file", type=PATH)
def keys_import_guard(directory: Path, file: Path) -> None:
    """Take over the marks in FILE (from export-guard), so that no round is signed twice; none is ever lowered."""
    from node.commands.keys import import_guard  # noqa: PLC0415

    import_guard(directory, file)


@keys.command("renew-guard", epilog=_example("plimsoll keys renew-guard --directory operator/keys"))
@directory_option
@click.option("--yes", "confirmed", is_flag=True, help="Do not ask: no other machine signs, and the clock is right.")
def keys_renew_guard(directory: Path, confirmed: bool) -> None:
    """Take up a signing record that was lost or put back from a copy; two rounds are left out."""
    from node.commands.keys import take_up_guard  # noqa: PLC0415

    take_up_guard(directory, confirmed=confirmed)


@plimsoll.command(
    short_help="Keep a protocol's raw answers, for replay.",
    epilog=_example(
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


@plimsoll.command(
    short_help="Write the price history that a network begins with.",
    epilog=_example("plimsoll history ETH=eth.csv BTC=btc.csv USDC=usdc.csv --output history.json"),
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


@plimsoll.command(
    short_help="Found a network of one operator on a chain.",
    epilog=_example("plimsoll deploy --config plimsoll.toml --guardian 0xADDRESS"),
)
@config_option
@click.option("--chain", "chain_id", type=int, help="Chain to deploy on, where several are configured.")
@click.option("--round-interval", type=click.IntRange(1), default=60, show_default=True, help="Seconds between rounds.")
@click.option(
    "--report-life", type=click.IntRange(1), default=3_600, show_default=True, help="Seconds until a report expires."
)
@click.option(
    "--ring-size", type=click.IntRange(2, 1024), default=64, show_default=True, help="Rounds the contract keeps."
)
@click.option("--guardian", help="Account that may pause the contract for a bounded time; nobody if left out.")
@click.option(
    "--max-fee-gwei", type=click.IntRange(1), default=100, show_default=True, help="Most that is paid per gas."
)
@click.option("--yes", "confirmed", is_flag=True, help="Do not ask before money is spent.")
@json_option
def deploy(
    *,
    config: Path,
    chain_id: int | None,
    round_interval: int,
    report_life: int,
    ring_size: int,
    guardian: str | None,
    max_fee_gwei: int,
    confirmed: bool,
    as_json: bool,
) -> None:
    """Deploy RiskOracle from the transmitter's account, write the committee file, and initialise the contract."""
    from node.commands.deploy import deploy_network  # noqa: PLC0415

    deploy_network(
        config,
        chain_id=chain_id,
        round_interval=round_interval,
        report_life=report_life,
        ring_size=ring_size,
        guardian=guardian,
        max_fee_gwei=max_fee_gwei,
        confirmed=confirmed,
        as_json=as_json,
    )


@plimsoll.command(
    short_help="Run the local chain alone.",
    epilog=_example("plimsoll devnet --rpc-port 8545"),
)
@click.option(
    "--rpc-port", "--port", "port", type=click.IntRange(0, 65_535), default=0, help="RPC port; 0 takes a free one."
)
@click.option(
    "--feed-interval",
    type=click.IntRange(0, 86_400),
    default=600,
    show_default=True,
    help="Seconds after which the price feeds answer anew; 0 lets them grow stale.",
)
@json_option
def devnet(port: int, feed_interval: int, as_json: bool) -> None:
    """Start a local chain with Aave v3, Morpho Blue and Uniswap v3 and seeded users, until Ctrl-C."""
    from node.commands.devnet import run_chain  # noqa: PLC0415

    run_chain(port=port, feed_interval=feed_interval, as_json=as_json)


def main() -> None:
    """Run the command line; an expected failure becomes one clear line, its exit status says whether it may pass."""
    try:
        sys.exit(plimsoll(prog_name="plimsoll", standalone_mode=False) or 0)
    except PlimsollError as error:
        click.echo(f"plimsoll: {error.message} [{error.code}]", err=True)
        sys.exit(_status(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("plimsoll: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # whoever read the output has enough; the interpreter must not flush into the closed pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
