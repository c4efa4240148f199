"""An account as a silo: positions, and how the pool counts each."""

from __future__ import annotations

from adapters.abi import ContractRefusal
from adapters.crosschecks import account_fault, contradiction
from adapters.places import Place
from adapters.protocols.aave_v3.emodes import EMode, price_of
from adapters.protocols.aave_v3.holdings import Holdings, Use
from adapters.protocols.aave_v3.liquidations import close_factor, restrictions
from adapters.protocols.aave_v3.market import Reserve
from adapters.protocols.aave_v3.terms import Entry, Terms
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
    use = held.use
    if use not in terms.counted:
        terms.counted[use] = _counted(terms, use, place.venue)
    entries, counted = terms.counted[use]
    if held.health is not None and not use.variable and not use.stable:
        raise ContractRefusal(
            f"{terms.market.pool} reports debt of {account} but no debt token", code="answer_malformed"
        )
    if not entries:
        return None
    return place.silo(
        account,
        positions=tuple(
            [
                Position(instrument=instrument, quantity=Amount(held.amount(index, which)))
                for instrument, index, which in entries
            ]
        ),
        rule=WeightedCollateral(
            numeraire=terms.market.numeraire, terms=counted, close_factor=close_factor(terms, use, held)
        ),
        health=held.health,
        restrictions=restrictions(terms, use, held),
    )


def _counted(terms: Terms, use: Use, venue: VenueId) -> tuple[tuple[Entry, ...], tuple[CollateralTerm, ...]]:
    """Return what accounts of one use have, and how the pool counts each."""
    entries: list[Entry] = []
    counted: list[CollateralTerm] = []
    for reserve in terms.market.reserves:
        if use.supplies(reserve) or use.owes(reserve):
            kinds = (use.supplies(reserve), reserve.index in use.variable, reserve.index in use.stable)
            for which, (instrument, term) in enumerate(_reserve_terms(terms, reserve, use, venue)):
                if kinds[which]:
                    entries.append((instrument, reserve.index, which))
                    counted.append(term)
    return tuple(entries), tuple(counted)


def _reserve_terms(
    terms: Terms, reserve: Reserve, use: Use, venue: VenueId
) -> tuple[tuple[Claim | Debt, CollateralTerm], ...]:
    """Return how the pool counts what is supplied to a reserve, owed at a variable rate, and owed at a stable one."""
    token = known_asset(reserve.token)
    member = terms.counting.member(use, reserve)
    price, oracle = price_of(terms.market, reserve, member), terms.oracles.of(reserve, member)
    owed = CollateralTerm(weight=Wad(WAD), price=price, oracle=oracle)
    supply, *debts = (
        Wad(rate // _RAY_PER_WAD) for rate in (reserve.supply_rate, reserve.variable_rate, reserve.stable_rate)
    )
    return (
        (
            Claim(token=token, venue=venue, annual_rate=supply),
            _term(reserve, member, price, oracle, use.pledges(reserve)),
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
    fault = account_fault(held.totals, *terms.counting.lines(held))
    if fault:
        contradiction(reader, f"{terms.market.pool} reports {fault} for {account}")
