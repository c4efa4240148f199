"""Founding a committee of several operators."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from node.cli.options import PATH, config_option, example, fee_option, founding_options, yes_option
from node.commands.network.founding import FoundingChoices

draft_option = click.option("--draft", type=PATH, required=True, help="What `plimsoll committee init` wrote.")


@click.group(short_help="Found and check a committee of several operators.")
def committee() -> None:
    """Found a committee of several operators: init (one of them), join and confirm (each), initialise (the first)."""


@committee.command(
    "init", epilog=example("plimsoll committee init --config plimsoll.toml --output draft.json --round-interval 60")
)
@config_option
@click.option("--output", type=PATH, required=True, help="Where the draft goes.")
@click.option(
    "--begins-in", type=click.IntRange(60), default=86_400, show_default=True, help="Seconds until the first round."
)
@founding_options
def init(*, config: Path, output: Path, begins_in: int, **chosen: Unpack[FoundingChoices]) -> None:
    """Deploy RiskOracle from the transmitter's account and write the draft that operators join."""
    from node.commands.network.committee import init_committee  # noqa: PLC0415

    init_committee(config, output, begins_in=begins_in, **chosen)


@committee.command(
    "join", epilog=example("plimsoll committee join --draft draft.json --config plimsoll.toml --output join-a.json")
)
@draft_option
@config_option
@click.option("--output", type=PATH, required=True, help="Where the join request goes.")
def join(*, draft: Path, config: Path, output: Path) -> None:
    """Sign the draft with every key: a proof that this operator holds them, and wants this very committee."""
    from node.commands.network.committee import join_committee  # noqa: PLC0415

    join_committee(draft, config, output)


@committee.command(
    "confirm",
    epilog=example(
        "plimsoll committee confirm --draft draft.json --output committee.json \\",
        "    join-a.json join-b.json join-c.json join-d.json",
    ),
)
@draft_option
@click.option("--output", type=PATH, required=True, help="Where the committee file goes.")
@click.argument("requests", metavar="JOIN...", nargs=-1, required=True, type=PATH)
def confirm(*, draft: Path, output: Path, requests: tuple[Path, ...]) -> None:
    """Check every proof, write the committee file, and print the digest that all compare by voice."""
    from node.commands.network.committee import confirm_committee  # noqa: PLC0415

    confirm_committee(draft, requests, output)


@committee.command(
    "initialise",
    epilog=example(
        "plimsoll committee initialise --draft draft.json --committee committee.json --config plimsoll.toml"
    ),
)
@draft_option
@click.option("--committee", "committee_file", type=PATH, required=True, help="The confirmed committee file.")
@config_option
@fee_option
@yes_option
def initialise(*, draft: Path, committee_file: Path, config: Path, max_fee_gwei: int, confirmed: bool) -> None:
    """Set the committee of the contract, once and for good; only who drafted it can."""
    from node.commands.network.committee import initialise_committee  # noqa: PLC0415

    initialise_committee(draft, committee_file, config, max_fee_gwei=max_fee_gwei, confirmed=confirmed)


@committee.command("show", epilog=example("plimsoll committee show committee.json"))
@click.argument("file", type=PATH)
def show(file: Path) -> None:
    """Print the digest of a committee, its operators, and what it takes to agree."""
    from node.commands.network.committee import show_committee  # noqa: PLC0415

    show_committee(file)


@committee.command(
    "check", epilog=example("plimsoll committee check --config plimsoll.toml --monitoring http://127.0.0.1:8548")
)
@config_option
@click.option("--monitoring", help="URL of the node's monitoring port: are its rounds fast enough for the interval?")
def check(*, config: Path, monitoring: str | None) -> None:
    """Hold settings against the committee, and the interval against twice what 99 of 100 rounds take here."""
    from node.commands.network.committee import check_committee_of  # noqa: PLC0415

    check_committee_of(config, monitoring=monitoring)
