"""`plimsoll devnet`: the local chain alone, for trying adapters and contracts against."""

from __future__ import annotations

import signal
import threading

import click

from devnet.deployment import Deployment, to_json
from devnet.launch import launch
from node.commands.ports import require_free_port


def run_chain(*, port: int, as_json: bool) -> None:
    """Run the chain until Ctrl-C or SIGTERM.

    Raises:
        InvalidData: the port is taken.
        DevnetError: something the chain needs is missing or failed.
    """
    require_free_port("127.0.0.1", port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with launch(port=port, progress=lambda line: click.echo(line, err=True)) as devnet:
            if as_json:
                click.echo(to_json(devnet.deployment))
            else:
                click.echo(f"chain     {devnet.url}  (chain id {devnet.deployment.chain_id})")
                _print_addresses(devnet.deployment)
            click.echo(f"{devnet.url} runs until Ctrl-C.", err=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


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
