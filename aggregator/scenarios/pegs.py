"""How pegs move: unscaled moves of the ratio of an asset to what it is pegged to, and the published crises of its kind.

A peg is not rescaled by its own volatility: USDC's 10 March 2023 was 725 of its standard deviations, and calm before a
break says nothing about the break. Its blocks are what happened, or the noise of its kind, which is wider the farther
the price is from parity. The crises of the kind are put in twice, once at a date of the peg's own (it breaks alone) and
once at a date common to the kind (all break); likewise a day on which it comes back to parity, which hurts who owes it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.kernels import logarithms
from aggregator.parameters import Parameters
from aggregator.scenarios.proxies import summed
from aggregator.scenarios.reference_blocks import own_blocks
from riskschema.instruments import PegKind

Floats = NDArray[np.float64]
HOURS = 24


def assumed_level(known: float | None, kind: PegKind, parameters: Parameters) -> float:
    """Return price over parity: at the usual discount where nobody knows it.

    A premium counts up to the largest rise of the kind: what is beyond is an index that nobody told. A discount counts
    down to the largest fall of any price, so that parity stays a finite rise away.
    """
    model = parameters.pegs.of(kind)
    if known is None:
        return 1.0 - model.usual_discount
    return min(max(known, 1.0 - parameters.grid.largest_fall), 1.0 + max(*model.breaks, 0.0))


def daily_noise(level: float, kind: PegKind, parameters: Parameters) -> float:
    """Return the standard deviation of a day's move while nothing breaks: never less than at the usual discount.

    The variance grows with the distance from parity, as in a square-root process (Cox, Ingersoll, Ross, 1985).
    """
    model = parameters.pegs.of(kind)
    calm, spread = model.daily_volatility, model.discount_volatility
    return math.sqrt(calm * calm + spread * spread * max(abs(_logarithm(level)), model.usual_discount))


def noise_blocks(level: float, kind: PegKind, stream: int, blocks: int, parameters: Parameters) -> Floats:
    """Return the noise of a peg nobody has a history of, shape (blocks, 24, 3): low, high, close as log moves."""
    return _noise(daily_noise(level, kind, parameters), stream, blocks, parameters)


def widened(moves: Floats, level: float | None, kind: PegKind, stream: int, parameters: Parameters) -> Floats:
    """Return a peg's own past with the noise that its distance from parity, where it is known, adds today."""
    if level is None:
        return moves
    distance = abs(_logarithm(assumed_level(level, kind, parameters)))
    added = parameters.pegs.of(kind).discount_volatility * math.sqrt(distance)
    return summed(moves, _noise(added, stream, moves.shape[0], parameters))


def ratio_blocks(asset: Floats, underlying: Floats) -> Floats:
    """Return the moves of a ratio from those of its two sides, all of shape (blocks, 24, 3).

    Both sides' lows of an hour belong to one moment as far as they move together, so the ratio's low is the smallest of
    the ratios of lows, of highs and of closes.
    """
    ratios = asset - underlying
    return np.stack([ratios.min(axis=2), ratios.max(axis=2), ratios[:, :, 2]], axis=2)


def with_breaks(moves: Floats, level: float, kind: PegKind, stream: int, parameters: Parameters) -> Floats:
    """Return a peg's blocks with the crises of its kind, and its return to parity, in place of two blocks each."""
    crises = [logarithms(np.array(crisis.closes)) for crisis in parameters.pegs.crises if crisis.kind == kind]
    days = [*crises, _return_to_parity(level)]
    blocks, result = moves.shape[0], moves.copy()
    for index, closes in enumerate(days):
        alone = len(days) + (stream * len(days) + index) % max(blocks - len(days), 1)
        for place in (index, alone):
            if place < blocks:
                result[place] = _day(closes)
    return result


def _noise(daily: float, stream: int, blocks: int, parameters: Parameters) -> Floats:
    unit = own_blocks(stream, blocks=blocks, parts_per_hour=parameters.paths.reference_parts_per_hour)
    return unit * (daily / math.sqrt(HOURS))


def _return_to_parity(level: float) -> Floats:
    """Return the closes of a day on which what is missing comes back hour by hour."""
    return np.arange(1.0, HOURS + 1.0) * (-_logarithm(level) / HOURS)


def _logarithm(level: float) -> float:
    return float(logarithms(np.array([level]))[0])


def _day(closes: Floats) -> Floats:
    """Return the log moves of a day: an hour's low and high are the ends of its close-to-close move."""
    opens = np.concatenate([np.zeros(1), closes[:-1]])
    return np.stack([np.minimum(opens, closes), np.maximum(opens, closes), closes], axis=1)
