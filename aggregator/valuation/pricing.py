"""Unit values of every instrument kind in a set of columns, and their exposure to each factor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, singledispatch

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.exact.kernels import black76_each, power
from aggregator.parameter_tables import Grid
from aggregator.rule_terms import Cash, RowInstrument
from aggregator.scenarios.columns import HOURS, Columns
from aggregator.scenarios.factors import Legs, Listing
from riskschema.instruments import (
    Asset,
    Claim,
    Debt,
    FactorId,
    Future,
    Option,
    Perpetual,
    Token,
    UniswapV2Share,
    UniswapV3Liquidity,
    WrappedToken,
)
from riskschema.portfolio import USD, OracleKind
from riskschema.units import WAD

Floats = NDArray[np.float64]

YEAR_HOURS = 8760.0
YEAR_SECONDS = 31_536_000.0
YEAR_DAYS = 365.0


class Pricer(msgspec.Struct, frozen=True, kw_only=True):
    """Prices now, and the columns in which they move."""

    known: Listing
    columns: Columns
    as_of: int
    grid: Grid
    sees: OracleKind = "market"
    """Whose eyes: the market's, or those of an oracle that is blind to the peg, or to everything."""

    def price(self, asset: Asset | FactorId) -> float:
        """Return the price of a whole unit now, index included."""
        worth = self.known.worth(asset)
        if worth is None:
            raise LookupError(f"no price of {asset}")
        return (worth.price / WAD) * (worth.units / WAD)

    def ratio(self, asset: Asset | FactorId) -> Floats:
        """Return price over the price now, per column."""
        return self.product(self.seen(asset), self.columns.ratios)

    def line(self, asset: Asset | FactorId) -> Floats:
        """Return prices per column."""
        return self.price(asset) * self.ratio(asset)

    def settled(self, asset: Asset | FactorId, hour: int) -> Floats:
        """Return prices as they stay from the close of `hour` on: what an expiry settles at."""
        lines = {name: self.columns.settled(name, hour) for name in self.seen(asset)}
        return self.price(asset) * self.product(self.seen(asset), lines)

    def seen(self, asset: Asset | FactorId) -> tuple[FactorId, ...]:
        """Return the factors that move what is seen of an asset."""
        legs = self.known.legs(asset)
        if self.sees == "fixed":
            return ()
        return legs.moving if self.sees == "market" else Legs(legs.base, None).moving

    def product(self, names: Sequence[FactorId], lines: Mapping[FactorId, Floats]) -> Floats:
        """Return the product of the named lines, per column."""
        result = np.ones(self.columns.count)
        for name in names:
            result = result * lines[name]
        return result


class UnitValues(msgspec.Struct, frozen=True, kw_only=True):
    """Values of one base unit in US dollars."""

    values: Floats
    """Per column; the first is now."""
    reference: float
    """What the row's precision is measured against: the value now, or the notional of what may start near zero."""
    exposures: tuple[tuple[str, float], ...]
    """Per factor: ∂value/∂ln price, now."""


def assets_of(instrument: RowInstrument) -> tuple[Asset | FactorId, ...]:
    """Return what an instrument's value is made of: assets, or factors by name."""
    match instrument:
        case Token() | WrappedToken():
            return (instrument,)
        case Claim() | Debt():
            return (instrument.token,)
        case Perpetual() | Future():
            return (instrument.quote,) if instrument.payoff == "inverse" else (instrument.base,)
        case Option():
            return (instrument.underlying, instrument.quote)
        case UniswapV2Share() | UniswapV3Liquidity():
            return (instrument.token0, instrument.token1)
        case Cash():
            return (instrument.factor,)


def unquoted_factors(instrument: RowInstrument, known: Listing) -> tuple[FactorId, ...]:
    """Return the factors that would have to be quoted to value `instrument` (US dollars need no quote)."""
    missing = (known.unquoted(asset) for asset in assets_of(instrument))
    return tuple(name for name in missing if name is not None)


def needed_factors(instrument: RowInstrument, known: Listing) -> tuple[FactorId, ...]:
    """Return the factors that an instrument moves with, pegs included, each once."""
    return tuple(dict.fromkeys(name for asset in assets_of(instrument) for name in known.legs(asset).moving))


def only_asset(instrument: RowInstrument) -> Asset | FactorId | None:
    """Return the asset of whose price an instrument's value is a multiple; None for options and pool shares."""
    return None if isinstance(instrument, Option | UniswapV2Share | UniswapV3Liquidity) else assets_of(instrument)[0]


def decimals(instrument: RowInstrument) -> int:
    """Return the decimals of a whole unit: the token's, or 18."""
    match instrument:
        case Token():
            return instrument.decimals
        case Claim() | Debt() | WrappedToken():
            return instrument.token.decimals
        case _:
            return 18


def unit_values(instrument: RowInstrument, pricer: Pricer) -> UnitValues:
    """Return the values of one base unit.

    Args:
        instrument: Any instrument whose factors are quoted.
        pricer: Prices and columns.
    """
    if isinstance(instrument, Option):
        return _with_far_tails(instrument, pricer)
    return _values(instrument, pricer)


def _with_far_tails(option: Option, pricer: Pricer) -> UnitValues:
    """Price an option at the far moves of the tails; of the change counts what the underlying's range is of the move.

    Deribit's extended table counts 16 % (its range for bitcoin) over the move; here the range follows the forecast.
    What is linear in a price has no tail of its own: a share of a far move would be no more than the range.
    """
    columns, base = pricer.columns, pricer.known.legs(option.underlying).base
    names = {*pricer.seen(option.underlying), *pricer.seen(option.quote)}
    lines = {name: columns.beyond(name) for name in names}
    found = _values(
        option, msgspec.structs.replace(pricer, columns=msgspec.structs.replace(columns, ratios=columns.ratios | lines))
    )
    if base == USD:
        return found
    line, far, now = columns.ratios[base], lines[base], found.values[0]
    tail = far != line
    share = np.where(tail, (line - 1.0) / np.where(tail, far - 1.0, 1.0), 1.0)
    return msgspec.structs.replace(found, values=np.where(tail, now + share * (found.values - now), found.values))


@singledispatch
def _values(instrument: object, pricer: Pricer) -> UnitValues:
    raise NotImplementedError(f"no price function for {type(instrument).__name__}")


def _linear(asset: Asset | FactorId, decimals: int, pricer: Pricer, growth: Floats | float = 1.0) -> UnitValues:
    price = pricer.price(asset) / float(10**decimals)
    exposures = tuple((name, price) for name in pricer.seen(asset))
    return UnitValues(values=price * pricer.ratio(asset) * growth, reference=price, exposures=exposures)


def _growth(rate: int, pricer: Pricer) -> Floats:
    """Simple interest to each column's hour, at the pinned block's rate."""
    return np.asarray(1.0 + (rate / WAD) * (pricer.columns.hours / YEAR_HOURS))


@_values.register(Token)
@_values.register(WrappedToken)
def _token(instrument: Asset, pricer: Pricer) -> UnitValues:
    return _linear(instrument, instrument.decimals, pricer)


@_values.register
def _cash(instrument: Cash, pricer: Pricer) -> UnitValues:
    return _linear(instrument.factor, 18, pricer)


@_values.register(Claim)
@_values.register(Debt)
def _interest_bearing(instrument: Claim | Debt, pricer: Pricer) -> UnitValues:
    return _linear(instrument.token, instrument.token.decimals, pricer, _growth(instrument.annual_rate, pricer))


@_values.register(Perpetual)
@_values.register(Future)
def _contract(instrument: Perpetual | Future, pricer: Pricer) -> UnitValues:
    """Linear: the mark of one base unit. Inverse: minus one quote unit. Longs pay funding with time."""
    rate = instrument.annual_funding_rate if isinstance(instrument, Perpetual) else 0
    paid = _growth(rate, pricer)
    if instrument.payoff == "linear":
        return _linear(instrument.base, 18, pricer, 2.0 - paid)
    owed = _linear(instrument.quote, 18, pricer, paid)
    return UnitValues(
        values=-owed.values,
        reference=owed.reference,
        exposures=tuple((name, -value) for name, value in owed.exposures),
    )


@_values.register
def _option(instrument: Option, pricer: Pricer) -> UnitValues:
    """Black-76 at the factor's volatility shocked by tenor; inside the horizon it settles at the path's price."""
    columns = pricer.columns
    seconds = max(instrument.expiry - pricer.as_of, 0)
    hour = -(-seconds // 3600)
    expires = hour <= HOURS
    lines = {
        name: pricer.settled(name, hour) if expires and hour > 0 else pricer.line(name)
        for name in (instrument.underlying, instrument.quote)
    }
    if hour == 0:
        lines = {name: np.full(columns.count, pricer.price(name)) for name in lines}
    quote = lines[instrument.quote]
    forward = lines[instrument.underlying] / quote
    strike = instrument.strike / WAD
    years = np.maximum(seconds / YEAR_SECONDS - columns.hours / YEAR_HOURS, 0.0)
    deviation = _shocked_volatility(instrument, forward, strike, years, pricer) * np.sqrt(years)
    valued = np.empty((2, columns.count))
    black76_each(forward, strike, deviation, 1.0 if instrument.right == "call" else -1.0, valued)
    values = valued[0] * quote / 1e18
    underlying = float(valued[1, 0] * lines[instrument.underlying][0] / 1e18)
    sides = ((instrument.underlying, underlying), (instrument.quote, float(values[0]) - underlying))
    return UnitValues(
        values=values,
        reference=float(lines[instrument.underlying][0]) / 1e18,
        exposures=_merged(sides, pricer),
    )


def _shocked_volatility(instrument: Option, forward: Floats, strike: float, years: Floats, pricer: Pricer) -> Floats:
    """Apply 1 + v·(30 d/τ)^p, at least one day of tenor; an upward shock has a floor (Deribit, Derive)."""
    grid, columns = pricer.grid, pricer.columns
    base = pricer.known.legs(instrument.underlying).base
    now = columns.volatilities[base] if base != USD else 0.0
    tenor, reference = max(float(years[0]), grid.shortest_tenor_days / YEAR_DAYS), grid.reference_tenor_days / YEAR_DAYS
    shock = power(reference / tenor, grid.short_tenor_power if tenor <= reference else grid.long_tenor_power)
    factor = np.maximum(1.0 + columns.volatility_shock * shock, grid.smallest_volatility_factor)
    moneyness = np.clip(strike / forward - 1.0, -grid.skew_reach, grid.skew_reach)
    tilted = np.maximum(now * factor * (1.0 + columns.skew * moneyness), grid.smallest_volatility)
    return np.where(columns.volatility_shock > 0.0, np.maximum(tilted, grid.minimum_shocked_volatility), tilted)


@_values.register
def _constant_product(instrument: UniswapV2Share, pricer: Pricer) -> UnitValues:
    """2·L·√(p0·p1) per share: the pool at the arbitrage-free ratio of the two prices."""
    first, second = _pair(instrument, pricer)
    values = 2.0 * (instrument.liquidity_per_share / WAD) * np.sqrt(first * second)
    half = float(values[0]) / 2.0
    return _two_sided(instrument, values, (half, half), pricer)


@_values.register
def _concentrated(instrument: UniswapV3Liquidity, pricer: Pricer) -> UnitValues:
    """L·(1/√p - 1/√b) and L·(√p - √a), √p held inside the range (Uniswap v3 Core, equations 6.29 and 6.30)."""
    first, second = _pair(instrument, pricer)
    low, high = sqrt_ratio(instrument.tick_lower), sqrt_ratio(instrument.tick_upper)
    root = np.minimum(np.maximum(np.sqrt(first / second), low), high)
    value0 = (1.0 / root - 1.0 / high) * first
    value1 = (root - low) * second
    return _two_sided(instrument, value0 + value1, (float(value0[0]), float(value1[0])), pricer)


def _pair(instrument: UniswapV2Share | UniswapV3Liquidity, pricer: Pricer) -> tuple[Floats, Floats]:
    tokens = (instrument.token0, instrument.token1)
    first, second = (pricer.line(token) / float(10**token.decimals) for token in tokens)
    return first, second


def _two_sided(
    instrument: UniswapV2Share | UniswapV3Liquidity, values: Floats, halves: tuple[float, float], pricer: Pricer
) -> UnitValues:
    sides = zip((instrument.token0, instrument.token1), halves, strict=True)
    return UnitValues(values=values, reference=float(values[0]), exposures=_merged(sides, pricer))


def _merged(sides: Iterable[tuple[Asset | FactorId, float]], pricer: Pricer) -> tuple[tuple[str, float], ...]:
    """Return one exposure per factor that moves one of the sides."""
    sums: dict[str, float] = {}
    for asset, value in sides:
        for name in pricer.seen(asset):
            sums[name] = sums.get(name, 0.0) + value
    return tuple(sums.items())


@lru_cache(maxsize=65536)
def sqrt_ratio(tick: int) -> float:
    """Return 1.0001^(tick/2) within 1 ulp: square-and-multiply in 256-bit integers, as ``TickMath`` does in 128."""
    bits = 256
    one = 1 << bits
    square = math.isqrt((10001 << (2 * bits)) // 10000)
    result, rest = one, abs(tick)
    while rest:
        if rest & 1:
            result = (result * square) >> bits
        square = (square * square) >> bits
        rest >>= 1
    return one / result if tick < 0 else result / one
