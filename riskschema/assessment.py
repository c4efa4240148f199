"""The result for one subject: integers with units, and an explanation that adds up."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from riskschema.flags import Flag
from riskschema.instruments import ChainId, FactorId, MarketId, VenueId
from riskschema.portfolio import BlockReference, SiloId, Unread
from riskschema.units import Address, Amount, Probability, Usd, Wad

Grade = Literal["A", "BBB", "BB", "B", "CCC", "C", "D"]
GRADES: tuple[Grade, ...] = get_args(Grade)
"""From the safest to what is liquidatable now."""
MAX_SCORE = 1000
Score = Annotated[int, Meta(ge=0, le=MAX_SCORE)]


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


Uncovered = Literal["size", "hedges_apart", "blind_oracle", "scenario", "rare_loss"]


class ProbabilityInterval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Bounds of an estimate: 95 % of samples of as many days lie within (Wilson's score interval)."""

    estimate: Probability
    """The probability before its published floor; 1 where a silo is liquidatable now."""
    low: Probability
    """Rounded down."""
    high: Probability
    """Rounded up; 1 where something owed cannot be followed."""


class LiquidationPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The price of one factor, all others unchanged, at which a silo becomes liquidatable."""

    factor: FactorId
    """The asset whose price it is."""
    price: Wad
    direction: Literal["fall", "rise"]
    """``fall``: liquidatable below this price; ``rise``: above it."""
    distance: Wad
    """Signed share of the agreed price: -0.2 is 20 % below it. A `fall` above it or a `rise` below it has happened."""
    within_reach: bool
    """Passed already, or no farther than the factor's range R (docs/risk-model.md, section 6)."""


class SiloAssessment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One silo on its own."""

    id: SiloId
    """Name of the silo, unique within the account."""
    venue: VenueId
    """The protocol deployment."""
    chain_id: ChainId
    """On which chain."""
    market: MarketId
    """The market within the venue; empty where there is one."""
    health: Wad | None
    """The venue's own figure, unchanged from the portfolio."""
    equity: Usd
    """What is held minus what is owed in this silo."""
    distance: Wad | None
    """Share of its value that all collateral may lose against the debts before the venue liquidates: 1 - 1/health.
    Negative when it can already; null where nothing is owed."""
    initial_margin: Usd
    """Required if the silo stood alone."""
    liquidation_probability: Probability
    """Of this silo within 24 hours; an upper bound."""
    liquidation_prices: tuple[LiquidationPrice, ...]
    """Per factor, the price at which it becomes liquidatable; none where no price does it."""


class Contribution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A part of the initial margin; all parts of an assessment sum to it exactly."""

    kind: ContributionKind
    """What the silos lose together (the first five), by silo and factor; then what is added to it. `hedge_not_credited`
    is what hedges between silos would save if collateral were shared: a cost, never a saving."""
    silo: SiloId | None
    """Where it comes from; null for what concerns all silos."""
    factor: FactorId | None
    """Whose price move it is; null for what concerns all factors."""
    amount: Usd
    """US dollars; negative lowers the margin."""


class Assessment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Risk of one subject across all venues."""

    subject: Address
    """The account."""
    score: Score
    """0 is safest, 1000 certain to be liquidated within 24 hours; half a decade of probability is 125 points."""
    grade: Grade
    """The score in words, from A to C; D is already liquidatable."""
    liquidation_probability: Probability
    """Of any silo within 24 hours; an upper bound, never below 0.003: data proves nothing finer."""
    probability_interval: ProbabilityInterval
    """How sure the estimate is."""
    insolvency_probability: Probability
    """Of debts exceeding collateral after liquidation in any silo, within 24 hours."""
    expected_loss: Usd
    """What liquidators take beyond what they repay, the mean over the replayed days."""
    equity: Usd
    """What is held minus what is owed, in all silos."""
    initial_margin: Usd
    """Needed to open the portfolio; the parts of the explanation sum to it."""
    base_margin: Usd
    """The part of the initial margin that does not grow faster than the portfolio: what silos may lose together."""
    add_ons: Usd
    """The other part, for size: liquidity, concentration and the oracles' confidence."""
    uncovered: Uncovered | None
    """Why the initial margin exceeds the equity though a liquidation is as unlikely as data can show; else null.
    `size`: without add-ons it would not. `hedges_apart`: nor if all silos shared their collateral. `blind_oracle`: a
    venue does not see the price that may fall. `scenario`: no replayed day is as bad as the worst scenario.
    `rare_loss`: only the worst days cost as much."""
    maintenance_margin: Usd
    """Below it the portfolio should be closed."""
    siloed_margin: Usd
    """If every silo stood alone."""
    net_margin: Usd
    """If all silos shared their collateral."""
    static_margin: Usd
    """What fixed percentages of gross positions would ask, for comparison."""
    worst_grid_loss: Usd
    """Largest loss in the deterministic scenarios."""
    worst_scenario: str
    """Which scenario that is."""
    min_health: Wad | None
    """Lowest health of a silo; null where nothing is owed."""
    silos: tuple[SiloAssessment, ...]
    """Each silo on its own."""
    explanation: tuple[Contribution, ...]
    """Parts of the initial margin."""
    flags: tuple[Flag, ...]
    """Sorted: reasons to read this with care (`riskschema.flags`)."""
    unread: tuple[Unread, ...]
    """What could not be read: unknown, never zero."""
    blocks: tuple[BlockReference, ...]
    """The blocks at which the chains were read."""


Action = Literal["repay", "add", "close"]
"""Repay debts, add collateral, sell collateral to repay debts."""


class ImprovementPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to one position."""

    symbol: str
    """What people call the asset."""
    decimals: Annotated[int, Meta(ge=0, le=255)]
    """A whole unit is 10^decimals base units."""
    quantity: Amount
    """Base units; positive: collateral comes or a debt shrinks, negative: collateral goes."""


class Improvement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The smallest single change of its kind that earns a better grade, and what it would earn."""

    action: Action
    """Repay debts, add collateral, or close: sell collateral to repay debts."""
    silo: SiloId | None
    """Where; null: in all silos at once."""
    parts: tuple[ImprovementPart, ...]
    """Position by position."""
    value: Usd
    """What is paid or repaid, at the venue's prices."""
    grade: Grade
    """Of the account that it leads to."""
    score: Score
    """Of the account that it leads to."""
