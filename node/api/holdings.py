"""What an account holds and owes, for people: quantities, dollars, and the agreed prices behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from attest.reports.attestation import Document
from riskschema.assessment import Assessment
from riskschema.instruments import (
    Asset,
    Claim,
    Debt,
    FactorId,
    Future,
    Instrument,
    Option,
    Perpetual,
    Symbol,
    Timestamp,
    Token,
    UniswapV2Share,
    UniswapV3Liquidity,
    VenueId,
    WrappedToken,
)
from riskschema.market import AgreedMarket, AgreedPrice, Group
from riskschema.portfolio import (
    RESTRICTION_MEANINGS,
    Portfolio,
    Position,
    RestrictionKind,
    Silo,
    SiloId,
    VenueOracle,
    WeightedCollateral,
    symbol_of,
)
from riskschema.units import Amount, Usd, Wad

Decimal = Annotated[str, Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
USD_PER_WAD = 10**10
"""Prices have 18 decimals, dollar amounts 8."""


class PriceDocument(Document, frozen=True, kw_only=True):
    """The agreed price of one factor."""

    factor: FactorId
    """The asset whose dollar price it is; tokens of one asset share a factor."""
    group: Group
    """Kind of asset, which decides how it is stressed."""
    price: Wad
    """US dollars per whole unit."""
    confidence: Wad
    """Half-width in US dollars: the operators' values lie within the price plus or minus this."""
    observed_at: Timestamp
    """Unix seconds of the round whose votes made the price."""
    age: int
    """Seconds from then to this round; 0 unless the price is stale."""
    stale: bool
    """Too few operators voted in this round, and an older price stands in."""
    sources: tuple[str, ...]
    """Where this node's own vote came from; empty where it gave none."""


class PositionDocument(Document, frozen=True, kw_only=True):
    """One thing held or owed."""

    silo: SiloId
    """In which silo of the assessment it lies: what is liquidated together."""
    venue: VenueId
    """The protocol deployment."""
    kind: str
    """``token``, ``claim`` (lent out), ``debt``, ``wrapped_token``, ``uniswap_v3_liquidity`` and the like."""
    side: Literal["held", "owed"]
    """Whether it is an asset or a liability of the account."""
    symbol: Symbol
    """For people: what the token calls itself, and anyone may call a token anything."""
    factors: tuple[FactorId, ...]
    """Whose prices move its value; see `prices`."""
    quantity: Decimal | None
    """In whole tokens, negative if owed; null where the unit is not a token's (shares of a pool)."""
    base_units: Amount
    """The same as the contracts count it: an integer, negative if owed."""
    value: Usd | None
    """US dollars at the agreed prices, rounded down, negative if owed; null where no price is agreed."""
    oracle: VenueOracle | None
    """What the venue's oracle of it follows, as its contracts tell or the operators name it. Null: nothing is known of
    it (it is taken to follow the market), or nothing depends on it."""


class RestrictionDocument(Document, frozen=True, kw_only=True):
    """What a venue lets nobody do for now."""

    silo: SiloId
    """With which silo of the assessment."""
    venue: VenueId
    """The protocol deployment."""
    kind: RestrictionKind
    """What it is."""
    symbol: Symbol
    """The token concerned; empty: all of the silo."""
    meaning: str
    """The same in words."""
    until: Timestamp | None
    """Unix seconds when it ends by itself; null where that is not known."""


def restriction_documents(portfolio: Portfolio) -> tuple[RestrictionDocument, ...]:
    """Return what cannot be done now, silo by silo."""
    return tuple(
        RestrictionDocument(
            silo=silo.id,
            venue=silo.venue,
            kind=each.kind,
            symbol=symbol_of(silo, each),
            meaning=RESTRICTION_MEANINGS[each.kind],
            until=each.until,
        )
        for silo in portfolio.silos
        for each in silo.restrictions
    )


def price_documents(market: AgreedMarket, factors: frozenset[FactorId] | None = None) -> tuple[PriceDocument, ...]:
    """Return the prices of `factors`, or all."""
    return tuple(
        PriceDocument(
            factor=each.factor,
            group=each.group,
            price=each.price,
            confidence=each.confidence,
            observed_at=each.observed_at,
            age=max(0, market.as_of - each.observed_at),
            stale=each.stale,
            sources=each.sources,
        )
        for each in market.prices
        if factors is None or each.factor in factors
    )


def held_factors(portfolio: Portfolio) -> frozenset[FactorId]:
    """Return every factor that a position of the portfolio follows."""
    return frozenset(
        factor for silo in portfolio.silos for held in silo.positions for factor in factors_of(held.instrument)
    )


def position_documents(
    portfolio: Portfolio, assessment: Assessment | None, market: AgreedMarket | None
) -> tuple[PositionDocument, ...]:
    """Return the positions, silo by silo.

    Args:
        portfolio: As it was read.
        assessment: Of the same round: what a silo is worth; None where it is not known.
        market: The agreed prices; without them no position has a value.
    """
    prices = {} if market is None else {each.factor: each for each in market.prices}
    equities = {} if market is None or assessment is None else {silo.id: silo.equity for silo in assessment.silos}
    return tuple(
        document for silo in portfolio.silos for document in _silo_documents(silo, prices, equities.get(silo.id))
    )


def factors_of(instrument: Instrument) -> tuple[FactorId, ...]:
    """Return the factors that an instrument's value follows, sorted."""
    match instrument:
        case Token() | WrappedToken():
            found = {_followed(instrument)}
        case Claim() | Debt():
            found = {_followed(instrument.token)}
        case UniswapV2Share() | UniswapV3Liquidity():
            found = {_followed(instrument.token0), _followed(instrument.token1)}
        case Perpetual() | Future():
            found = {instrument.base, instrument.quote}
        case Option():
            found = {instrument.underlying, instrument.quote}
    return tuple(sorted(found))


def _followed(asset: Asset) -> FactorId:
    return asset.underlying.factor if isinstance(asset, WrappedToken) else asset.factor


def _silo_documents(silo: Silo, prices: Mapping[FactorId, AgreedPrice], equity: Usd | None) -> list[PositionDocument]:
    values = [_token_value(position, prices) for position in silo.positions]
    if equity is not None and values.count(None) == 1 and _is_priced(silo.positions[values.index(None)], prices):
        # one position whose value no plain product gives (a liquidity range): what the silo is worth besides the others
        values[values.index(None)] = Usd(equity - sum(value for value in values if value is not None))
    return [
        _document(silo, position, value, oracle)
        for position, value, oracle in zip(silo.positions, values, _oracles(silo), strict=True)
    ]


def _oracles(silo: Silo) -> Sequence[VenueOracle | None]:
    """Return what is known of the oracle of each position; of the numeraire there is only its kind."""
    rule = silo.rule
    if not isinstance(rule, WeightedCollateral):
        return [None] * len(silo.positions)
    numeraire = None if rule.numeraire_oracle is None else VenueOracle(kind=rule.numeraire_oracle)
    return [
        numeraire if term.oracle is None and factors_of(position.instrument) == (rule.numeraire,) else term.oracle
        for position, term in zip(silo.positions, rule.terms, strict=True)
    ]


def _is_priced(position: Position, prices: Mapping[FactorId, AgreedPrice]) -> bool:
    return all(factor in prices for factor in factors_of(position.instrument))


def _token_value(position: Position, prices: Mapping[FactorId, AgreedPrice]) -> Usd | None:
    """Return quantity times price, for what is counted in tokens with a price of their own (not of what they wrap)."""
    token = _token(position.instrument)
    wrapped = isinstance(token, WrappedToken) and token.factor == token.underlying.factor
    if token is None or wrapped or token.factor not in prices:
        return None
    return Usd(position.quantity * prices[token.factor].price // (10**token.decimals * USD_PER_WAD))


def _token(instrument: Instrument) -> Asset | None:
    """Return the token whose base units are the instrument's quantity."""
    match instrument:
        case Token() | WrappedToken():
            return instrument
        case Claim() | Debt():
            return instrument.token
        case _:
            return None


def _document(silo: Silo, position: Position, value: Usd | None, oracle: VenueOracle | None) -> PositionDocument:
    instrument, token = position.instrument, _token(position.instrument)
    return PositionDocument(
        silo=silo.id,
        venue=silo.venue,
        kind=str(instrument.__struct_config__.tag),
        side="owed" if position.quantity < 0 else "held",
        symbol=token.symbol if token is not None else _symbols(instrument),
        factors=factors_of(instrument),
        quantity=None if token is None else decimal(position.quantity, token.decimals),
        base_units=position.quantity,
        value=value,
        oracle=oracle,
    )


def _symbols(instrument: Instrument) -> str:
    """Return what an instrument without a token of its own is called."""
    if isinstance(instrument, UniswapV2Share | UniswapV3Liquidity):
        names: Sequence[str] = (instrument.token0.symbol, instrument.token1.symbol)
    else:
        names = factors_of(instrument)
    return "/".join(names)[:32]


def decimal(quantity: int, decimals: int) -> str:
    """Return base units as whole tokens, exactly, without zeros at the end."""
    whole, fraction = divmod(abs(quantity), 10**decimals)
    digits = f"{fraction:0{decimals}d}".rstrip("0") if fraction else ""
    return f"{'-' if quantity < 0 else ''}{whole}{'.' if digits else ''}{digits}"
