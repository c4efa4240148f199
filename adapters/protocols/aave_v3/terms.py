"""How the pool counts what an account has: reserves, the terms of its category, oracles behind the prices."""

from __future__ import annotations

import msgspec

from adapters.abi import known
from adapters.protocols.aave_v3.conditions import Conditions
from adapters.protocols.aave_v3.emodes import EMode, EModes
from adapters.protocols.aave_v3.holdings import Holdings
from adapters.protocols.aave_v3.market import Market, Reserve
from adapters.protocols.aave_v3.oracles import Oracles
from riskschema.instruments import Claim, Debt
from riskschema.portfolio import CollateralTerm, Restriction


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What all accounts share at the pinned block."""

    market: Market
    emodes: EModes
    oracles: Oracles
    conditions: Conditions
    counted: dict[tuple[int, int, bool], tuple[tuple[Claim | Debt, CollateralTerm], ...]] = {}
    """How each reserve counts, by its index, the account's category, and whether it is pledged: made once for all."""
    restricted: dict[int, tuple[Restriction, ...]] = {}
    """What cannot be done with each reserve, by its index, likewise."""

    def member(self, held: Holdings, reserve: Reserve) -> EMode | None:
        """Return the category whose terms a reserve has for an account; None: its own.

        Raises:
            ContractRefusal: the pool does not tell the account's category.
        """
        category = known(self.emodes[held.emode]) if held.emode else None
        return category if category is not None and reserve.index in category.members else None
