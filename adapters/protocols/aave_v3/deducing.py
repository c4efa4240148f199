"""Accounts as the index of the venue knows them, held against the pool wherever something changed and on a sample.

What an account holds, owes and uses changes only with logs, after which the index asks the contracts. So a round asks
the pool about accounts that are new or changed since this node last compared them, and about some others drawn by the
pinned block's hash; everybody else's figures are computed as the pool computes those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from adapters.abi import ContractRefusal
from adapters.account_totals import Accounting, deduced, fitting
from adapters.crosschecks import AccountTotals
from adapters.protocols.aave_v3.books import CONFIGURATION, EMODE, STABLE
from adapters.protocols.aave_v3.emodes import EModes
from adapters.protocols.aave_v3.holdings import Holdings
from adapters.protocols.aave_v3.market import MAX_RESERVES, Market
from adapters.protocols.aave_v3.uses import Counting
from adapters.sampling import drawn
from adapters.scaled_balances import Scaled, read_balances
from riskschema.holders import Units
from riskschema.portfolio import BlockReference
from riskschema.ports import PinnedReader
from riskschema.units import ZERO_ADDRESS, Address

_BORROWING = sum(1 << 2 * index for index in range(MAX_RESERVES))
"""The bits of a configuration that say what is borrowed."""
_UNASKED = AccountTotals(0, 0, 0, 0)


class Setup(msgspec.Struct, frozen=True, gc=False):
    """All that logs can change of an account, as the contracts told it after the last of them."""

    configuration: int
    emode: int
    supplied: tuple[tuple[int, int], ...]
    """Reserve index and scaled units, of reserves where there are any."""
    owed: tuple[tuple[int, int], ...]


def setups(
    market: Market, accounts: Sequence[Address], told: Units, scaled: Mapping[Address, Scaled]
) -> dict[Address, Setup]:
    """Return accounts as the index knows them; without those of which it does not know all.

    Left out are accounts with stable debt, whose growth the index does not know, and those whose debts are not the ones
    that their configuration names; all of them where a token or its contract contradicts the index.
    """
    tokens = {token for reserve in market.reserves for token in (reserve.a_token, reserve.variable_debt)}
    stable_books = {f"{STABLE}:{each.stable_debt}" for each in market.reserves if each.stable_debt != ZERO_ADDRESS}
    if not {CONFIGURATION, EMODE, *stable_books} <= told.keys():
        return {}
    if not all(token in scaled and scaled[token].roundings for token in tokens):
        return {}
    supplied = [(reserve.index, scaled[reserve.a_token].units) for reserve in market.reserves]
    owing = [(reserve.index, scaled[reserve.variable_debt].units) for reserve in market.reserves]
    stable = [told[book] for book in stable_books]
    found = {}
    for account in accounts:
        debts = tuple([(index, units[account]) for index, units in owing if account in units])
        configuration = told[CONFIGURATION].get(account, 0)
        if configuration & _BORROWING != sum([1 << 2 * index for index, _ in debts]) or any(
            account in units for units in stable
        ):
            continue
        held = tuple([(index, units[account]) for index, units in supplied if account in units])
        emode = told[EMODE].get(account, 0) & 0xFF if configuration else 0  # where nothing is used, it means nothing
        found[account] = Setup(configuration, emode, held, debts)
    return found


def due(accounts: Sequence[Address], known: Mapping[Address, Setup], block: BlockReference) -> set[Address]:
    """Return whose turn it is to be asked about, of debtors and of others."""
    debtors = [account for account in accounts if account in known and known[account].owed]
    others = [account for account in accounts if account in known and not known[account].owed]
    return {*drawn(debtors, block), *drawn(others, block)}


class Comparison:
    """What the pool told of some accounts, beside what the index says of them.

    Args:
        market: At the pinned block.
        emodes: Of all categories in use.
        known: As the index knows accounts.
        told: As the contracts told some of them.
    """

    def __init__(
        self,
        market: Market,
        emodes: EModes,
        known: Mapping[Address, Setup],
        told: Mapping[Address, Holdings | ContractRefusal],
    ) -> None:
        self._market, self._known = market, known
        self._counting = Counting(market, emodes)
        self.agreeing: dict[Address, Setup] = {}
        """Those of whom both say the same."""
        self.contradicted = False
        """The index is wrong about what somebody uses."""
        self.ways: tuple[Accounting, ...] = ()
        """How the pool computes its totals; none: nobody knows, or the index is wrong about somebody."""
        cases = []
        for account, held in told.items():
            if account not in known or isinstance(held, ContractRefusal):
                continue
            if (held.configuration, held.emode) != (known[account].configuration, known[account].emode):
                self.contradicted = True
                return
            try:
                cases.append((account, held.totals, self._counting.lines(held)))
            except ContractRefusal:
                continue
        self.ways = fitting((totals, lines) for _, totals, lines in cases)
        if self.ways:
            self.agreeing = {account: known[account] for account, _, _ in cases}

    async def deduce(
        self, reader: PinnedReader, accounts: Sequence[Address], scaled: Mapping[Address, Scaled]
    ) -> dict[Address, Holdings]:
        """Return what accounts have and what the pool makes of it; without those for which it is to be asked.

        Raises:
            TransientError: the endpoint failed.
        """
        if not self.ways:
            return {}
        reserves = {reserve.index: reserve for reserve in self._market.reserves}
        pairs = [
            pair
            for account in accounts
            for pair in (
                *((reserves[index].a_token, account) for index, _ in self._known[account].supplied),
                *((reserves[index].variable_debt, account) for index, _ in self._known[account].owed),
            )
        ]
        balances = await read_balances(reader, pairs, scaled)
        found = {}
        for account in accounts:
            setup = self._known[account]
            supplied = {index: balances[reserves[index].a_token, account] for index, _ in setup.supplied}
            owed = {index: balances[reserves[index].variable_debt, account] for index, _ in setup.owed}
            held = self._deduced(setup, supplied, owed)
            if held is not None:
                found[account] = held
        return found

    def _deduced(
        self, setup: Setup, supplied: Mapping[int, int | ContractRefusal], owed: Mapping[int, int | ContractRefusal]
    ) -> Holdings | None:
        held = Holdings(
            configuration=setup.configuration,
            supplied={index: units for index, units in supplied.items() if not isinstance(units, ContractRefusal)},
            debts={index: (units, 0) for index, units in owed.items() if not isinstance(units, ContractRefusal)},
            totals=_UNASKED,
            emode=setup.emode,
        )
        if len(held.supplied) < len(supplied) or len(held.debts) < len(owed):
            return None
        try:
            totals = deduced(self.ways, self._counting.lines(held))
        except ContractRefusal:
            return None
        if totals is None:
            return None
        held.totals = totals
        return held
