"""Holdings that nobody can price and that back no debt, set aside before an account is assessed.

Anyone can send anybody tokens and NFTs of tokens that no operator ever heard of: they must neither flag an account nor
take anything from it.
"""

from __future__ import annotations

import msgspec

from riskschema.flags import Flag
from riskschema.instruments import Claim, Instrument, Token, UniswapV2Share, UniswapV3Liquidity, WrappedToken
from riskschema.portfolio import Aside, CollateralTerm, NoLiquidation, Portfolio, Position, Silo, WeightedCollateral

UNMAPPED = "eip155:"
"""How the factor of a token begins that no settings map to one: its CAIP-19 id."""


def set_spare_aside(portfolio: Portfolio) -> Portfolio:
    """Return a portfolio without the holdings of unmapped tokens that back nothing; they are named in `aside`."""
    silos: list[Silo] = []
    aside = list(portfolio.aside)
    for silo in portfolio.silos:
        spare = [_is_spare(silo, place) for place in range(len(silo.positions))]
        aside += [_named(silo, position) for position, each in zip(silo.positions, spare, strict=True) if each]
        if not all(spare):
            silos.append(_without(silo, spare) if any(spare) else silo)
    if len(aside) == len(portfolio.aside):
        return portfolio
    return msgspec.structs.replace(portfolio, silos=tuple(silos), aside=tuple(aside))


def _is_spare(silo: Silo, place: int) -> bool:
    position = silo.positions[place]
    if position.quantity <= 0 or not any(name.startswith(UNMAPPED) for name in _factors(position.instrument)):
        return False
    if not any(each.quantity < 0 for each in silo.positions):
        return isinstance(silo.rule, WeightedCollateral | NoLiquidation)
    return isinstance(silo.rule, WeightedCollateral) and not silo.rule.terms[place].weight


def _factors(instrument: Instrument) -> tuple[str, ...]:
    """Return the factors of what can be sent to somebody; of other instruments none."""
    if isinstance(instrument, Token | WrappedToken):
        return (instrument.factor,)
    if isinstance(instrument, Claim):
        return (instrument.token.factor,)
    if isinstance(instrument, UniswapV2Share | UniswapV3Liquidity):
        return instrument.token0.factor, instrument.token1.factor
    return ()


def _without(silo: Silo, spare: list[bool]) -> Silo:
    positions = tuple(position for position, each in zip(silo.positions, spare, strict=True) if not each)
    rule = silo.rule
    if isinstance(rule, WeightedCollateral):
        terms: tuple[CollateralTerm, ...] = tuple(
            term for term, each in zip(rule.terms, spare, strict=True) if not each
        )
        rule = msgspec.structs.replace(rule, terms=terms)
    return msgspec.structs.replace(silo, positions=positions, rule=rule)


def _named(silo: Silo, position: Position) -> Aside:
    names = " and ".join(_factors(position.instrument))
    return Aside(
        chain_id=silo.chain_id,
        venue=silo.venue,
        market=silo.market,
        account=silo.account,
        code=Flag.UNPRICED,
        detail=f"{position.quantity.wire()} base units of {names}, which no [[chains.assets]] table maps",
    )
