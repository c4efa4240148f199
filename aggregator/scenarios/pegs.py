"""How pegs move: unscaled moves of the ratio of an asset to what it is pegged to, and the published crises of its kind.

A peg is not rescaled by its own volatility: USDC's 10 March 2023 was 725 of its standard deviations, and calm before a
break says nothing about the break. Its blocks are what happened, or the calm noise of its kind; the crises of the kind
are put in twice, once at a date of the peg's own (it breaks alone) and once at a date common to the kind (all break).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.kernels import logarithms
from aggregator.parameters import Parameters, PegCrisis
from aggregator.scenarios.reference_blocks import own_blocks
from riskschema.instruments import PegKind

Floats = NDArray[np.float64]


def calm_blocks(kind: PegKind, stream: int, blocks: int, parameters: Parameters) -> Floats:
    """Return the noise of a peg nobody has a history of, shape (blocks, 24, 3): low, high, close as log moves."""
    hourly = parameters.pegs.of(kind).daily_volatility / math.sqrt(24)
    return own_blocks(stream, blocks=blocks, parts_per_hour=parameters.paths.reference_parts_per_hour) * hourly


def ratio_blocks(asset: Floats, underlying: Floats) -> Floats:
    """Return the moves of a ratio from those of its two sides, all of shape (blocks, 24, 3).

    Both sides' lows of an hour belong to one moment as far as they move together, so the ratio's low is the smallest of
    the ratios of lows, of highs and of closes.
    """
    ratios = asset - underlying
    return np.stack([ratios.min(axis=2), ratios.max(axis=2), ratios[:, :, 2]], axis=2)


def with_crises(moves: Floats, kind: PegKind, stream: int, parameters: Parameters) -> Floats:
    """Return a peg's blocks with the crises of its kind in place of two blocks each."""
    crises = [crisis for crisis in parameters.pegs.crises if crisis.kind == kind]
    blocks, result = moves.shape[0], moves.copy()
    for index, crisis in enumerate(crises):
        alone = len(crises) + (stream * len(crises) + index) % max(blocks - len(crises), 1)
        for place in (index, alone):
            if place < blocks:
                result[place] = _crisis_block(crisis)
    return result


def _crisis_block(crisis: PegCrisis) -> Floats:
    """Return the log moves of a crisis: an hour's low and high are the ends of its close-to-close move."""
    closes = logarithms(np.array(crisis.closes))
    opens = np.concatenate([np.zeros(1), closes[:-1]])
    return np.stack([np.minimum(opens, closes), np.maximum(opens, closes), closes], axis=1)
