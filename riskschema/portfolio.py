"""What a subject holds and owes, silo by silo, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from riskschema.instruments import (
    ChainId,
    Claim,
    Debt,
    FactorId,
    Instrument,
    MarketId,
    Timestamp,
    Token,
    UniswapV2Share,
    UniswapV3Liquidity,
    VenueId,
    WrappedToken,
    chain_of,
)
from riskschema.units import WAD, Address, Amount, Hash32, Wad

USD = "USD"
"""The numeraire of venues that price in US dollars."""

OracleKind = Literal["market", "exchange_rate", "capped", "fixed"]
"""What an oracle follows: the market price; underlying x index, blind to the peg; the same with an index that may not
grow too fast; nothing."""

SiloId = Annotated[str, Meta(min_length=1, max_length=256)]


class Position(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A signed quantity of an instrument; negative is owed or short."""

    instrument: Instrument
    quantity: Amount

    def __post_init__(self) -> None:
        """Refuse a debt that is held and a claim or a liquidity range that is owed."""
        if isinstance(self.instrument, Debt) and self.quantity > 0:
            raise ValueError(f"quantity of a debt must be negative or 0, got {self.quantity.wire()}")
        if isinstance(self.instrument, Claim | UniswapV2Share | UniswapV3Liquidity) and self.quantity < 0:
            kind = self.instrument.__struct_config__.tag
            raise ValueError(f"quantity of a {kind} must not be negative, got {self.quantity.wire()}")


class VenueOracle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a venue's oracle follows, and when it answers anew. Its answer is the `price` of the term."""

    kind: OracleKind = "market"
    """The market price; the exchange rate (underlying x index, blind to the peg); the same capped; nothing (fixed)."""
    age: Annotated[int, Meta(ge=0, le=2**31)] = 0
    """Seconds from the oracle's last update to the pinned block."""
    deviation: Wad | None = None
    """Relative move of the market that makes it answer anew (0.005 is 0.5 %); null: usual for the factor's group."""
    heartbeat: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    """Seconds after which it answers anew anyway; null: usual for the factor's group."""

    def __post_init__(self) -> None:
        """Refuse a deviation no feed has."""
        if self.deviation is not None and not 0 <= self.deviation <= WAD:
            raise ValueError(f"deviation must be between 0 and 1 (0.005 is 0.5 %), got {self.deviation.wire()}")


class CollateralTerm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """How the venue's rule counts one position of the silo (same order as the positions)."""

    weight: Wad
    """Liquidation threshold of a collateral (0: held but not pledged); 1 for a debt."""
    price: Wad
    """The venue oracle's answer at the pinned block, per whole token, in the rule's numeraire."""
    liquidation_bonus: Wad = msgspec.field(default_factory=Wad.zero)
    """Extra share of the collateral a liquidator takes."""
    oracle: VenueOracle | None = None
    """Null: nothing is known of it, so it is taken to follow the market as the factor's feeds usually do."""

    def __post_init__(self) -> None:
        """Refuse what no venue's rule says, above all percentages and basis points where shares are meant."""
        if not 0 <= self.weight <= WAD:
            raise ValueError(f"weight must be between 0 and 1 (0.8 is 80 %), got {self.weight.wire()}")
        if self.price < 0:
            raise ValueError(f"price must not be negative, got {self.price.wire()}")
        if not 0 <= self.liquidation_bonus <= 10 * WAD:
            raise ValueError(
                f"liquidation_bonus must be between 0 and 10 (0.05 is 5 %), got {self.liquidation_bonus.wire()}"
            )


class WeightedCollateral(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    gc=False,
    tag_field="kind",
    tag="weighted_collateral",
):
    """Liquidatable when Σ weight·collateral value < Σ debt value, at the venue's own oracle (as in Aave, Morpho)."""

    numeraire: FactorId
    """``USD``, or the factor in which the venue's oracle quotes (Morpho: the loan asset)."""
    numeraire_oracle: OracleKind | None = None
    """How the venue's oracle sees the numeraire: ``fixed`` where it takes a dollar token for a dollar. Null: nothing is
    known of it, so it is taken to follow the market."""
    terms: tuple[CollateralTerm, ...]
    close_factor: Wad = msgspec.field(default_factory=Wad.one)
    """Largest share of a debt that one liquidation repays."""

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 <= self.close_factor <= WAD:
            raise ValueError(f"close_factor must be between 0 and 1, got {self.close_factor.wire()}")


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

    def __post_init__(self) -> None:
        """Refuse fractions no venue asks."""
        for index, fraction in enumerate(self.fractions):
            if not 0 <= fraction <= 10 * WAD:
                raise ValueError(f"fractions[{index}] must be between 0 and 10 (0.05 is 5 %), got {fraction.wire()}")


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


def _per_position(rule: LiquidationRule) -> tuple[str, int] | None:
    """Return the name and length of a rule's list that has one entry per position."""
    match rule:
        case WeightedCollateral():
            return "rule.terms", len(rule.terms)
        case MarginFraction():
            return "rule.fractions", len(rule.fractions)
        case _:
            return None


RestrictionKind = Literal[
    "no_liquidation",
    "sequencer",
    "inactive",
    "paused",
    "grace_period",
    "frozen",
    "supply_capped",
    "borrow_capped",
    "deficit",
]
"""What a venue lets nobody do now: liquidate any pair of the silo; liquidate before the chain's sequencer has been up
for long enough, unless health is far below 1; do anything with an asset (inactive, paused); liquidate it yet; supply
or borrow it (frozen); supply more of it; borrow more of it. A deficit: part of what its lenders hold nobody owes."""

RESTRICTION_MEANINGS: Mapping[RestrictionKind, str] = {
    "no_liquidation": "nobody can liquidate it now",
    "sequencer": "nobody can liquidate it until the sequencer was up for long enough, unless health is far below 1",
    "inactive": "can be neither repaid, added nor withdrawn",
    "paused": "can be neither repaid, added nor withdrawn until the pause ends",
    "grace_period": "nobody can liquidate it yet",
    "frozen": "no more of it can be added or borrowed",
    "supply_capped": "no more of it can be added",
    "borrow_capped": "no more of it can be borrowed",
    "deficit": "part of what its lenders hold nobody owes",
}
"""The same in a sentence about the token, or about all of the silo."""

_STUCK = frozenset[RestrictionKind]({"inactive", "paused"})
_FULL = _STUCK | frozenset[RestrictionKind]({"frozen", "supply_capped"})


class Restriction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What cannot be done at the pinned block. It changes no figure, since it may end within the day."""

    kind: RestrictionKind
    asset: Address | None = None
    """The token concerned; null: all of the silo."""
    until: Timestamp | None = None
    """When it ends by itself, where that is known."""


class Silo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The positions that are liquidated together, and the venue's own word on their health."""

    id: SiloId
    venue: VenueId
    chain_id: ChainId
    market: MarketId = ""
    cross_margin_group: Annotated[str, Meta(max_length=128)] = ""
    """Silos of one venue with the same group share their collateral there; empty: this silo shares with none."""
    account: Address
    health: Wad | None
    """As the venue computes it, rounded as the venue rounds; below 1 is liquidatable; null where nothing is owed."""
    rule: LiquidationRule
    positions: tuple[Position, ...]
    restrictions: Annotated[tuple[Restriction, ...], Meta(max_length=2048)] = ()
    """What the venue lets nobody do with it now."""

    def __post_init__(self) -> None:
        """Refuse a venue of another chain, a health below zero, and a rule that does not fit the positions."""
        _check_chain(self.venue, self.chain_id)
        if self.health is not None and self.health < 0:
            raise ValueError(f"health must not be negative, got {self.health.wire()}")
        counted = _per_position(self.rule)
        if counted is not None and counted[1] != len(self.positions):
            raise ValueError(
                f"{counted[0]} has {counted[1]} entries for {len(self.positions)} positions: give one each, in order"
            )


class Unread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fact that nobody can read at the pinned block: the contract reverts, is paused, or is not there.

    Unknown never reads as zero: the assessment's coverage is lowered and the venue is named.
    """

    chain_id: ChainId
    """On which chain."""
    venue: VenueId
    """The protocol deployment."""
    market: MarketId
    """The market within the venue; empty where there is one."""
    account: Address
    """Whose part is unknown."""
    code: str
    """A key of `riskschema.reasons.REASONS`."""
    detail: Annotated[str, Meta(max_length=500)]
    """What the contract answered."""

    def __post_init__(self) -> None:
        """Refuse a venue of another chain."""
        _check_chain(self.venue, self.chain_id)


class Aside(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something held whose worth nobody can tell, and that backs no debt: it counts nowhere and spoils nothing.

    Anyone can send such a thing to anybody; it must not make what is known of the account worth less.
    """

    chain_id: ChainId
    """On which chain."""
    venue: VenueId
    """The protocol deployment."""
    market: MarketId
    """The market within the venue, or the NFT; empty where there is one."""
    account: Address
    """Who holds it."""
    code: str
    """A key of `riskschema.reasons.REASONS`: why its worth is unknown."""
    detail: Annotated[str, Meta(max_length=500)]
    """What it is."""

    def __post_init__(self) -> None:
        """Refuse a venue of another chain."""
        _check_chain(self.venue, self.chain_id)


class BlockReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A block by number and hash; the hash decides."""

    chain_id: ChainId
    """Of which chain."""
    number: Annotated[int, Meta(ge=0, le=2**53)]
    """Its height."""
    hash: Hash32
    """Its hash."""
    timestamp: Timestamp
    """Unix seconds in its header."""


class Portfolio(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that was read of a subject at the pinned blocks."""

    subject: Address
    blocks: tuple[BlockReference, ...] = ()
    silos: tuple[Silo, ...]
    unread: tuple[Unread, ...] = ()
    aside: tuple[Aside, ...] = ()
    """Holdings of unknown worth that back no debt: left out of every sum, no gap in what was read."""

    def __post_init__(self) -> None:
        """Refuse two silos of one id: an explanation could not tell them apart."""
        names = [silo.id for silo in self.silos]
        if len(set(names)) != len(names):
            twice = sorted(name for name in set(names) if names.count(name) > 1)
            raise ValueError(f"silos: two have the id {twice[0]!r}")


class VenueReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one adapter read for many accounts at one block."""

    venue: VenueId
    silos: tuple[Silo, ...]
    unread: tuple[Unread, ...]
    aside: tuple[Aside, ...] = ()


def _check_chain(venue: VenueId, chain_id: int) -> None:
    if chain_of(venue) != chain_id:
        raise ValueError(f"venue {venue!r} is on another chain than chain_id {chain_id}")


def is_stuck(silo: Silo, instrument: Instrument) -> bool:
    """Tell whether a position can be neither repaid nor withdrawn now."""
    return _restricted(silo, instrument, _STUCK)


def takes_no_more(silo: Silo, instrument: Instrument) -> bool:
    """Tell whether nothing can be added to a position now."""
    return _restricted(silo, instrument, _FULL)


def symbol_of(silo: Silo, restriction: Restriction) -> str:
    """Return what the token concerned is called, for people; empty where it is all of the silo."""
    for position in silo.positions:
        token = _token(position.instrument)
        if token is not None and token.address == restriction.asset:
            return token.symbol
    return restriction.asset or ""


def _restricted(silo: Silo, instrument: Instrument, kinds: frozenset[RestrictionKind]) -> bool:
    token = _token(instrument)
    return token is not None and any(each.kind in kinds and each.asset == token.address for each in silo.restrictions)


def _token(instrument: Instrument) -> Token | None:
    match instrument:
        case Claim() | Debt():
            return _token(instrument.token)
        case WrappedToken():
            return instrument.token
        case Token():
            return instrument
    return None
