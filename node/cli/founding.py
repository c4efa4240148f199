"""Founding a network."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.options import agreement_option, config_option, example, json_option


@click.command(
    short_help="Found a network of one operator on a chain.",
    epilog=example("plimsoll deploy --config plimsoll.toml --guardian 0xADDRESS"),
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
@agreement_option
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
    agreement: Path | None,
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
        agreement=agreement,
        max_fee_gwei=max_fee_gwei,
        confirmed=confirmed,
        as_json=as_json,
    )
