"""What a liquidator may do with an account now: how much of a debt one call repays, and what keeps it from any.

``LiquidationLogic``: half of a debt may be repaid, all of it from a health factor of 0.95 down. Since v3.3 also all of
it where collateral or debt of the pair is worth less than 2,000 units of the base currency.
"""

from __future__ import annotations

from collections.abc import Iterator

from adapters.protocols.aave_v3.emodes import oracle_price
from adapters.protocols.aave_v3.holdings import Holdings, Use
from adapters.protocols.aave_v3.market import Reserve
from adapters.protocols.aave_v3.terms import Terms
from riskschema.portfolio import Restriction
from riskschema.units import WAD, Wad

CLOSE_FACTOR = Wad(WAD // 2)
CLOSE_FACTOR_THRESHOLD = 95 * WAD // 100
SMALL_PAIR = 2_000 * 10**8
"""``MIN_BASE_MAX_CLOSE_FACTOR_THRESHOLD``: a plain number, whatever the base currency's unit is."""
BASIS_POINTS = 10_000


def close_factor(terms: Terms, use: Use, held: Holdings) -> Wad:
    """Return the largest share of the account's debt that one liquidation repays."""
    if held.health is None:
        return CLOSE_FACTOR
    if held.health <= CLOSE_FACTOR_THRESHOLD:
        return Wad(WAD)
    if not terms.conditions.closes_small_pairs:
        return CLOSE_FACTOR
    largest = max((_repaid(terms, use, held, *pair) for pair in _pairs(terms, use)), default=0)
    return Wad(min(WAD, max(CLOSE_FACTOR, largest * WAD // held.totals.debt)))


def restrictions(terms: Terms, use: Use, held: Holdings) -> tuple[Restriction, ...]:
    """Return what the pool lets nobody do with what the account has."""
    owes = held.health is not None
    waits = held.health is not None and terms.conditions.sequencer_waits and held.health >= CLOSE_FACTOR_THRESHOLD
    key = use, owes, waits
    if key not in terms.restricted:
        terms.restricted[key] = tuple(_restrictions(terms, use, owes=owes, waits=waits))
    return terms.restricted[key]


def _restrictions(terms: Terms, use: Use, *, owes: bool, waits: bool) -> Iterator[Restriction]:
    if owes and (waits or not any(_open(terms, *pair) for pair in _pairs(terms, use))):
        yield Restriction(kind="no_liquidation")
    if waits:
        yield Restriction(kind="sequencer")
    for reserve in terms.market.reserves:
        if use.supplies(reserve) or use.owes(reserve):
            yield from terms.conditions.of(reserve)


def _pairs(terms: Terms, use: Use) -> tuple[tuple[Reserve, Reserve], ...]:
    """Return collateral and debt, as a liquidation takes them."""
    if use not in terms.pairs:
        pledged = [each for each in terms.market.reserves if use.backs_with(each)]
        owed = [each for each in terms.market.reserves if use.owes(each)]
        terms.pairs[use] = tuple((collateral, debt) for collateral in pledged for debt in owed)
    return terms.pairs[use]


def _open(terms: Terms, *pair: Reserve) -> bool:
    return all(each.active and not each.paused and not terms.conditions.waits(each) for each in pair)


def _repaid(terms: Terms, use: Use, held: Holdings, collateral: Reserve, debt: Reserve) -> int:
    """Return how much of a debt may be repaid in one call because the pair is small, in base units; else 0.

    No more than the collateral pays for.
    """
    member = terms.counting.member(use, collateral)
    price = oracle_price(terms.market, collateral, member)
    pledged: int = held.supplied[collateral.index] * price // 10**collateral.decimals
    price = oracle_price(terms.market, debt, terms.counting.member(use, debt))
    owed: int = -(-held.owed(debt) * price // 10**debt.decimals)
    if pledged >= SMALL_PAIR and owed >= SMALL_PAIR:
        return 0
    bonus = member.liquidation_bonus if member else collateral.bonus
    return min(owed, pledged * BASIS_POINTS // max(bonus, BASIS_POINTS))
