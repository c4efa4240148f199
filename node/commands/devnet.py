"""`plimsoll devnet`: the local chain alone, for trying adapters and contracts against."""

from __future__ import annotations

import signal
import time

import click

from devnet.deployment import Deployment, to_json
from devnet.launch import launch
from devnet.local_chain import Devnet
from devnet.prices import answer_again
from node.api.server import require_free_port

FOREVER_SECONDS = 10 * 365 * 86_400


def run_chain(*, port: int, host: str, feed_interval: int, as_json: bool) -> None:
    """Run the chain until Ctrl-C or SIGTERM.

    Args:
        port: Of the chain's RPC; 0 takes a free one.
        host: Address to listen on.
        feed_interval: Seconds after which every feed answers its price anew; 0: never, so that they grow stale.
        as_json: Print the deployment as JSON.

    Raises:
        InvalidData: the port is taken.
        DevnetError: something the chain needs is missing or failed.
    """
    require_free_port(host, port, setting="--rpc-port")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with launch(port=port, host=host, progress=lambda line: click.echo(line, err=True)) as devnet:
            answer_again(devnet)  # the seeding lies two days back
            if as_json:
                click.echo(to_json(devnet.deployment))
            else:
                click.echo(f"chain     {devnet.url}  (chain id {devnet.deployment.chain_id})")
                click.echo(f"genesis   {devnet.deployment.genesis_hash}")
                _print_addresses(devnet.deployment)
            click.echo(f"{devnet.url} runs until Ctrl-C.", err=True)
            _keep_fresh(devnet, feed_interval)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def _keep_fresh(devnet: Devnet, interval: int) -> None:
    """Let the feeds answer now and then, for ever."""
    while True:
        time.sleep(interval or FOREVER_SECONDS)
        answer_again(devnet)


def _print_addresses(deployment: Deployment) -> None:
    for asset in deployment.assets:
        click.echo(f"{asset.symbol:<9} {asset.token}  feed {asset.feed}")
    click.echo(f"aave      {deployment.aave.addresses_provider}  (addresses provider)")
    click.echo(f"morpho    {deployment.morpho.singleton}")
    for market in deployment.morpho.markets:
        click.echo(f"market    {market.market_id}  {market.collateral}/{market.loan}")
    click.echo(f"uniswap   {deployment.uniswap.position_manager}  (position manager)")
    for user in deployment.users:
        click.echo(f"user      {user.address}  {user.story}")
