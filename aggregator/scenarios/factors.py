"""What each factor is: what it stands for, what it is pegged to, what it costs. The same whoever is assessed.

An asset that is staked, wrapped or a dollar is *underlying x index x peg*, and the peg is a factor of its own: it is
called ``STETH / ETH``, or ``USDC`` where the underlying is a dollar.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from aggregator.parameters import Parameters
from riskschema.instruments import PEG_KINDS, Asset, FactorId, PegKind, WrappedToken
from riskschema.market import Factor, FactorQuote, MarketState
from riskschema.portfolio import USD
from riskschema.units import WAD, Wad

FIRST_UNLISTED_STREAM = 0x1_0000_0000
"""Streams of factors that are not listed lie above all that a list can number."""

USUAL_PEGS: Mapping[str, PegKind] = {"btc": "wrapped_bitcoin", "stablecoin": "dollar"}
"""Kind of the peg of a wrapped token whose kind nobody says, by the group of what it wraps; else staking."""


OVER = " / "
"""Between an asset and what it is pegged to in the name of its peg; asset ids (CAIP-19) have slashes without spaces."""


class Legs(NamedTuple):
    """The factors whose product an asset's price moves with."""

    base: FactorId
    """What stands for itself: ``ETH``, ``USD``."""
    peg: FactorId | None
    """What the market pays over underlying x index; none where the asset is the base."""

    @property
    def moving(self) -> tuple[FactorId, ...]:
        """Return the factors that are no dollars."""
        return tuple(name for name in self if name not in (None, USD))


class Worth(NamedTuple):
    """Price of a whole unit: US dollars x index, both in 10^-18."""

    price: int
    units: int


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The factor list and the agreed prices, as the engine asks them."""

    factors: dict[FactorId, Factor]
    """Listed, or quoted without being listed."""
    quoted: frozenset[FactorId]
    """Factors with an agreed price of their own."""
    prices: dict[FactorId, Wad]
    """Agreed; of what is at parity with its underlying also where it has no quote of its own."""

    def legs(self, asset: Asset | FactorId) -> Legs:
        """Return what an asset, or a factor by its name, moves with."""
        if isinstance(asset, WrappedToken):
            return self._wrapped(asset)
        name = asset if isinstance(asset, str) else asset.factor
        factor = self.factors.get(name)
        if factor is None or factor.underlying is None:
            return Legs(name, None)
        if factor.underlying == USD:
            return Legs(USD, name)
        if factor.underlying not in self.prices:  # nothing is known of what it follows: it stands for itself
            return Legs(name, None)
        base = self.legs(factor.underlying)
        return base if factor.peg is None else Legs(base.base, f"{name}{OVER}{base.base}")

    def worth(self, asset: Asset | FactorId) -> Worth | None:
        """Return the price of a whole unit; None where nobody quotes it or what it is an index of."""
        name = asset if isinstance(asset, str) else asset.factor
        if name == USD:
            return Worth(WAD, WAD)
        if isinstance(asset, WrappedToken) and (name == asset.underlying.factor or name not in self.prices):
            underlying = self.worth(asset.underlying.factor)
            return underlying and Worth(underlying.price, asset.index * underlying.units // WAD)
        return Worth(self.prices[name], WAD) if name in self.prices else None

    def unquoted(self, asset: Asset | FactorId) -> FactorId | None:
        """Return the factor that should be quoted for the asset to have a price; None where it has one."""
        if self.worth(asset) is not None:
            return None
        return asset.underlying.factor if isinstance(asset, WrappedToken) else self._name(asset)

    def peg_kind(self, name: FactorId) -> PegKind:
        """Return how a peg may fail: as listed, as the instrument said, or as is usual for what it follows."""
        asset, base = sides(name)
        listed = self._listed_kind(asset)
        if listed is not None:
            return listed
        said = asset.rpartition(".")[2]
        return next((kind for kind in PEG_KINDS if kind == said), self._usual_kind(base))

    def stream(self, name: FactorId) -> int:
        """Return the number of a factor's own noise; of a peg, that of the asset."""
        factor = self.factors.get(sides(name)[0])
        return factor.stream if factor is not None else _unlisted_stream(name)

    def price(self, name: FactorId) -> Wad:
        """Return the price of a leg: of a peg, what the asset costs over what it follows (1 where nobody says)."""
        if name == USD:
            return Wad(WAD)
        if name in self.prices:
            return self.prices[name]
        asset, base = sides(name)
        if asset in self.prices and base in self.prices:
            return Wad(self.prices[asset] * WAD // self.prices[base])
        return Wad(WAD)

    def level(self, name: FactorId) -> float | None:
        """Return what a pegged asset costs over what it stands for; None without a quote, or with an index not told."""
        asset, base = sides(name)
        if asset not in self.quoted or (base and not self.at_parity(asset, base)):
            return None
        return self.price(name) / WAD

    def at_parity(self, name: FactorId, base: FactorId) -> bool:
        """Tell whether one unit is one of the base by construction, through whatever lies between."""
        factor = self.factors.get(name)
        if name == base or factor is None or not factor.parity or factor.underlying is None:
            return name == base
        return self.at_parity(factor.underlying, base)

    def _listed_kind(self, name: FactorId) -> PegKind | None:
        """Return the kind of a listed factor's peg: its own, or that of what it is exchanged for."""
        factor = self.factors.get(name)
        if factor is None or factor.peg is not None or factor.underlying is None:
            return factor.peg if factor else None
        return self._listed_kind(factor.underlying)

    def _usual_kind(self, base: FactorId) -> PegKind:
        factor = self.factors.get(base)
        if base in ("", USD):
            return "dollar"
        return USUAL_PEGS.get(factor.group, "staking") if factor else "staking"

    def _wrapped(self, asset: WrappedToken) -> Legs:
        own = self.factors.get(asset.token.factor)
        below = self.legs(asset.underlying.factor)
        if own is not None and own.underlying is not None:
            return self.legs(asset.token.factor)
        if below.peg is not None and asset.peg is None:  # exchanged for something pegged, whose peg it shares
            return below
        usual = self._usual_kind(below.base)
        name = asset.token.factor if asset.token.factor != asset.underlying.factor else f"wrapped.{asset.peg or usual}"
        said = f".{asset.peg}" if asset.peg not in (None, usual) and name == asset.token.factor else ""
        return Legs(below.base, f"{name}{said}{OVER}{below.base}")

    @staticmethod
    def _name(asset: Asset | FactorId) -> FactorId:
        return asset if isinstance(asset, str) else asset.factor


def sides(name: FactorId) -> tuple[FactorId, FactorId]:
    """Return the asset and the base of a peg by its name; of any other factor itself, and nothing."""
    asset, _, base = name.partition(OVER)
    return asset, base


def listing(market: MarketState, parameters: Parameters) -> Listing:
    """Return what is known of every factor: the list, then what is quoted without being listed."""
    factors = {factor.name: factor for factor in parameters.factors}
    for quote in market.quotes:
        factors.setdefault(quote.factor, _unlisted(quote))
    prices = {quote.factor: quote.price for quote in market.quotes}
    for factor in parameters.factors:
        if factor.parity and factor.name not in prices and factor.underlying in prices:
            prices[factor.name] = prices[factor.underlying]
    return Listing(factors=factors, quoted=frozenset(quote.factor for quote in market.quotes), prices=prices)


def _unlisted(quote: FactorQuote) -> Factor:
    """Return what a quote says of a factor that is not listed: a stablecoin is a dollar."""
    dollar = quote.group == "stablecoin" and quote.factor != USD
    return Factor(
        name=quote.factor,
        group=quote.group,
        stream=_unlisted_stream(quote.factor),
        underlying=USD if dollar else None,
        peg="dollar" if dollar else None,
    )


def _unlisted_stream(name: str) -> int:
    return FIRST_UNLISTED_STREAM + int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
