"""Founding a network."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from node.cli.options import config_option, example, founding_options, json_option
from node.commands.network.founding import FoundingChoices


@click.command(
    short_help="Found a network of one operator on a chain.",
    epilog=example("plimsoll deploy --config plimsoll.toml --guardian 0xADDRESS"),
)
@config_option
@founding_options
@json_option
def deploy(*, config: Path, as_json: bool, **chosen: Unpack[FoundingChoices]) -> None:
    """Deploy RiskOracle from the transmitter's account, write the committee file, and initialise the contract."""
    from node.commands.deploy import deploy_network  # noqa: PLC0415

    deploy_network(config, as_json=as_json, **chosen)
