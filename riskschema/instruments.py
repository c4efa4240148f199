"""Instruments: everything that has a unit value in US dollars.

Identity is structural: equal instruments of different accounts are one row of the risk arrays. State that all accounts
share at the pinned block (an index, a borrow rate) is therefore part of the instrument.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from riskschema.units import Address, Wad

FactorId = Annotated[str, Meta(min_length=1, max_length=120)]
"""A risk factor: the asset whose US-dollar price moves (``ETH``), or a CAIP-19 asset id when nobody has mapped it."""

PegKind = Literal["staking", "wrapped_bitcoin", "dollar"]
"""What keeps a pegged asset at underlying x index, and so how it may fail: validators' queue, custodian, issuer."""
PEG_KINDS: tuple[PegKind, ...] = get_args(PegKind)

Symbol = Annotated[str, Meta(max_length=32)]
Decimals = Annotated[int, Meta(ge=0, le=77)]
ChainId = Annotated[int, Meta(ge=1, le=2**53)]
Timestamp = Annotated[int, Meta(ge=0, le=2**53)]
VenueId = Annotated[str, Meta(max_length=256, pattern="^[a-z0-9_]{1,64}:[1-9][0-9]{0,15}:[!-~]{1,128}$")]
"""A deployment of a protocol: protocol, chain id and what names the deployment there (``aave_v3:1:0x2f39…``)."""
MarketId = Annotated[str, Meta(max_length=128)]
"""A part of a venue that stands alone (Morpho: one market); empty where the venue is one market."""
Tick = Annotated[int, Meta(ge=-887_272, le=887_272)]


class Token(
    msgspec.Struct,
    frozen=True,
    gc=False,
    cache_hash=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="token",
):
    """A fungible token, or a chain's own coin (address zero). Quantity: base units."""

    chain_id: ChainId
    address: Address
    symbol: Symbol = ""
    """For people; not part of any calculation."""
    decimals: Decimals
    factor: FactorId


class WrappedToken(
    msgspec.Struct,
    frozen=True,
    gc=False,
    cache_hash=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="wrapped_token",
):
    """A staked, wrapped or bridged token: underlying x index x peg. Quantity: base units of the wrapper."""

    token: Token
    underlying: Token
    index: Wad
    """Units of the underlying per unit of the token, as the contract says at the pinned block."""
    peg: PegKind | None = None
    """How the market price of the token may leave underlying x index; null: as is usual for the underlying's group."""

    def __post_init__(self) -> None:
        """Refuse a negative index."""
        _not_negative("index", self.index)

    @property
    def chain_id(self) -> ChainId:
        """Return the token's chain."""
        return self.token.chain_id

    @property
    def address(self) -> Address:
        """Return the token's address."""
        return self.token.address

    @property
    def symbol(self) -> Symbol:
        """Return the token's symbol."""
        return self.token.symbol

    @property
    def decimals(self) -> Decimals:
        """Return the token's decimals."""
        return self.token.decimals

    @property
    def factor(self) -> FactorId:
        """Return the token's own factor."""
        return self.token.factor


Asset = Token | WrappedToken
"""What can be held, lent, owed or pooled."""


class Claim(
    msgspec.Struct,
    frozen=True,
    gc=False,
    cache_hash=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="claim",
):
    """An interest-bearing claim on a token lent to a venue. Quantity: base units of the token at the pinned block."""

    token: Asset
    venue: VenueId
    market: MarketId = ""
    annual_rate: Wad = msgspec.field(default_factory=Wad.zero)
    """Supply rate at the pinned block, simple, per year of 365 days."""

    def __post_init__(self) -> None:
        """Refuse a rate no venue pays."""
        _not_negative("annual_rate", self.annual_rate)


class Debt(
    msgspec.Struct,
    frozen=True,
    gc=False,
    cache_hash=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="debt",
):
    """A token owed to a venue. Quantity: negative, base units of the token at the pinned block."""

    token: Asset
    venue: VenueId
    market: MarketId = ""
    annual_rate: Wad = msgspec.field(default_factory=Wad.zero)
    """Borrow rate at the pinned block, simple, per year of 365 days."""

    def __post_init__(self) -> None:
        """Refuse a rate no venue charges."""
        _not_negative("annual_rate", self.annual_rate)


class Perpetual(
    msgspec.Struct,
    frozen=True,
    gc=False,
    cache_hash=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="perpetual",
):
    """A perpetual future; its entry price is not part of the identity.

    Quantity: 10^-18 of the base asset (linear) or of one quote unit (inverse).
    """

    venue: VenueId
    market: MarketId
    base: FactorId
    quote: FactorId
    payoff: Literal["linear", "inverse"]
    annual_funding_rate: Wad = msgspec.field(default_factory=Wad.zero)
    """Paid by longs to shorts, per year of 365 days, as a share of notional."""


class Future(
    msgspec.Struct,
    frozen=True,
    gc=False,
    cache_hash=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="future",
):
    """A dated future. Quantity: 10^-18 of the base asset (linear) or of one quote unit (inverse)."""

    venue: VenueId
    market: MarketId
    base: FactorId
    quote: FactorId
    payoff: Literal["linear", "inverse"]
    expiry: Timestamp


class Option(
    msgspec.Struct,
    frozen=True,
    gc=False,
    cache_hash=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="option",
):
    """A European option. Quantity: 10^-18 of the underlying."""

    venue: VenueId
    market: MarketId
    underlying: FactorId
    quote: FactorId
    right: Literal["call", "put"]
    strike: Wad
    expiry: Timestamp

    def __post_init__(self) -> None:
        """Refuse a strike that no option has."""
        if self.strike <= 0:
            raise ValueError(f"strike must be positive, got {self.strike.wire()}")


class UniswapV2Share(
    msgspec.Struct,
    frozen=True,
    gc=False,
    cache_hash=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="uniswap_v2_share",
):
    """A share of a constant-product pool; ``liquidity_per_share`` is sqrt(reserve0·reserve1)/supply in base units.

    Quantity: base units of the share.
    """

    chain_id: ChainId
    pool: Address
    token0: Asset
    token1: Asset
    liquidity_per_share: Wad

    def __post_init__(self) -> None:
        """Refuse negative liquidity."""
        _not_negative("liquidity_per_share", self.liquidity_per_share)


class UniswapV3Liquidity(
    msgspec.Struct,
    frozen=True,
    gc=False,
    cache_hash=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="uniswap_v3_liquidity",
):
    """Concentrated liquidity in a tick range. Quantity: units of liquidity L."""

    chain_id: ChainId
    pool: Address
    token0: Asset
    token1: Asset
    tick_lower: Tick
    tick_upper: Tick

    def __post_init__(self) -> None:
        """Refuse an empty or inverted range."""
        if self.tick_lower >= self.tick_upper:
            raise ValueError(f"tick_lower must be below tick_upper, got {self.tick_lower} and {self.tick_upper}")


Instrument = Token | Claim | Debt | Perpetual | Future | Option | UniswapV2Share | UniswapV3Liquidity | WrappedToken


@lru_cache(maxsize=1_024)
def venue_id(protocol: str, chain_id: int, deployment: str) -> VenueId:
    """Return the name of a deployment."""
    return f"{protocol}:{chain_id}:{deployment}"


def protocol_of(venue: VenueId) -> str:
    """Return the protocol of a venue: ``aave_v3``."""
    return venue.partition(":")[0]


@lru_cache(maxsize=1_024)
def chain_of(venue: VenueId) -> int:
    """Return the chain id of a venue."""
    return int(venue.split(":", 2)[1])


def _not_negative(name: str, value: Wad) -> None:
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value.wire()}")
