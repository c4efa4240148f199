"""Each factor's standardised 24-hour blocks and its volatilities: from the agreed history, or from a stated stand-in.

Filtered historical simulation (Barone-Adesi, Giannopoulos, Vosper, 1999) over contiguous blocks: every block is divided
by the volatility known at its start, so that it can be rescaled by today's forecast. Blocks are enumerated at a fixed
stride, never drawn. Pegs are not rescaled (`pegs`).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.exact.buffers import view64
from aggregator.exact.kernels import logarithms
from aggregator.parameters import Parameters
from aggregator.scenarios.factors import Listing, listing, sides
from aggregator.scenarios.late_lines import first_own_hour, own_weight
from aggregator.scenarios.pegs import assumed_level, noise_blocks, ratio_blocks, widened, with_breaks
from aggregator.scenarios.proxies import proxy_blocks, quartile
from aggregator.scenarios.reference_blocks import reference_blocks
from aggregator.scenarios.volatility import annual, forecast_series, hourly, with_implied
from riskschema.flags import Flag
from riskschema.instruments import FactorId, PegKind
from riskschema.market import UNNAMED_GROUP, FactorQuote, Group, HourlyHistory, MarketState
from riskschema.portfolio import USD
from riskschema.units import WAD

Floats = NDArray[np.float64]

FALLBACK = "ETH"
"""Whose moves stand in where a group's leading factor has no history."""


class FactorBlocks(msgspec.Struct, frozen=True, kw_only=True):
    """One factor's moves."""

    name: FactorId
    """As in `Legs`: a factor that stands for itself, or a peg."""
    group: Group
    peg: PegKind | None
    standardised: Floats
    """Shape (blocks, 24, 3): low, high, close as log moves since the block's start, over the hourly volatility; of a
    peg the moves themselves."""
    forecast: float
    """Volatility per square-root hour; 1 for a peg."""
    long_run: float
    """Likewise, over all history."""
    flags: frozenset[Flag]
    level: float = 1.0
    """Of a peg: price over parity, as far as it counts."""


class _Measured(msgspec.Struct, frozen=True):
    standardised: Floats
    forecast: float
    long_run: float


class _Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What blocks are made from, the same for every factor."""

    market: MarketState
    known: Listing
    quotes: dict[str, FactorQuote]
    measured: dict[str, _Measured]
    """Factors with a year of their own history, by name."""
    blocks: int
    parameters: Parameters


def block_count(market: MarketState, parameters: Parameters) -> int:
    """Return how many blocks a round has: what the history holds, or the reference set's number."""
    paths, history = parameters.paths, market.history
    if history is None or not _usable(history, parameters):
        return paths.maximum_blocks
    held = (history.hours - 1 - parameters.volatility.warm_up_hours - 24) // paths.stride_hours + 1
    return min(held, paths.maximum_blocks)


def factor_blocks(market: MarketState, factors: list[str], parameters: Parameters) -> list[FactorBlocks]:
    """Return the blocks of `factors`, all with the same dates.

    A factor with a line as long as the table uses it. One without is a proxy: beta times its group's leading factor and
    noise of its own; where its line begins later, its own days take the place of the proxy's. A peg uses the history of
    its ratio, or the noise of its kind, its kind's crises, and a day on which it returns to parity. Nothing depends on
    which factors are asked for.

    Args:
        market: The agreed market state.
        factors: Sorted names, as in `Legs`.
        parameters: The parameter file.
    """
    known, blocks = listing(market, parameters), block_count(market, parameters)
    sources = _Sources(
        market=market,
        known=known,
        quotes={quote.factor: quote for quote in market.quotes},
        measured=_measure_all(market, known, blocks, parameters),
        blocks=blocks,
        parameters=parameters,
    )
    return [_factor(name, sources) for name in factors]


def implied_volatility(blocks: FactorBlocks) -> float:
    """Return the annual volatility at which options on the factor are valued: its forecast."""
    return annual(blocks.forecast)


def _usable(history: HourlyHistory, parameters: Parameters) -> bool:
    needed = parameters.paths.minimum_history_hours + parameters.volatility.warm_up_hours
    return history.hours >= needed


def _measure_all(market: MarketState, known: Listing, blocks: int, parameters: Parameters) -> dict[str, _Measured]:
    history = market.history
    if history is None or not _usable(history, parameters):
        return {}
    quoted = {quote.factor for quote in market.quotes}
    return {
        name: _measure(history, index, known.factors[name].group, blocks, parameters)
        for index, name in enumerate(history.factors)
        if name in quoted and known.legs(name) == (name, None) and not first_own_hour(history, index, parameters)
    }


def _measure(history: HourlyHistory, index: int, group: str, blocks: int, parameters: Parameters) -> _Measured:
    close = logarithms(view64(history.close)[index])
    known, today, long_run = forecast_series(close[1:] - close[:-1], group=group, model=parameters.volatility)
    starts = _starts(close.size, blocks, parameters)
    return _Measured(_moves(history, index, starts) / known[starts][:, None, None], today, long_run)


def _starts(hours: int, blocks: int, parameters: Parameters) -> NDArray[np.int64]:
    ends = hours - 1 - parameters.paths.stride_hours * np.arange(blocks)[::-1]
    return np.asarray(ends - 24)


def _moves(history: HourlyHistory, index: int, starts: NDArray[np.int64]) -> Floats:
    """Return the log moves since each block's start, shape (blocks, 24, 3): low, high, close."""
    low, high, close = (logarithms(view64(side)[index]) for side in (history.low, history.high, history.close))
    hours = starts[:, None] + np.arange(1, 25)[None, :]
    return np.stack([low[hours], high[hours], close[hours]], axis=2) - close[starts][:, None, None]


def _factor(name: FactorId, sources: _Sources) -> FactorBlocks:
    asset, base = sides(name)
    factor = sources.known.factors.get(asset)
    if base or sources.known.legs(name).peg is not None:
        return _peg(name, asset, sources)
    quote = sources.quotes.get(name)
    group = factor.group if factor is not None else UNNAMED_GROUP
    found = sources.measured.get(name) or _with_own_hours(name, group, _proxy(name, group, quote, sources), sources)
    forecast, long_run = _quoted(name, group, found, sources)
    floor = hourly(sources.parameters.volatility.floor_annual.of(group))
    flags = _flags(name, sources) | (frozenset() if name in sources.measured else {Flag.HISTORY_SHORT})
    return FactorBlocks(
        name=name,
        group=group,
        peg=None,
        standardised=found.standardised,
        forecast=max(forecast, floor),
        long_run=max(long_run, floor),
        flags=flags,
    )


def _quoted(name: FactorId, group: Group, found: _Measured, sources: _Sources) -> tuple[float, float]:
    """Return forecast and long-run volatility with what the quote says: beside a history a share, else all."""
    quote = sources.quotes.get(name)
    if quote is None or quote.annual_volatility is None:
        return found.forecast, found.long_run
    implied = hourly(quote.annual_volatility / WAD)
    if name not in sources.measured:
        return implied, implied
    return with_implied(found.forecast, implied, group=group, model=sources.parameters.volatility), found.long_run


def _flags(name: FactorId, sources: _Sources) -> frozenset[Flag]:
    history = sources.market.history
    simulated = {Flag.HISTORY_SIMULATED} if history is not None and history.simulated else set[Flag]()
    return frozenset(simulated | ({Flag.HISTORY_FILLED} if history is not None and name in history.filled else set()))


def _proxy(name: FactorId, group: Group, quote: FactorQuote | None, sources: _Sources) -> _Measured:
    """Return beta x the leading factor + noise of its own, at the upper quartile of the group's volatility, widened."""
    parameters, model = sources.parameters, sources.parameters.proxy
    leading = _leading(name, group, sources)
    peers = [item for peer, item in sources.measured.items() if sources.known.factors[peer].group == group]
    default = hourly(parameters.volatility.default_annual.of(group))
    forecast = long_run = default
    if peers:
        forecast = quartile([item.forecast for item in peers], model) * model.volatility_multiplier
        long_run = quartile([item.long_run for item in peers], model) * model.volatility_multiplier
    if quote is not None and quote.annual_volatility is not None:
        forecast = hourly(quote.annual_volatility / WAD)
    if leading is None:  # nobody leads it: it makes the market itself
        return _Measured(_reference(name, sources), forecast, long_run)
    leader, blocks = leading
    # By the volatility that its leader's own blocks are scaled with, so that all rise together.
    led, _ = _quoted(leader, _group(leader, sources), blocks, sources)
    factor = sources.known.factors.get(name)
    beta = factor.beta if factor is not None and factor.beta is not None else model.beta.of(group)
    standardised = proxy_blocks(
        blocks.standardised,
        sources.known.stream(name),
        led=beta * led / forecast,
        parameters=parameters,
    )
    return _Measured(standardised, forecast, long_run)


def _with_own_hours(name: FactorId, group: Group, proxy: _Measured, sources: _Sources) -> _Measured:
    """Return a proxy with the hours that the factor has: its days where they are known, and a share of its variance."""
    history, parameters = sources.market.history, sources.parameters
    if history is None or not _usable(history, parameters) or name not in history.factors:
        return proxy
    index = history.factors.index(name)
    begin = first_own_hour(history, index, parameters)
    own = own_weight(history.hours - begin, parameters.proxy)
    if not own:
        return proxy
    close = logarithms(view64(history.close)[index][begin:])
    known, today, long_run = forecast_series(close[1:] - close[:-1], group=group, model=parameters.volatility)
    starts = _starts(history.hours, sources.blocks, parameters)
    lived = starts >= begin + parameters.volatility.warm_up_hours
    standardised = proxy.standardised.copy()
    standardised[lived] = _moves(history, index, starts[lived]) / known[starts[lived] - begin][:, None, None]
    return _Measured(
        standardised,
        math.sqrt(own * today * today + (1.0 - own) * proxy.forecast * proxy.forecast),
        math.sqrt(own * long_run * long_run + (1.0 - own) * proxy.long_run * proxy.long_run),
    )


def _leading(name: FactorId, group: Group, sources: _Sources) -> tuple[FactorId, _Measured] | None:
    """Return what a proxy follows: its group's leading factor, or ether, or the reference; None: it leads itself."""
    wanted = sources.parameters.proxy.leading.of(group)
    for leader in (wanted, FALLBACK):
        if leader != name and leader in sources.measured:
            return leader, sources.measured[leader]
    if name in (wanted, FALLBACK):
        return None
    default = hourly(sources.parameters.volatility.default_annual.of(_group(wanted, sources)))
    return wanted, _Measured(_reference(wanted, sources), default, default)


def _group(name: FactorId, sources: _Sources) -> Group:
    factor = sources.known.factors.get(name)
    return factor.group if factor is not None else UNNAMED_GROUP


def _reference(name: FactorId, sources: _Sources) -> Floats:
    paths = sources.parameters.paths
    return reference_blocks(
        name,
        blocks=sources.blocks,
        correlation=paths.reference_correlation,
        parts_per_hour=paths.reference_parts_per_hour,
    )


def _peg(name: FactorId, asset: FactorId, sources: _Sources) -> FactorBlocks:
    parameters, known = sources.parameters, sources.known
    kind, stream = known.peg_kind(name), known.stream(name)
    told, moves = known.level(name), _ratio_history(name, sources)
    level = assumed_level(told, kind, parameters)
    flags = _flags(asset, sources) | (frozenset() if moves is not None else {Flag.HISTORY_SHORT})
    if moves is None:
        moves = noise_blocks(level, kind, stream, sources.blocks, parameters)
    else:
        moves = widened(moves, told, kind, stream, parameters)
    return FactorBlocks(
        name=name,
        group=_group(asset, sources),
        peg=kind,
        standardised=with_breaks(moves, level, kind, stream, parameters),
        forecast=1.0,
        long_run=1.0,
        flags=flags,
        level=level,
    )


def _ratio_history(name: FactorId, sources: _Sources) -> Floats | None:
    """Return the moves of an asset over what it is pegged to, where the table has both; a dollar needs no other."""
    history, parameters = sources.market.history, sources.parameters
    both = [side for side in sides(name) if side not in ("", USD)]
    if history is None or not _usable(history, parameters) or not set(both) <= set(history.factors):
        return None
    lines = [history.factors.index(side) for side in both]
    if any(first_own_hour(history, line, parameters) for line in lines):
        return None
    starts = _starts(history.hours, sources.blocks, parameters)
    moves = [_moves(history, line, starts) for line in lines]
    return moves[0] if len(moves) == 1 else ratio_blocks(moves[0], moves[1])
