"""What a subject holds and owes, silo by silo, and what could not be read."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from riskschema.instruments import ChainId, FactorId, Instrument, MarketId, Timestamp
from riskschema.units import Address, Amount, Hash32, Wad

USD = "USD"
"""The numeraire of venues that price in US dollars."""

Venue = Annotated[str, Meta(min_length=1, max_length=64)]
SiloId = Annotated[str, Meta(min_length=1, max_length=256)]


class Position(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signed quantity of an instrument; negative is owed or short."""

    instrument: Instrument
    quantity: Amount


class CollateralTerm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the venue's rule counts one position of the silo (same order as the positions)."""

    weight: Wad
    """Liquidation threshold of a collateral (0: held but not pledged); 1 for a debt."""
    price: Wad
    """The venue oracle's answer at the pinned block, per whole token, in the rule's numeraire."""
    liquidation_bonus: Wad = msgspec.field(default_factory=Wad.zero)
    """Extra share of the collateral a liquidator takes."""


class WeightedCollateral(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="weighted_collateral",
):
    """Liquidatable when Σ weight·collateral value < Σ debt value, at the venue's own oracle (as in Aave, Morpho)."""

    numeraire: FactorId
    """``USD``, or the factor in which the venue's oracle quotes (Morpho: the loan asset)."""
    terms: tuple[CollateralTerm, ...]
    close_factor: Wad
    """Largest share of a debt that one liquidation repays."""


class MarginFraction(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="margin_fraction",
):
    """Liquidatable when equity < Σ fraction·|notional| (perpetual venues). One fraction per position, same order."""

    numeraire: FactorId
    fractions: tuple[Wad, ...]
    entry_value: Wad
    """Σ quantity·entry price of the open positions, in the numeraire: what equity is measured against."""


class PortfolioMargin(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="portfolio_margin",
):
    """Liquidatable by a venue's own portfolio-margin model, named here and implemented in aggregator/venues."""

    numeraire: FactorId
    model: str


class NoLiquidation(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="none",
):
    """Nothing can be liquidated: a wallet, liquidity that backs no debt."""


LiquidationRule = WeightedCollateral | MarginFraction | PortfolioMargin | NoLiquidation


class Silo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The positions that are liquidated together, and the venue's own word on their health."""

    id: SiloId
    venue: Venue
    chain_id: ChainId
    market: MarketId
    account: Address
    health: Wad | None
    """As the venue computes it, rounded as the venue rounds; below 1 is liquidatable; null where nothing is owed."""
    rule: LiquidationRule
    positions: tuple[Position, ...]


class Unread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fact that nobody can read at the pinned block: the contract reverts, is paused, or is not there.

    Unknown never reads as zero: the assessment's coverage is lowered and the venue is named.
    """

    chain_id: ChainId
    venue: Venue
    market: MarketId
    account: Address
    code: str
    """A key of `riskschema.reasons.REASONS`."""
    detail: Annotated[str, Meta(max_length=500)]


class BlockReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A block by number and hash; the hash decides."""

    chain_id: ChainId
    number: Annotated[int, Meta(ge=0, le=2**53)]
    hash: Hash32
    timestamp: Timestamp


class Portfolio(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that was read of a subject at the pinned blocks."""

    subject: Address
    blocks: tuple[BlockReference, ...] = ()
    silos: tuple[Silo, ...]
    unread: tuple[Unread, ...] = ()


class VenueReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one adapter read for many accounts at one block."""

    venue: Venue
    silos: tuple[Silo, ...]
    unread: tuple[Unread, ...]
