"""What the pool lets nobody do at the pinned block: pauses, caps, grace periods, the sequencer's sentinel, deficits.

``ValidationLogic`` of v3.0 to v3.7. Grace periods are there since v3.1, deficits since v3.3; the sentinel is no longer
asked since v3.7. What a release does not have, its pool refuses to tell, and that restricts nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, Question, ask
from adapters.protocols.aave_v3.books import INCOME
from adapters.protocols.aave_v3.market import Market, Reserve
from riskschema.portfolio import Restriction, RestrictionKind
from riskschema.ports import PinnedReader
from riskschema.units import ZERO_ADDRESS, Address

RAY = 10**27

_SENTINEL = Function("getPriceOracleSentinel()", "(address)")
_ALLOWED = Function("isLiquidationAllowed()", "(uint256)")
_ISOLATED = Function("getIsEModeCategoryIsolated(uint8)", "(uint256)")
_DEFICIT = Function("getReserveDeficit(address)", "(uint256)")
_GRACE = Function("getLiquidationGracePeriod(address)", "(uint256)")
_SCALED_TOTAL = Function("scaledTotalSupply()", "(uint256)")
_VARIABLE_TOTAL, _STABLE_TOTAL = (Function("totalSupply()", "(uint256)") for _ in range(2))


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What is so of one reserve."""

    grace_until: int = 0
    deficit: int = 0
    supply_capped: bool = False
    borrow_capped: bool = False


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What is so of the pool."""

    reserves: Mapping[int, Condition]
    """By reserve index."""
    timestamp: int
    closes_small_pairs: bool = False
    """Since v3.3 a liquidation may repay the whole debt of a small pair (``getReserveDeficit`` came with that)."""
    sequencer_waits: bool = False
    """The sentinel allows no liquidation of accounts that are not far below 1."""

    def of(self, reserve: Reserve) -> tuple[Restriction, ...]:
        """Return what cannot be done with one reserve."""
        condition = self.reserves.get(reserve.index, Condition())
        kinds: dict[RestrictionKind, bool] = {
            "inactive": not reserve.active,
            "paused": reserve.paused,
            "grace_period": self.waits(reserve),
            "frozen": reserve.frozen,
            "supply_capped": condition.supply_capped,
            "borrow_capped": condition.borrow_capped,
            "deficit": condition.deficit > 0,
        }
        ends = condition.grace_until + 1
        return tuple(
            Restriction(kind=kind, asset=reserve.asset, until=ends if kind == "grace_period" else None)
            for kind, holds in kinds.items()
            if holds
        )

    def waits(self, reserve: Reserve) -> bool:
        """Tell whether a reserve's grace period lasts (``liquidationGracePeriodUntil < block.timestamp`` ends it)."""
        return self.reserves.get(reserve.index, Condition()).grace_until >= self.timestamp


async def read_conditions(reader: PinnedReader, provider: Address, market: Market, used: Collection[int]) -> Conditions:
    """Read what is so of the reserves that the accounts use.

    Raises:
        TransientError: the endpoint failed.
    """
    reserves = [reserve for reserve in market.reserves if reserve.index in used]
    asked = {reserve.index: _questions(market, reserve) for reserve in reserves}
    questions = [(_SENTINEL, provider, ()), (_ISOLATED, market.pool, (1,))]
    questions += [question for each in asked.values() for question in each.values()]
    sentinel, isolated, *rest = await ask(reader, questions)
    answers = iter(rest)
    rows = {index: dict(zip(each, answers, strict=False)) for index, each in asked.items()}
    return Conditions(
        reserves={reserve.index: _condition(reserve, rows[reserve.index]) for reserve in reserves},
        timestamp=reader.block.timestamp,
        closes_small_pairs=any(not isinstance(row[_DEFICIT], ContractRefusal) for row in rows.values()),
        sequencer_waits=isinstance(isolated, ContractRefusal) and await _sentinel_waits(reader, sentinel),
    )


async def _sentinel_waits(reader: PinnedReader, sentinel: Answer) -> bool:
    """Tell whether there is a sentinel that allows no liquidation; one that reverts allows none."""
    if isinstance(sentinel, ContractRefusal) or sentinel[0] == ZERO_ADDRESS:
        return False
    [allowed] = await ask(reader, [(_ALLOWED, sentinel[0], ())])
    return isinstance(allowed, ContractRefusal) or not allowed[0]


def _questions(market: Market, reserve: Reserve) -> dict[Function, Question]:
    """Return what to ask about one reserve; totals only where they are capped."""
    asked: dict[Function, Question] = {name: (name, market.pool, (reserve.asset,)) for name in (_DEFICIT, _GRACE)}
    if reserve.supply_cap:
        asked[_SCALED_TOTAL] = (_SCALED_TOTAL, reserve.a_token, ())
        asked[INCOME] = (INCOME, market.pool, (reserve.asset,))
    if reserve.borrow_cap:
        asked[_VARIABLE_TOTAL] = (_VARIABLE_TOTAL, reserve.variable_debt, ())
        if reserve.stable_debt != ZERO_ADDRESS:  # gone since v3.2
            asked[_STABLE_TOTAL] = (_STABLE_TOTAL, reserve.stable_debt, ())
    return asked


def _condition(reserve: Reserve, answers: Mapping[Function, Answer]) -> Condition:
    told = {name: int(answer[0]) for name, answer in answers.items() if not isinstance(answer, ContractRefusal)}
    scaled = told.get(_SCALED_TOTAL, 0) + reserve.accrued_to_treasury
    supplied = (scaled * told.get(INCOME, 0) + RAY // 2) // RAY
    borrowed = told.get(_VARIABLE_TOTAL, 0) + told.get(_STABLE_TOTAL, 0)
    unit = 10**reserve.decimals
    return Condition(
        grace_until=min(told.get(_GRACE, 0), 2**40 - 1),
        deficit=told.get(_DEFICIT, 0),
        supply_capped=0 < reserve.supply_cap * unit <= supplied,
        borrow_capped=0 < reserve.borrow_cap * unit <= borrowed,
    )
