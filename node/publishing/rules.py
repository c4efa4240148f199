"""When a report is brought to the contract: its heartbeat is due, or a price moved by the deviation since the last."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

PPM = 1_000_000


class PublishingRule(msgspec.Struct, frozen=True, kw_only=True):
    """Both are measured from the report that the contract has, whoever brought it."""

    heartbeat: int
    """Seconds of agreed time after which the next report is due; 0: every report is."""
    deviation_ppm: int
    """Relative move of any agreed price that makes a report due before that, in parts per million; 0: any move."""

    @property
    def publishes_all(self) -> bool:
        """Whether no report is left out."""
        return self.heartbeat == 0


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What the rule looks at, of a report."""

    observed_at: int
    """Agreed time, Unix seconds."""
    values: Mapping[str, int]
    """Agreed prices by factor."""


def is_due(rule: PublishingRule, report: Published, landed: Published | None) -> bool:
    """Say whether a report is to be brought to the contract.

    Args:
        rule: This operator's.
        report: What was certified.
        landed: What the contract has; None: nothing, or what this node does not know.
    """
    if landed is None or report.observed_at - landed.observed_at >= rule.heartbeat:
        return True
    if report.values.keys() != landed.values.keys():
        return True
    return any(has_moved(landed.values[each], value, rule.deviation_ppm) for each, value in report.values.items())


def has_moved(before: int, now: int, ppm: int) -> bool:
    """Say whether a value moved, by at least so many parts per million of what it was."""
    return now != before and abs(now - before) * PPM >= before * ppm
