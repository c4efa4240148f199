"""`plimsoll devnet`: the local chain alone, for trying adapters and contracts against."""

from __future__ import annotations

import threading

import click

from devnet.deployment import to_json
from devnet.launch import launch


def run_chain(*, port: int, as_json: bool) -> None:
    """Run the chain until Ctrl-C."""
    try:
        with launch(port=port, progress=lambda line: click.echo(line, err=True)) as devnet:
            if as_json:
                click.echo(to_json(devnet.deployment))
            else:
                click.echo(f"chain     {devnet.url}  (chain id {devnet.deployment.chain_id})")
                click.echo(f"aave      {devnet.deployment.aave.addresses_provider}  (addresses provider)")
                click.echo(f"morpho    {devnet.deployment.morpho.singleton}")
                click.echo(f"uniswap   {devnet.deployment.uniswap.position_manager}  (position manager)")
                for user in devnet.deployment.users:
                    click.echo(f"user      {user.address}  {user.story}")
                click.echo("Ctrl-C stops it.", err=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
