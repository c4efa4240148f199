"""Answers held against other answers: what cannot all be true is an endpoint's lie, unless two endpoints say it.

Bounds are those of integer arithmetic in any order of rounding, so that no release of a protocol that rounds otherwise
is taken for a liar: one base unit of a token, one of the numeraire per position, one basis point of a mean threshold.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from riskschema.errors import TransientError
from riskschema.ports import PinnedReader
from riskschema.units import WAD

BASIS_POINTS = 10_000
SLACK = 2
"""Units of the numeraire that one position's value may be rounded by."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """One balance as a pool counts it."""

    amount: int
    unit: int
    """Base units of a whole token."""
    price: int
    """Of a whole token, in base units of the numeraire."""
    threshold: int = 0
    """Basis points; 0 for debt."""

    @property
    def low(self) -> int:
        """The least that it can be counted for."""
        return max(0, (self.amount - 1) * self.price // self.unit - SLACK)

    @property
    def high(self) -> int:
        """The most that it can be counted for."""
        return (self.amount + 1) * self.price // self.unit + SLACK


class AccountTotals(msgspec.Struct, frozen=True, gc=False):
    """What a pool says of an account as a whole."""

    collateral: int
    debt: int
    threshold: int
    """Mean, in basis points, rounded down."""
    health: int
    """Wad; whatever it is without debt."""


def contradiction(reader: PinnedReader, what: str) -> None:
    """Refuse answers that cannot all be true; what two endpoints say alike is what the contracts say.

    Raises:
        TransientError: nobody confirms them.
    """
    if reader.witnesses < 2:
        raise TransientError(
            f"{reader.where}: block {reader.block.number} of chain {reader.block.chain_id}: {what}: one of them is "
            "answered wrongly; add another endpoint, or replace it",
            code="answers_contradict",
        )


def account_fault(totals: AccountTotals, pledged: Iterable[Line], owed: Iterable[Line]) -> str:
    """Return how an account's totals contradict its balances; empty: they do not.

    Args:
        totals: As the pool reports them (``getUserAccountData``).
        pledged: What counts as collateral.
        owed: What is owed, one line per kind of debt.
    """
    collateral, debts = tuple(pledged), tuple(owed)
    low, high = sum(line.low for line in collateral), sum(line.high for line in collateral)
    if not low <= totals.collateral <= high:
        return f"collateral of {totals.collateral}, balances worth {low} to {high}"
    weighted_low = sum(line.low * line.threshold for line in collateral)
    weighted_high = sum(line.high * line.threshold for line in collateral)
    if not weighted_low // max(1, high) - 1 <= totals.threshold <= weighted_high // max(1, low) + 1:
        return f"a threshold of {totals.threshold} basis points, balances with one of {weighted_low // max(1, high)}"
    low, high = sum(line.low for line in debts), sum(line.high for line in debts)
    if not low <= totals.debt <= high:
        return f"debt of {totals.debt}, debt tokens worth {low} to {high}"
    return _health_fault(totals)


def _health_fault(totals: AccountTotals) -> str:
    """Return how a health contradicts the totals beside it."""
    if not totals.debt:
        return ""
    scale = BASIS_POINTS * totals.debt
    rounding = WAD // totals.debt + 1
    low = totals.collateral * totals.threshold * WAD // scale - rounding
    high = totals.collateral * (totals.threshold + 1) * WAD // scale + rounding
    return "" if low <= totals.health <= high else f"a health of {totals.health}, totals that make {low} to {high}"
