"""What operators say that a venue's oracles follow, where the contracts do not tell."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from riskschema.instruments import Claim, Debt, FactorId, Instrument, MarketId, Token, WrappedToken
from riskschema.portfolio import CollateralTerm, Position, Silo, VenueOracle, VenueReading, WeightedCollateral
from riskschema.units import Address


class NamedOracle(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say of one asset's oracle at one venue."""

    asset: Address
    factor: FactorId
    """What the asset's price follows, as mapped."""
    market: MarketId = ""
    """Only there; empty: in every market of the venue."""
    oracle: VenueOracle


def with_named_oracles(reading: VenueReading, named: Sequence[NamedOracle]) -> VenueReading:
    """Return a reading whose rules say what is named wherever the contracts told nothing; what they told stays.

    An age is only ever read. What is named for a market comes before what is named for all.
    """
    if not named:
        return reading
    return msgspec.structs.replace(reading, silos=tuple(_completed(silo, named) for silo in reading.silos))


def _completed(silo: Silo, named: Sequence[NamedOracle]) -> Silo:
    rule = silo.rule
    here = [each for each in named if each.market in (silo.market, "")]
    here.sort(key=lambda each: not each.market)
    if not isinstance(rule, WeightedCollateral) or not here:
        return silo
    terms = tuple(_term(term, position, here) for term, position in zip(rule.terms, silo.positions, strict=True))
    seen = rule.numeraire_oracle or next((each.oracle.kind for each in here if each.factor == rule.numeraire), None)
    return msgspec.structs.replace(silo, rule=msgspec.structs.replace(rule, terms=terms, numeraire_oracle=seen))


def _term(term: CollateralTerm, position: Position, named: Sequence[NamedOracle]) -> CollateralTerm:
    asset = _address(position.instrument)
    said = next((each.oracle for each in named if each.asset == asset), None)
    if said is None:
        return term
    told = term.oracle
    if told is None:
        return msgspec.structs.replace(term, oracle=said)
    oracle = msgspec.structs.replace(
        told,
        deviation=said.deviation if told.deviation is None else told.deviation,
        heartbeat=said.heartbeat if told.heartbeat is None else told.heartbeat,
    )
    return msgspec.structs.replace(term, oracle=oracle)


def _address(instrument: Instrument) -> Address | None:
    """Return the contract of the token that a position counts."""
    match instrument:
        case Claim() | Debt():
            return instrument.token.address
        case Token() | WrappedToken():
            return instrument.address
        case _:
            return None
