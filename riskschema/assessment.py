"""The result for one subject: integers with units, and an explanation that adds up."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from riskschema.instruments import ChainId, FactorId, MarketId, VenueId
from riskschema.portfolio import BlockReference, SiloId, Unread
from riskschema.units import Address, Probability, Usd, Wad

Grade = Literal["A", "BBB", "BB", "B", "CCC", "C", "D"]
Score = Annotated[int, Meta(ge=0, le=1000)]


ContributionKind = Literal[
    "expected_shortfall",
    "stress",
    "grid",
    "delta_floor",
    "long_run_floor",
    "hedge_not_credited",
    "liquidity",
    "concentration",
    "oracle",
    "rounding",
]


class LiquidationPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of one factor, all others unchanged, at which a silo becomes liquidatable."""

    factor: FactorId
    price: Wad
    direction: Literal["fall", "rise"]
    """``fall``: liquidatable below this price; ``rise``: above it."""
    distance: Wad
    """Signed share of the agreed price: -0.2 is 20 % below it. A `fall` above it or a `rise` below it has happened."""
    within_reach: bool
    """Passed already, or no farther than the factor's range R (docs/risk-model.md, section 6)."""


class SiloAssessment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One silo on its own."""

    id: SiloId
    venue: VenueId
    chain_id: ChainId
    market: MarketId
    health: Wad | None
    """The venue's own figure, unchanged from the portfolio."""
    equity: Usd
    initial_margin: Usd
    """Required if the silo stood alone."""
    liquidation_probability: Probability
    liquidation_prices: tuple[LiquidationPrice, ...]


class Contribution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the initial margin; all parts of an assessment sum to it exactly."""

    kind: ContributionKind
    """What the silos lose together (the first five), by silo and factor; then what is added to it. `hedge_not_credited`
    is what hedges between silos would save if collateral were shared: a cost, never a saving."""
    silo: SiloId | None
    factor: FactorId | None
    amount: Usd


class Assessment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Risk of one subject across all venues."""

    subject: Address
    score: Score
    """0 is safest, 1000 certain to be liquidated within 24 hours; half a decade of probability is 125 points."""
    grade: Grade
    liquidation_probability: Probability
    """Of any silo within 24 hours; an upper bound, never below 0.003: data proves nothing finer."""
    insolvency_probability: Probability
    expected_loss: Usd
    equity: Usd
    initial_margin: Usd
    maintenance_margin: Usd
    siloed_margin: Usd
    net_margin: Usd
    static_margin: Usd
    worst_grid_loss: Usd
    worst_scenario: str
    min_health: Wad | None
    silos: tuple[SiloAssessment, ...]
    explanation: tuple[Contribution, ...]
    flags: tuple[str, ...]
    """Sorted reason codes: simulated history, short history, unpriced factor, unread venue, stale quote ..."""
    unread: tuple[Unread, ...]
    blocks: tuple[BlockReference, ...]
