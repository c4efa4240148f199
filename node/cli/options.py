"""Options that several commands share, and the examples at the end of their help."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TypeVar

import click

PATH = click.Path(path_type=Path, allow_dash=True)
"""What reads a path says whether it can be used, with exit status 78; ``-`` is standard input where a file is read."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
config_option = click.option(
    "--config", type=PATH, required=True, help="TOML settings: chains, venues, keys (docs/operating.md)."
)
block_option = click.option(
    "--block", type=click.IntRange(min=0), help="Read at this block. Default: the newest final one."
)
directory_option = click.option("--directory", type=PATH, required=True, help="Where the keystores are.")
fee_option = click.option(
    "--max-fee-gwei", type=click.IntRange(1), default=100, show_default=True, help="Most that is paid per gas."
)
yes_option = click.option("--yes", "confirmed", is_flag=True, help="Do not ask before money is spent.")
_FOUNDING_OPTIONS = (
    click.option("--chain", "chain_id", type=int, help="Chain to deploy on, where several are configured."),
    click.option(
        "--round-interval", type=click.IntRange(1), default=60, show_default=True, help="Seconds between rounds."
    ),
    click.option(
        "--report-life",
        type=click.IntRange(1),
        default=3_600,
        show_default=True,
        help="Seconds until a report expires.",
    ),
    click.option(
        "--ring-size", type=click.IntRange(2, 1024), default=64, show_default=True, help="Rounds the contract keeps."
    ),
    click.option("--guardian", help="Account that may pause the contract for a bounded time; nobody if left out."),
    click.option(
        "--agreement",
        type=PATH,
        help="TOML with parameters of the agreement (docs/agreement.md); usual ones if left out.",
    ),
    fee_option,
    yes_option,
)

Command = TypeVar("Command", bound=Callable[..., None])


def founding_options(command: Command) -> Command:
    """Give a command the options by which contracts are deployed and a committee is founded: `FoundingChoices`."""
    return reduce(lambda decorated, option: option(decorated), reversed(_FOUNDING_OPTIONS), command)


def example(*lines: str) -> str:
    """Return the end of a command's help; the first character keeps click from joining the lines."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))
