"""What somebody chooses who founds a network, alone or with others: the options that `node.cli.options` gives."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict


class FoundingChoices(TypedDict):
    """As they come from the command line."""

    chain_id: int | None
    """Where to deploy; None: on the only chain."""
    round_interval: int
    """Seconds."""
    report_life: int
    """Seconds."""
    ring_size: int
    """Rounds."""
    guardian: str | None
    agreement: Path | None
    """Parameters of the agreement; None: the usual ones."""
    max_fee_gwei: int
    """Most that is paid per gas."""
    confirmed: bool
    """Whether to spend without asking."""
