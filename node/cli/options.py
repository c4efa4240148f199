"""Options that several commands share, and the examples at the end of their help."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path, allow_dash=True)
"""What reads a path says whether it can be used, with exit status 78; ``-`` is standard input where a file is read."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
config_option = click.option(
    "--config", type=PATH, required=True, help="TOML settings: chains, venues, keys (docs/operating.md)."
)
agreement_option = click.option(
    "--agreement", type=PATH, help="TOML with parameters of the agreement (docs/agreement.md); usual ones if left out."
)
block_option = click.option(
    "--block", type=click.IntRange(min=0), help="Read at this block. Default: the newest final one."
)
directory_option = click.option("--directory", type=PATH, required=True, help="Where the keystores are.")


def example(*lines: str) -> str:
    """Return the end of a command's help; the first character keeps click from joining the lines."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))
