"""Efficiency modes: terms of a category in place of those of its reserves."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, ask, known
from adapters.protocols.aave_v3.market import PRICE, Market, Reserve
from riskschema.ports import PinnedReader
from riskschema.units import WAD, ZERO_ADDRESS, Address, Wad

_EMODE = Function("getEModeCategoryData(uint8)", "((uint16,uint16,uint16,address,string))")
_EMODE_BITMAP = Function("getEModeCategoryCollateralBitmap(uint8)", "(uint256)")


class EMode(msgspec.Struct, frozen=True, kw_only=True):
    """An efficiency mode category: which reserves it covers, and its terms in place of theirs."""

    members: frozenset[int]
    liquidation_threshold: int
    liquidation_bonus: int
    price: int | None
    """In place of the oracle's price of each, where it has one (until v3.1)."""
    source: Address
    """What the oracle is asked for that price."""


EModes = dict[int, EMode | ContractRefusal]


async def read_emodes(reader: PinnedReader, market: Market, categories: Iterable[int]) -> EModes:
    """Read the terms of e-mode categories.

    Raises:
        TransientError: the endpoint failed.
    """
    used = sorted(categories)
    data = await ask(reader, [(_EMODE, market.pool, (category,)) for category in used])
    bitmaps = await ask(reader, [(_EMODE_BITMAP, market.pool, (category,)) for category in used])
    sources = [ZERO_ADDRESS if isinstance(terms, ContractRefusal) else terms[0][3] for terms in data]
    prices = await ask(reader, [(PRICE, market.oracle, (source,)) for source in sources])
    return {
        category: _emode(market, category, *answers)
        for category, *answers in zip(used, data, bitmaps, prices, strict=True)
    }


def _emode(market: Market, category: int, terms: Answer, bitmap: Answer, price: Answer) -> EMode | ContractRefusal:
    try:
        _, threshold, bonus, source, _ = known(terms)[0]
        own_price = known(price)[0] if source != ZERO_ADDRESS else 0
    except ContractRefusal as refusal:
        return refusal
    members = {each.index for each in market.reserves if _named(each, category, bitmap)}
    if not market.counts_every_collateral:
        members &= {each.index for each in market.reserves if each.threshold}
    return EMode(
        members=frozenset(members),
        liquidation_threshold=threshold,
        liquidation_bonus=bonus,
        price=own_price or None,
        source=source,
    )


def _named(reserve: Reserve, category: int, bitmap: Answer) -> bool:
    """Tell whether a category covers a reserve; before v3.2 each reserve named its category."""
    if isinstance(bitmap, ContractRefusal):
        return reserve.bits(168, 8) == category
    return bool(bitmap[0] >> reserve.index & 1)


def price_of(market: Market, reserve: Reserve, member: EMode | None) -> Wad:
    """Return the price of a whole token in the numeraire, as the pool counts it; a refusal where it has none."""
    return Wad(oracle_price(market, reserve, member) * WAD // market.base_unit)


def oracle_price(market: Market, reserve: Reserve, member: EMode | None) -> int:
    """Return the price of a whole token in base units of the numeraire, never zero."""
    price: int = member.price if member and member.price else known(reserve.price)[0]
    if not price:
        raise ContractRefusal(f"the oracle {market.oracle} prices {reserve.asset} at zero", code="answer_malformed")
    return price
