"""Each factor's standardised 24-hour blocks and its volatilities: from the agreed history, or from a stated stand-in.

Filtered historical simulation (Barone-Adesi, Giannopoulos, Vosper, 1999) over contiguous blocks: every block is divided
by the volatility known at its start, so that it can be rescaled by today's forecast. Blocks are enumerated at a fixed
stride, never drawn.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.exact.buffers import view64
from aggregator.exact.kernels import log_each
from aggregator.parameters import Parameters
from aggregator.scenarios.reference_blocks import reference_blocks
from aggregator.scenarios.volatility import annual, forecast_series, hourly, with_implied
from riskschema.flags import Flag
from riskschema.market import FactorQuote, HourlyHistory, MarketState
from riskschema.units import WAD

Floats = NDArray[np.float64]

PEERLESS = {"btc": "btc", "eth": "eth"}
"""Groups whose members follow one asset: they share the reference stream, so that a wrapped token stays with it."""


class FactorBlocks(msgspec.Struct, frozen=True, kw_only=True):
    """One factor's moves."""

    quote: FactorQuote
    standardised: Floats
    """Shape (blocks, 24, 3): low, high, close as log moves since the block's start, over the hourly volatility."""
    forecast: float
    """Volatility per square-root hour."""
    long_run: float
    """Likewise, over all history."""
    flags: frozenset[Flag]


class _Measured(msgspec.Struct, frozen=True):
    standardised: Floats
    forecast: float
    long_run: float


def block_count(market: MarketState, parameters: Parameters) -> int:
    """Return how many blocks a round has: what the history holds, or the reference set's number."""
    paths, history = parameters.paths, market.history
    if history is None or not _usable(history, parameters):
        return paths.maximum_blocks
    held = (history.hours - 1 - parameters.volatility.warm_up_hours - 24) // paths.stride_hours + 1
    return min(held, paths.maximum_blocks)


def factor_blocks(market: MarketState, factors: list[str], parameters: Parameters) -> list[FactorBlocks]:
    """Return the blocks of `factors`, all with the same dates.

    A factor with a year of its own history uses it. One without borrows the residuals of its group, times the
    short-history multiplier; a group without history uses reference blocks.

    Args:
        market: The agreed market state; every factor has a quote.
        factors: Sorted names.
        parameters: The parameter file.
    """
    blocks = block_count(market, parameters)
    measured = _measure_all(market, blocks, parameters)
    return [_factor(market.quote(name), measured, market, blocks, parameters) for name in factors]


def _usable(history: HourlyHistory, parameters: Parameters) -> bool:
    needed = parameters.paths.minimum_history_hours + parameters.volatility.warm_up_hours
    return history.hours >= needed


def _measure_all(market: MarketState, blocks: int, parameters: Parameters) -> dict[str, _Measured]:
    history = market.history
    if history is None or not _usable(history, parameters):
        return {}
    quotes = {quote.factor: quote for quote in market.quotes}
    return {
        name: _measure(history, index, quotes[name].group, blocks, parameters)
        for index, name in enumerate(history.factors)
        if name in quotes
    }


def logarithms(prices: NDArray[np.int64]) -> Floats:
    """Return ln of integer prices."""
    result = np.empty(prices.size, dtype=np.float64)
    log_each(prices.astype(np.float64), result)
    return result


def _measure(history: HourlyHistory, index: int, group: str, blocks: int, parameters: Parameters) -> _Measured:
    close = logarithms(view64(history.close)[index])
    returns = close[1:] - close[:-1]
    known, today, long_run = forecast_series(returns, group=group, model=parameters.volatility)
    ends = close.size - 1 - parameters.paths.stride_hours * np.arange(blocks)[::-1]
    starts = ends - 24
    hours = starts[:, None] + np.arange(1, 25)[None, :]
    low = logarithms(view64(history.low)[index])
    high = logarithms(view64(history.high)[index])
    moves = np.stack([low[hours], high[hours], close[hours]], axis=2) - close[starts][:, None, None]
    return _Measured(moves / known[starts][:, None, None], today, long_run)


def _factor(
    quote: FactorQuote, measured: dict[str, _Measured], market: MarketState, blocks: int, parameters: Parameters
) -> FactorBlocks:
    flags = set[Flag]()
    history = market.history
    if history is not None and history.simulated:
        flags.add(Flag.HISTORY_SIMULATED)
    if history is not None and quote.factor in history.filled:
        flags.add(Flag.HISTORY_FILLED)
    default = hourly(parameters.volatility.default_annual.of(quote.group))
    found = measured.get(quote.factor)
    if found is None:
        flags.add(Flag.HISTORY_SHORT)
        found = _borrowed(quote, measured, market, parameters) or _reference(quote, blocks, default, parameters)
    forecast, long_run = found.forecast, found.long_run
    if quote.annual_volatility is not None:
        implied = hourly(quote.annual_volatility / WAD)
        if quote.factor in measured:
            forecast = with_implied(forecast, implied, group=quote.group, model=parameters.volatility)
        else:
            forecast = long_run = implied
    floor = hourly(parameters.volatility.floor_annual.of(quote.group))
    return FactorBlocks(
        quote=quote,
        standardised=found.standardised,
        forecast=max(forecast, floor),
        long_run=max(long_run, floor),
        flags=frozenset(flags),
    )


def _borrowed(
    quote: FactorQuote, measured: dict[str, _Measured], market: MarketState, parameters: Parameters
) -> _Measured | None:
    """Take the residuals of the group member at the upper quartile of average daily move, widened; or none."""
    groups = {other.factor: other.group for other in market.quotes}
    peers = sorted(name for name in measured if groups[name] == quote.group)
    if not peers and quote.group != "stablecoin":
        peers = sorted(name for name in measured if groups[name] == "eth")
    if not peers:
        return None
    ranked = sorted(peers, key=lambda name: (_average_move(measured[name].standardised), name))
    peer = measured[ranked[parameters.paths.peer_quartile * (len(ranked) - 1) // 4]]
    wider = parameters.paths.short_history_multiplier
    forecast = max(peer.forecast, hourly(parameters.volatility.default_annual.of(quote.group)))
    return _Measured(peer.standardised * wider, forecast, peer.long_run)


def _average_move(standardised: Floats) -> float:
    ends = np.abs(standardised[:, -1, 2])
    return float(np.cumsum(ends)[-1]) / ends.size


def _reference(quote: FactorQuote, blocks: int, default: float, parameters: Parameters) -> _Measured:
    stream = PEERLESS.get(quote.group, quote.factor)
    correlation = 0.0 if quote.group == "stablecoin" else parameters.paths.reference_correlation
    standardised = reference_blocks(
        stream, blocks=blocks, correlation=correlation, parts_per_hour=parameters.paths.reference_parts_per_hour
    )
    return _Measured(standardised, default, default)


def implied_volatility(blocks: FactorBlocks) -> float:
    """Return the annual volatility at which options on the factor are valued: its forecast."""
    return annual(blocks.forecast)
