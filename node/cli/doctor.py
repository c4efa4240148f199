"""What keeps a node from working."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.endings import FOR_A_PERSON, MAY_PASS
from node.cli.options import config_option, example, json_option


@click.command(
    short_help="Examine a node: a line and a remedy for each thing that it needs.",
    epilog=example("plimsoll doctor --config plimsoll.toml"),
)
@config_option
@json_option
def doctor(config: Path, as_json: bool) -> int:
    """Examine settings, files, keys, guard, clock, endpoints, feeds, brokers, contract, account, disk and ports.

    It changes nothing, and may be run beside the node. Exit status: 0 nothing keeps the node from working, 75 something
    does that may pass, 78 something does until somebody acts.
    """
    from node.commands.doctor.examination import examine_node  # noqa: PLC0415
    from node.commands.doctor.findings import State  # noqa: PLC0415

    states = examine_node(config, as_json=as_json)
    if State.BROKEN in states:
        return FOR_A_PERSON
    return MAY_PASS if State.PASSING in states else 0
