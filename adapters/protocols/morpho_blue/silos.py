"""Positions of one account in one market: the borrower's silo, and the lender's, which nothing liquidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapters.abi import Answer, ContractRefusal, known
from adapters.crosschecks import contradiction
from adapters.places import Place
from adapters.protocols.morpho_blue.interest import to_assets_down, to_assets_up, word
from adapters.protocols.morpho_blue.markets import Market, NoMarket
from adapters.tokens import known_asset
from riskschema.instruments import Claim, Debt
from riskschema.portfolio import (
    Aside,
    CollateralTerm,
    NoLiquidation,
    Position,
    Silo,
    WeightedCollateral,
)
from riskschema.ports import PinnedReader
from riskschema.units import WAD, Address, Amount, Hash32, Wad

ORACLE_PRICE_SCALE = 10**36
LIQUIDATION_CURSOR = 3 * WAD // 10
MAX_LIQUIDATION_INCENTIVE_FACTOR = 115 * WAD // 100
SECONDS_PER_YEAR = 365 * 86_400


def account_silos(
    place: Place,
    market: Market | ContractRefusal,
    account: Address,
    stored: tuple[Any, ...],
    *,
    fees: bool,
) -> list[Silo | Aside]:
    """Return the borrower's and the lender's silo of one account in one market, where there is anything in them.

    Anyone can lend or pledge for anybody: what nobody can tell of that, while nothing is owed, is set aside.

    Args:
        place: The market's.
        market: Its state, or why there is none.
        account: Whose.
        stored: Supply shares, borrow shares and collateral.
        fees: The account earns the market's fees.

    Raises:
        ContractRefusal: a debt, or what backs it, cannot be valued.
    """
    supply, borrow, collateral = stored
    found: list[Silo | Aside] = []
    if isinstance(market, NoMarket):
        raise market
    if borrow:
        found.append(_borrower(place, known(market), account, collateral, borrow))
    elif collateral:
        found += _spare(place, market, account, lambda sound: _borrower(place, sound, account, collateral, 0))
    if supply or fees:
        found += _spare(place, market, account, lambda sound: _lender(place, sound, account, supply, fees=fees))
    return found


def _spare(
    place: Place,
    market: Market | ContractRefusal,
    account: Address,
    silo: Callable[[Market], Silo | None],
) -> list[Silo | Aside]:
    try:
        made = silo(known(market))
    except ContractRefusal as refusal:
        return [place.aside(refusal, account)]
    return [] if made is None else [made]


def check_shares(
    reader: PinnedReader, id_: Hash32, market: Market | ContractRefusal, account: Address, position: Answer
) -> None:
    """Hold an account's shares against those of all together."""
    if isinstance(market, ContractRefusal) or isinstance(position, ContractRefusal):
        return
    totals = market.totals
    if position[0] > totals.supply_shares or position[1] > totals.borrow_shares:
        contradiction(reader, f"{account} has more shares of market {id_} than there are")


def _lender(place: Place, market: Market, account: Address, shares: int, *, fees: bool) -> Silo | None:
    totals = market.totals
    if fees:
        shares += totals.pending_fee_shares
    lent = to_assets_down(shares, totals.supply_assets, totals.supply_shares)
    if not lent:
        return None
    claim = Claim(token=market.loan, venue=place.venue, market=market.id, annual_rate=_supply_rate(market))
    position = Position(instrument=claim, quantity=Amount(lent))
    return place.silo(account, positions=(position,), rule=NoLiquidation(), health=None, part="supply")


def _borrower(place: Place, market: Market, account: Address, collateral: int, shares: int) -> Silo:
    owed = to_assets_up(shares, market.totals.borrow_assets, market.totals.borrow_shares)
    price = known(market.price)[0]
    if not price:
        raise ContractRefusal(f"the oracle of market {market.id} answers zero", code="answer_malformed")
    token = known_asset(market.collateral)
    max_borrow = word(word(collateral * price) // ORACLE_PRICE_SCALE * market.lltv) // WAD
    positions, terms = [], []
    if collateral:
        positions.append(Position(instrument=token, quantity=Amount(collateral)))
        whole = price * 10**token.decimals * WAD // (ORACLE_PRICE_SCALE * 10**market.loan.decimals)
        bonus = Wad(liquidation_bonus(market.lltv))
        seen = market.follows.of_collateral(token)
        terms.append(CollateralTerm(weight=Wad(market.lltv), price=Wad(whole), liquidation_bonus=bonus, oracle=seen))
    if owed:
        rate = Wad(market.rate_per_second * SECONDS_PER_YEAR)
        debt = Debt(token=market.loan, venue=place.venue, market=market.id, annual_rate=rate)
        positions.append(Position(instrument=debt, quantity=Amount(-owed)))
        terms.append(CollateralTerm(weight=Wad(WAD), price=Wad(WAD)))
    return place.silo(
        account,
        positions=tuple(positions),
        rule=WeightedCollateral(
            numeraire=market.loan.factor,
            numeraire_oracle=market.follows.of_loan(market.loan),
            terms=tuple(terms),
            close_factor=Wad(WAD),
        ),
        health=Wad(max_borrow * WAD // owed) if owed else None,
    )


def liquidation_bonus(lltv: int) -> int:
    """Return the liquidation incentive factor less one, 10^-18 (``Morpho.liquidate``)."""
    factor = WAD * WAD // (WAD - LIQUIDATION_CURSOR * (WAD - lltv) // WAD)
    return min(MAX_LIQUIDATION_INCENTIVE_FACTOR, factor) - WAD


def _supply_rate(market: Market) -> Wad:
    """Return what lenders earn: the borrow rate on what is lent out, less the fee."""
    totals = market.totals
    if not totals.supply_assets:
        return Wad(0)
    yearly = market.rate_per_second * SECONDS_PER_YEAR * totals.borrow_assets // totals.supply_assets
    return Wad(yearly * (WAD - totals.fee) // WAD)
