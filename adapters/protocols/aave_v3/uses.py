"""Which reserves accounts use, and how: what is so of one account is worked out once for all of the same use."""

from __future__ import annotations

import msgspec

from adapters.abi import known
from adapters.account_totals import Lines
from adapters.crosschecks import Line
from adapters.protocols.aave_v3.emodes import EMode, EModes, oracle_price
from adapters.protocols.aave_v3.holdings import Holdings, Use
from adapters.protocols.aave_v3.market import Market, Reserve


class _Counted(msgspec.Struct, frozen=True):
    """How the pool counts what accounts of one use have: reserve index, base units of a token, price, threshold."""

    pledged: tuple[tuple[int, int, int, int], ...]
    owed: tuple[tuple[int, int, int], ...]


class Counting:
    """How the pool makes its totals of accounts.

    Args:
        market: At the pinned block.
        emodes: Of all categories in use.
    """

    def __init__(self, market: Market, emodes: EModes) -> None:
        self._market, self._emodes = market, emodes
        self._counted: dict[Use, _Counted] = {}

    def member(self, use: Use, reserve: Reserve) -> EMode | None:
        """Return the category whose terms a reserve has for accounts; None: its own.

        Raises:
            ContractRefusal: the pool does not tell the category.
        """
        category = known(self._emodes[use.emode]) if use.emode else None
        return category if category is not None and reserve.index in category.members else None

    def lines(self, held: Holdings) -> Lines:
        """Return what the pool counts as collateral of an account, and what as debt.

        Raises:
            ContractRefusal: a price or the account's category could not be read.
        """
        use = held.use
        counted = self._counted.get(use)
        if counted is None:
            counted = self._counted[use] = self._count(use)
        supplied, debts = held.supplied, held.debts
        return (
            [Line(supplied[index], unit, price, threshold) for index, unit, price, threshold in counted.pledged],
            [Line(amount, unit, price) for index, unit, price in counted.owed for amount in debts[index] if amount],
        )

    def _count(self, use: Use) -> _Counted:
        pledged: list[tuple[int, int, int, int]] = []
        owed: list[tuple[int, int, int]] = []
        if use.emode:
            known(self._emodes[use.emode])
        for reserve in self._market.reserves:
            if not use.backs_with(reserve) and not use.owes(reserve):
                continue
            member = self.member(use, reserve)
            unit, price = 10**reserve.decimals, oracle_price(self._market, reserve, member)
            threshold = member.liquidation_threshold if member else reserve.threshold
            if use.backs_with(reserve) and (reserve.threshold or self._market.counts_every_collateral):
                pledged.append((reserve.index, unit, price, threshold))
            if use.owes(reserve):
                owed.append((reserve.index, unit, price))
        return _Counted(tuple(pledged), tuple(owed))
