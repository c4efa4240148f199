"""What a range of liquidity holds and what its fees pay, to the last unit.

Formulas and roundings: v3-core 1.0.1 (``TickMath``, ``SqrtPriceMath``, ``Tick.getFeeGrowthInside``, ``Position``) and
v3-periphery 1.4.4 (``NonfungiblePositionManager.collect``).
"""

from __future__ import annotations

from functools import cache
from math import isqrt

import msgspec

from riskschema.units import Address

MAX_TICK = 887_272
MIN_SQRT_RATIO = 4_295_128_739
MAX_SQRT_RATIO = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342
Q96, Q128, Q256 = 2**96, 2**128, 2**256


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One NFT as the position manager stores it; fee growths and owed tokens for token 0 and 1."""

    id: int
    token0: Address
    token1: Address
    fee: int
    lower: int
    upper: int
    liquidity: int
    growth: tuple[int, int]
    owed: tuple[int, int]


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """What the pool tells about one range held by the position manager."""

    tick: int
    growth: tuple[int, int]
    lower_outside: tuple[int, int]
    upper_outside: tuple[int, int]
    liquidity: int
    """Of the position manager in this range, all NFTs together; as the two below."""
    inside_last: tuple[int, int]
    owed: tuple[int, int]


@cache
def _ratios() -> tuple[int, ...]:
    """Return 2^128·1.0001^(-2^i/2) to the nearest integer for i = 0…19 (the constants of ``TickMath``)."""
    precision = 512
    ratio = isqrt((10_000 << 2 * precision) // 10_001)
    ratios = []
    for _ in range(MAX_TICK.bit_length()):
        ratios.append((ratio + (1 << precision - 129)) >> precision - 128)
        ratio = ratio * ratio >> precision
    return tuple(ratios)


def sqrt_ratio_at_tick(tick: int) -> int:
    """Return √(1.0001^tick)·2^96 as ``TickMath.getSqrtRatioAtTick`` rounds it.

    Raises:
        ValueError: `tick` is beyond ±887,272.
    """
    if abs(tick) > MAX_TICK:
        raise ValueError(f"tick {tick} is beyond ±{MAX_TICK}")
    ratio = Q128
    for bit, factor in enumerate(_ratios()):
        if abs(tick) >> bit & 1:
            ratio = ratio * factor >> 128
    if tick > 0:
        ratio = (Q256 - 1) // ratio
    return -(-ratio >> 32)


def amounts(liquidity: int, sqrt_price_x96: int, tick_lower: int, tick_upper: int) -> tuple[int, int]:
    """Return the base units of token 0 and 1 in a range, as ``decreaseLiquidity`` would pay them (rounded down).

    Args:
        liquidity: L, not negative.
        sqrt_price_x96: √(token 1 per token 0)·2^96 of the pool, within the pool's bounds.
        tick_lower: Lower end of the range.
        tick_upper: Upper end, above the lower.

    Raises:
        ValueError: an argument is outside what a pool can have.
    """
    if tick_lower >= tick_upper or liquidity < 0 or not MIN_SQRT_RATIO <= sqrt_price_x96 <= MAX_SQRT_RATIO:
        raise ValueError(f"no pool has L={liquidity} at {sqrt_price_x96} in [{tick_lower}, {tick_upper})")
    lower, upper = sqrt_ratio_at_tick(tick_lower), sqrt_ratio_at_tick(tick_upper)
    price = min(max(sqrt_price_x96, lower), upper)
    amount0 = (liquidity * Q96 * (upper - price) // upper) // price
    return amount0, liquidity * (price - lower) // Q96


def growth_inside(state: PoolState, lower: int, upper: int) -> tuple[int, int]:
    """Return the fee growth inside a range for both tokens, modulo 2^256 (``Tick.getFeeGrowthInside``)."""

    def inside(side: int) -> int:
        total = state.growth[side]
        below, above = state.lower_outside[side], state.upper_outside[side]
        below = below if state.tick >= lower else total - below
        above = above if state.tick < upper else total - above
        return (total - below - above) % Q256

    return inside(0), inside(1)


def collectable(held: Held, state: PoolState) -> tuple[int, int]:
    """Return what ``collect`` would pay for an NFT with no limit (fees and withdrawn liquidity not yet collected).

    A position with liquidity is poked first, so that its share of the fee growth counts. The pool keeps one position
    for all NFTs of a range and rounds for them together, so the lesser of the two accounts is paid.
    """
    inside = growth_inside(state, held.lower, held.upper) if held.liquidity else (0, 0)

    def side(at: int) -> int:
        of_nft, of_pool = held.owed[at], state.owed[at]
        if held.liquidity:
            of_nft += _earned(inside[at], held.growth[at], held.liquidity)
            of_pool += _earned(inside[at], state.inside_last[at], state.liquidity)
        return min(of_nft % Q128, of_pool % Q128)

    return side(0), side(1)


def _earned(inside: int, last: int, liquidity: int) -> int:
    return (inside - last) % Q256 * liquidity // Q128 % Q128
