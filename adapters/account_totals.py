"""A pool's totals of an account from its balances, to the last unit, as its release computes them.

Releases round differently: so several ways are kept, and those count that make what the pool itself tells of a sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from adapters.crosschecks import BASIS_POINTS, AccountTotals, Line
from riskschema.units import WAD

NO_DEBT = 2**256 - 1
"""The health of an account without debt."""


class Accounting(msgspec.Struct, frozen=True):
    """How a release of Aave's ``GenericLogic.calculateUserAccountData`` rounds (sources of v3.1 to v3.7 compared)."""

    debt_up: bool
    """The value of a debt is rounded up (since v3.5), not down."""
    mean_first: bool
    """Health takes the rounded mean of the thresholds (until v3.4), not the sum of weighted collateral (since v3.5)."""

    def totals(self, pledged: Sequence[Line], owed: Sequence[Line]) -> AccountTotals:
        """Return what the pool makes of an account."""
        values = [line.amount * line.price // line.unit for line in pledged]
        collateral = sum(values)
        weighted = sum(value * line.threshold for value, line in zip(values, pledged, strict=True))
        threshold = weighted // collateral if collateral else 0
        if self.debt_up:
            debt = sum(-(-line.amount * line.price // line.unit) for line in owed)
        else:
            debt = sum(line.amount * line.price // line.unit for line in owed)
        if not debt:
            return AccountTotals(collateral, debt, threshold, NO_DEBT)
        if self.mean_first:
            counted = (collateral * threshold + BASIS_POINTS // 2) // BASIS_POINTS
            return AccountTotals(collateral, debt, threshold, (counted * WAD + debt // 2) // debt)
        return AccountTotals(collateral, debt, threshold, (weighted * WAD + debt // 2) // debt // BASIS_POINTS)


ACCOUNTINGS = tuple(Accounting(up, mean) for up in (False, True) for mean in (True, False))

Lines = tuple[Sequence[Line], Sequence[Line]]
"""What a pool counts as collateral, and what as debt."""


def fitting(told: Iterable[tuple[AccountTotals, Lines]]) -> tuple[Accounting, ...]:
    """Return the ways to compute totals that make all that a pool told."""
    cases = list(told)
    return tuple(
        way for way in ACCOUNTINGS if all(way.totals(pledged, owed) == said for said, (pledged, owed) in cases)
    )


def deduced(ways: Sequence[Accounting], lines: Lines) -> AccountTotals | None:
    """Return an account's totals where all ways make the same; None where the pool is to be asked."""
    totals = {way.totals(*lines) for way in ways}
    return totals.pop() if len(totals) == 1 else None
