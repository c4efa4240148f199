"""How the pool counts what an account has: reserves, the terms of its category, oracles behind the prices."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from adapters.abi import ContractRefusal, known
from adapters.protocols.aave_v3.conditions import Conditions
from adapters.protocols.aave_v3.emodes import price_of
from adapters.protocols.aave_v3.holdings import Holdings, Use
from adapters.protocols.aave_v3.market import Market, Reserve
from adapters.protocols.aave_v3.oracles import Oracles
from adapters.protocols.aave_v3.uses import Counting
from riskschema.instruments import Claim, Debt
from riskschema.portfolio import CollateralTerm, Restriction

Entry = tuple[Claim | Debt, int, int]
"""An instrument, its reserve by index, and which amount: supplied (0), owed at a variable (1) or stable (2) rate."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What all accounts share at the pinned block, and what was worked out for those of one use."""

    market: Market
    counting: Counting
    oracles: Oracles
    conditions: Conditions
    counted: dict[Use, tuple[tuple[Entry, ...], tuple[CollateralTerm, ...]]] = {}
    """Positions, and how each counts."""
    spare: dict[Use, tuple[tuple[int, ContractRefusal], ...]] = {}
    """Reserves that back no debt and whose worth nobody can tell, by index, and why."""
    pairs: dict[Use, tuple[tuple[Reserve, Reserve], ...]] = {}
    """Collateral and debt, as a liquidation takes them."""
    restricted: dict[tuple[Use, bool, bool], tuple[Restriction, ...]] = {}
    """What nobody can do, by use, whether anything is owed, and whether the sequencer's sentinel waits."""


def set_aside(terms: Terms, held: Holdings) -> list[ContractRefusal]:
    """Take out of what an account holds that which backs no debt and whose worth nobody can tell; return why.

    Anyone can send anybody interest-bearing tokens of any reserve.
    """
    use = held.use
    if use not in terms.spare:
        terms.spare[use] = tuple(_spare(terms.market, use))
    reasons = list(held.refused.values())
    for index, refusal in terms.spare[use]:
        reasons.append(refusal)
        del held.supplied[index]
    return reasons


def _spare(market: Market, use: Use) -> Iterable[tuple[int, ContractRefusal]]:
    for reserve in market.reserves:
        if use.supplies(reserve) and not use.pledges(reserve) and not use.borrows(reserve):
            try:
                known(reserve.token)
                price_of(market, reserve, None)
            except ContractRefusal as refusal:
                yield reserve.index, refusal
