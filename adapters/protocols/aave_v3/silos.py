"""An account as a silo: positions, and how the pool counts each."""

from __future__ import annotations

from adapters.abi import ContractRefusal, known
from adapters.crosschecks import Line, account_fault, contradiction
from adapters.places import Place
from adapters.protocols.aave_v3.emodes import EMode, EModes, oracle_price, price_of
from adapters.protocols.aave_v3.holdings import Holdings
from adapters.protocols.aave_v3.liquidations import close_factor, restrictions
from adapters.protocols.aave_v3.market import Market, Reserve
from adapters.protocols.aave_v3.terms import Terms
from adapters.tokens import known_asset
from riskschema.instruments import Claim, Debt, VenueId
from riskschema.portfolio import CollateralTerm, Position, Silo, VenueOracle, WeightedCollateral
from riskschema.ports import PinnedReader
from riskschema.units import WAD, Address, Amount, Wad

_RAY_PER_WAD = 10**9
_BPS_AS_WAD = 10**14


def account_silo(place: Place, terms: Terms, account: Address, held: Holdings) -> Silo | None:
    """Return the account's silo, or None if it holds and owes nothing.

    Raises:
        ContractRefusal: a part of it could not be read.
    """
    market = terms.market
    pairs = [pair for reserve in market.reserves for pair in _positions(terms, reserve, held, place.venue)]
    if held.health is not None and not any(position.quantity < 0 for position, _ in pairs):
        raise ContractRefusal(f"{market.pool} reports debt of {account} but no debt token", code="answer_malformed")
    if not pairs:
        return None
    positions, counted = zip(*pairs, strict=True)
    rule = WeightedCollateral(numeraire=market.numeraire, terms=counted, close_factor=close_factor(terms, held))
    return place.silo(
        account, positions=positions, rule=rule, health=held.health, restrictions=restrictions(terms, held)
    )


def _positions(terms: Terms, reserve: Reserve, held: Holdings, venue: VenueId) -> list[tuple[Position, CollateralTerm]]:
    """Return what one account has in one reserve, each with how the pool counts it."""
    supplied = held.supplied.get(reserve.index, 0)
    debts = held.debts.get(reserve.index, (0, 0))
    if not supplied and not any(debts):
        return []
    key = reserve.index, held.emode, held.pledges(reserve)
    counted = terms.counted.get(key)
    if counted is None:
        counted = terms.counted[key] = _counted(terms, reserve, held, venue)
    found = []
    for amount, (instrument, term) in zip((supplied, *(-debt for debt in debts)), counted, strict=True):
        if amount:
            found.append((Position(instrument=instrument, quantity=Amount(amount)), term))
    return found


def _counted(
    terms: Terms, reserve: Reserve, held: Holdings, venue: VenueId
) -> tuple[tuple[Claim | Debt, CollateralTerm], ...]:
    """Return how the pool counts what is supplied to a reserve, owed at a variable rate, and owed at a stable one."""
    token = known_asset(reserve.token)
    member = terms.member(held, reserve)
    price, oracle = price_of(terms.market, reserve, member), terms.oracles.of(reserve, member)
    owed = CollateralTerm(weight=Wad(WAD), price=price, oracle=oracle)
    supply, *debts = (
        Wad(rate // _RAY_PER_WAD) for rate in (reserve.supply_rate, reserve.variable_rate, reserve.stable_rate)
    )
    return (
        (
            Claim(token=token, venue=venue, annual_rate=supply),
            _term(reserve, member, price, oracle, held.pledges(reserve)),
        ),
        *((Debt(token=token, venue=venue, annual_rate=rate), owed) for rate in debts),
    )


def _term(
    reserve: Reserve, member: EMode | None, price: Wad, oracle: VenueOracle | None, pledged: bool
) -> CollateralTerm:
    """Return how a supplied balance counts: at its threshold if pledged (the category's in e-mode), else not."""
    threshold, bonus = reserve.threshold, reserve.bonus
    if member:
        threshold, bonus = member.liquidation_threshold, member.liquidation_bonus
    if threshold > 10_000:
        raise ContractRefusal(f"threshold of {reserve.asset} is {threshold} basis points", code="answer_malformed")
    return CollateralTerm(
        weight=Wad(threshold * _BPS_AS_WAD if pledged else 0),
        price=price,
        liquidation_bonus=Wad(max(0, bonus - 10_000) * _BPS_AS_WAD),
        oracle=oracle,
    )


def check_account(reader: PinnedReader, terms: Terms, account: Address, held: Holdings) -> None:
    """Hold an account's balances, prices and thresholds against what the pool makes of them."""
    fault = account_fault(held.totals, *account_lines(terms.market, held, terms.emodes))
    if fault:
        contradiction(reader, f"{terms.market.pool} reports {fault} for {account}")


def account_lines(market: Market, held: Holdings, emodes: EModes) -> tuple[list[Line], list[Line]]:
    """Return what the pool counts as collateral of an account, and what as debt.

    Raises:
        ContractRefusal: a price or the account's category could not be read.
    """
    emode = known(emodes[held.emode]) if held.emode else None
    pledged: list[Line] = []
    owed: list[Line] = []
    for reserve in market.reserves:
        supplied, debts = held.supplied.get(reserve.index, 0), held.debts.get(reserve.index, (0, 0))
        if not (supplied and held.pledges(reserve)) and not any(debts):
            continue
        member = emode if emode is not None and reserve.index in emode.members else None
        unit, price = 10**reserve.decimals, oracle_price(market, reserve, member)
        threshold = member.liquidation_threshold if member else reserve.threshold
        if supplied and held.pledges(reserve) and (reserve.threshold or market.counts_every_collateral):
            pledged.append(Line(supplied, unit, price, threshold))
        owed += [Line(amount, unit, price) for amount in debts if amount]
    return pledged, owed
