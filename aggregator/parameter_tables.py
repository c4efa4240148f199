"""The tables of the parameter file, one after the other: which keys they have, and the range of each."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from riskschema.instruments import FactorId, PegKind

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0, le=1e15)]
Move = Annotated[float, Meta(gt=-1.0, le=10.0)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
PartsPerMillion = Annotated[int, Meta(ge=0, le=1_000_000)]


Section = TypeVar("Section")


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: no key more, none less."""


class ByGroup(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One positive number per asset group."""

    btc: Positive
    eth: Positive
    large: Positive
    other: Positive
    stablecoin: Positive

    def of(self, group: str) -> float:
        """Return the number of `group`."""
        return float(getattr(self, group))


class Horizon(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far ahead margin and probability look."""

    hours: Annotated[int, Meta(ge=24, le=24)]


class Paths(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which days of history are replayed, and what stands in for missing history."""

    stride_hours: Count
    maximum_blocks: Annotated[int, Meta(ge=100, le=4000)]
    minimum_history_hours: Count
    reference_parts_per_hour: Annotated[int, Meta(ge=1, le=60)]
    reference_correlation: Share
    largest_log_move: Annotated[float, Meta(gt=0.0, le=300.0)]


class Leading(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One factor per asset group: what its members follow."""

    btc: FactorId
    eth: FactorId
    large: FactorId
    other: FactorId
    stablecoin: FactorId

    def of(self, group: str) -> FactorId:
        """Return the factor that `group` follows."""
        return str(getattr(self, group))


class Proxy(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in for a factor without history."""

    volatility_quartile: Annotated[int, Meta(ge=0, le=4)]
    volatility_multiplier: Positive
    fewest_hours: Count
    """Of a factor's own, from which on they count."""
    prior_hours: Positive
    """After so many hours of its own, these weigh half of its variance."""
    smallest_own_share: Share
    leading: Leading
    beta: ByGroup


class Peg(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the pegs of one kind move and break, and what selling the asset for its underlying costs."""

    daily_volatility: Share
    """At parity."""
    discount_volatility: Share
    """Of a day, per square root of |ln(price / parity)|: the variance of a peg grows with its distance from parity."""
    usual_discount: Share
    """No peg is taken to be nearer to parity, nor farther where nobody knows: an index is not told, or no price."""
    breaks: Annotated[tuple[Move, ...], Meta(min_length=1)]
    half_spread: Share
    impact_per_million: Positive
    hourly_volume: Positive


class PegCrisis(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A block of a published crisis: the ratio at each hour's end over the ratio before."""

    name: str
    kind: PegKind
    closes: Annotated[tuple[Positive, ...], Meta(min_length=24, max_length=24)]


class Pegs(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pegs by kind, and their crises."""

    staking: Peg
    wrapped_bitcoin: Peg
    dollar: Peg
    crises: tuple[PegCrisis, ...]

    def of(self, kind: str) -> Peg:
        """Return the pegs of `kind`."""
        found: Peg = getattr(self, kind)
        return found


class Oracles(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What venues' oracles do where nobody said, and how wrong one answer may be."""

    wrong_answers: tuple[Move, ...]
    deviation: ByGroup
    heartbeat: ByGroup


class PerGroup(Table, Generic[Section], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table per asset group."""

    btc: Section
    eth: Section
    large: Section
    other: Section
    stablecoin: Section

    def of(self, group: str) -> Section:
        """Return the table of `group`."""
        found: Section = getattr(self, group)
        return found


class Mixture(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of the components of the volatility forecast; they sum to 1."""

    fast: Share
    middle: Share
    slow: Share
    garch: Share
    realised: Share


class Garch(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Coefficients of the hourly GJR-GARCH recursion."""

    alpha: Share
    gamma: Share
    beta: Share


class Realised(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Coefficients of the realised variances of a day, a week and a month, and of the long-run level."""

    level: Share
    day: Share
    week: Share
    month: Share


class Volatility(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The volatility forecast."""

    fast_half_life_hours: Positive
    half_life_hours: Positive
    slow_half_life_hours: Positive
    long_run_half_life_hours: Positive
    warm_up_hours: Count
    daily_rise_cap: Positive
    mixture: PerGroup[Mixture]
    garch: PerGroup[Garch]
    realised: PerGroup[Realised]
    implied_share: PerGroup[Share]
    implied_ratio: ByGroup
    default_annual: ByGroup
    floor_annual: ByGroup


class Thresholds(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Annual volatility at which normal, turbulent and stressed begin, for the assets that make the market."""

    btc: tuple[Positive, Positive, Positive]
    eth: tuple[Positive, Positive, Positive]


class Regime(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Regime thresholds with hysteresis."""

    leave_below: Share
    leave_hours: Count
    thresholds: Thresholds


class Correlation(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How correlation is measured and stressed."""

    half_life_days: Positive
    shrinkage: Share
    largest_mean: Share
    smallest_eigenvalue: Positive
    target: Share
    toward: Share


class Shortfall(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Expected shortfall, its share beside stress, and its long-run floor."""

    tail_percent: Annotated[int, Meta(ge=1, le=50)]
    forecast_share: Share
    long_run_floor: Share


class DeltaFloor(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The margin that no model can net away."""

    net: Share
    hedged: Share


class Grid(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deterministic scenarios."""

    z: Positive
    long_run_share: Share
    joint_parts: Annotated[int, Meta(ge=1, le=100)]
    joint_moves: tuple[int, ...]
    against_others_divisor: Positive
    largest_fall: Annotated[float, Meta(gt=0.0, lt=1.0)]
    volatility_up: Share
    volatility_down: Share
    reference_tenor_days: Positive
    short_tenor_power: Share
    long_tenor_power: Share
    shortest_tenor_days: Positive
    smallest_volatility_factor: Share
    smallest_volatility: Positive
    minimum_shocked_volatility: Positive
    tail_moves: tuple[Move, ...]
    skew: Share
    skew_reach: Positive


class Crisis(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each group returned in 24 hours of a crisis."""

    name: str
    btc: Move
    eth: Move
    large: Move
    other: Move
    stablecoin: Move
    staking: Move = 0.0
    wrapped_bitcoin: Move = 0.0

    def of(self, group: str) -> float:
        """Return the move of a group, or of a kind of peg (a dollar's is that of the stablecoins)."""
        return float(getattr(self, "stablecoin" if group == "dollar" else group))


class Stress(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stress set, replayed unscaled."""

    crises: tuple[Crisis, ...]


class Liquidity(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cost of unwinding."""

    smallest_hourly_volume: Positive
    participation: Share
    half_spread: ByGroup
    impact_per_million: ByGroup
    hourly_volume: ByGroup


class Concentration(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cost of being too large a part of a market."""

    threshold: Share
    factor: Positive
    days_of_volume: Positive


class Offsets(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credits for netting between silos."""

    within_chain: Share
    across_chains: Share


class Margin(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Maintenance against initial margin."""

    maintenance_share: Share


class Grades(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Upper bound of the probability of each grade, in parts per million."""

    A: PartsPerMillion
    BBB: PartsPerMillion
    BB: PartsPerMillion
    B: PartsPerMillion
    CCC: PartsPerMillion
    C: PartsPerMillion


class ProbabilityModel(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From touches to a probability."""

    tail_paths: Count
    tail_index: Positive
    score_decades: Annotated[int, Meta(ge=1, le=12)]
    published_floor_ppm: PartsPerMillion
    unfollowed_floor_ppm: PartsPerMillion
    full_weight_debt_usd: Positive
    interval_deviations: Positive
    grades: Grades


class Liquidation(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the liquidation walk."""

    maximum_repayments: Count
