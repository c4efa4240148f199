"""What an oracle follows, in the words of the schema: the market, an exchange rate, a capped one, or nothing.

A feed names what it prices. Where that is the token, or what the token is an index of, the oracle sees what the market
pays; where it is a coin that stands for itself, or something else altogether, the oracle is blind to the token's peg.
"""

from __future__ import annotations

from adapters.oracles.sources import Source
from riskschema.instruments import Asset, WrappedToken
from riskschema.portfolio import USD, OracleKind, VenueOracle

COINS = frozenset({"AVAX", "BNB", "BTC", "CELO", "ETH", "MATIC", "POL", "S", "SOL", "XDAI"})
"""What staked and wrapped tokens are taken for: no feed of these says what the market pays for one of those."""

LARGEST_AGE = 2**31


def venue_oracle(source: Source | None, token: Asset, *, timestamp: int) -> VenueOracle | None:
    """Return what a token's oracle follows; None where its contracts do not tell.

    Args:
        source: Its price as a product, from the token to what it is priced in.
        token: What it prices.
        timestamp: Of the pinned block.
    """
    kind = None if source is None else _kind(source, token)
    if source is None or kind is None:
        return None
    updated = next((leg.updated for leg in reversed(source.legs) if leg.kind == "market"), 0)
    age = timestamp - updated if kind != "fixed" and updated else 0
    return VenueOracle(kind=kind, age=min(max(age, 0), LARGEST_AGE))


def numeraire_oracle(base: Source | None, quote: Source | None, numeraire: Asset) -> OracleKind | None:
    """Return how an oracle that divides two prices sees what it quotes in; None where its contracts do not tell.

    Args:
        base: Price of the collateral as a product.
        quote: Price of what it is quoted in; without legs: taken for one unit of what `base` is priced in.
        numeraire: What it is quoted in.
    """
    if base is None or quote is None:
        return None
    if quote.legs:
        return _kind(quote, numeraire)
    if all(leg.kind == "fixed" for leg in base.legs):
        return "fixed"
    per = next((leg.per for leg in reversed(base.legs) if leg.kind == "market"), "")
    if per in names(numeraire):
        return "market"
    return "fixed" if per == USD else "exchange_rate"


def names(token: Asset) -> frozenset[str]:
    """Return what feeds may call a token, in capitals: itself, and what it is an index of unless that is a coin."""
    own = {token.symbol.upper(), token.factor.upper()}
    if isinstance(token, WrappedToken):
        own |= {token.underlying.factor.upper()} - COINS
    return frozenset(own - {""})


def _kind(source: Source, token: Asset) -> OracleKind | None:
    market = [leg for leg in source.legs if leg.kind == "market"]
    rates = any(leg.kind == "rate" for leg in source.legs)
    if not market:
        return ("capped" if source.capped else "exchange_rate") if rates else "fixed"
    if market[0].of in names(token):
        return "market"
    if source.capped:
        return "capped"
    if market[0].of:
        return "exchange_rate"
    return None if rates else "market"
