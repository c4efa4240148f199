"""What keeps running: a node, its HTTP API, the local chain."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.endings import ending_in_log, log_is_json
from node.cli.options import PATH, config_option, example, json_option

NODES = 4
"""The smallest committee in which one operator may be faulty."""


@click.command(
    short_help="Run a node, on your chains or on a local one.",
    epilog=example("plimsoll run --devnet --port 9000", "plimsoll run --config plimsoll.toml"),
)
@click.option("--config", type=PATH, help="TOML settings of this node.")
@click.option("--devnet", "on_devnet", is_flag=True, help="Start a local chain with real protocols and run on it.")
@click.option("--once", is_flag=True, help="Run one round, publish it, print one JSON object as the last line, stop.")
@click.option("--data", "data_directory", type=PATH, help="Where the database (with --devnet also the keys) is kept.")
@click.option("--port", type=click.IntRange(0, 65_535), help="HTTP port; 0 takes a free one. Default: 8547.")
@click.option(
    "--rpc-port", type=click.IntRange(0, 65_535), help="With --devnet: the local chain's port. Default: a free one."
)
@click.option("--nodes", type=click.IntRange(1, 31), help="With --devnet: how many operators. Default: 4.")
@click.option("--faulty", type=click.IntRange(0, 10), help="With --devnet: how many of them lie. Default: 0.")
@click.option("--attached", is_flag=True, hidden=True, help="Stop when standard input ends.")
@click.option("--json", "as_json", is_flag=True, help="Write the log as JSON, one object per line.")
def run(
    *,
    config: Path | None,
    nodes: int | None,
    faulty: int | None,
    attached: bool,
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
    if nodes is not None and not on_devnet:
        raise click.UsageError("--nodes is about the local network: give it with --devnet")
    if nodes in (2, 3):
        raise click.UsageError("a committee has 1 or 4 to 31 operators: with 2 or 3, none may be faulty")
    if faulty is not None and not on_devnet:
        raise click.UsageError("--faulty is about the local network: give it with --devnet")
    if faulty and faulty > ((nodes or NODES) - 1) // 3:
        raise click.UsageError(f"of {nodes or NODES} operators at most {((nodes or NODES) - 1) // 3} may be faulty")
    if config is None:
        from node.local.screen import Screen  # noqa: PLC0415

        screen = Screen(as_json=as_json)
        several = f"{nodes or NODES} nodes" if nodes != 1 else "a node"
        screen.say(f"starting a local chain and {several} on it; Ctrl-C stops everything")
        from node.local.start import run_devnet  # noqa: PLC0415 - takes a second: the line is there before

        with ending_in_log(as_json):
            run_devnet(
                screen,
                once=once,
                data_directory=data_directory,
                port=port,
                rpc_port=rpc_port or 0,
                nodes=nodes or NODES,
                faulty=faulty or 0,
                as_json=as_json,
            )
    else:
        from node.commands.run_node import run_node  # noqa: PLC0415

        with ending_in_log(log_is_json(as_json)):
            run_node(config, once=once, data_directory=data_directory, port=port, as_json=as_json, attached=attached)


@click.command(
    short_help="Serve the HTTP API of a node that runs beside it.",
    epilog=example("plimsoll serve --config plimsoll.toml --port 9001"),
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

    with ending_in_log(log_is_json(as_json)):
        serve_api(
            config,
            data_directory=data_directory,
            port=port,
            as_json=as_json,
            monitoring=monitoring,
            listener=listener,
            log_level=log_level,
        )


@click.command(
    short_help="Run the local chain alone.",
    epilog=example("plimsoll devnet --rpc-port 8545"),
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
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@json_option
def devnet(port: int, feed_interval: int, host: str, as_json: bool) -> None:
    """Start a local chain with Aave v3, Morpho Blue and Uniswap v3 and seeded users, until Ctrl-C."""
    from node.commands.devnet import run_chain  # noqa: PLC0415

    run_chain(port=port, host=host, feed_interval=feed_interval, as_json=as_json)
