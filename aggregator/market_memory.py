"""What the model remembers between rounds, for those who carry it: bytes that only this package can read."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aggregator.parameters import Parameters
from aggregator.scenarios.memory import decode_memory, encode_memory, step_memory
from riskschema.market import Group, HourlyHistory

SECTION = "market_memory"
"""Name of these bytes in the agreed state."""


class RememberedMarket(msgspec.Struct, frozen=True, kw_only=True):
    """The model's memory after a round."""

    section: bytes
    """Canonical: nodes that took in the same hours have the same bytes."""
    stressed: bool
    """A factor that makes the market is in the stressed regime."""


def remember(
    known: bytes | None, history: HourlyHistory, groups: Mapping[str, Group], parameters: Parameters
) -> RememberedMarket:
    """Take in the hours that the table has and the memory has not.

    Args:
        known: The section after the parent round; None before the first.
        history: The agreed table; it must reach back to the last hour of `known`.
        groups: Asset group per factor; ``other`` where it is not named.
        parameters: The parameter file.

    Raises:
        InvalidData: `known` is malformed or does not fit the table: another version of the model wrote it.
    """
    parent = None if known is None else decode_memory(known, what=SECTION)
    memory = step_memory(parent, history, groups, parameters)
    return RememberedMarket(section=encode_memory(memory), stressed=memory.regime == "stressed")
