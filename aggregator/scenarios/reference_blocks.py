"""Standardised 24-hour blocks for factors without history, enumerated by an integer generator: the same everywhere.

They are a stand-in, not data: hourly Student-t moves (a scale per day) with a common market part, of unit variance
per hour. Whatever is built on them carries the flag ``history_short``.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.kernels import log_each

Floats = NDArray[np.float64]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def splitmix64(seed: int, count: int) -> NDArray[np.uint64]:
    """Return `count` words of SplitMix64 (Steele, Lea, Flood, 2014)."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(seed & _MASK)
    words = (steps ^ (steps >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _normals(seed: int, count: int) -> Floats:
    """Sum of twelve 16-bit uniforms minus six: mean 0, variance 1, exact in integers."""
    words = splitmix64(seed, 3 * count).reshape(count, 3)
    total = np.zeros(count, dtype=np.int64)
    for shift in (0, 16, 32, 48):
        fields = (words >> np.uint64(shift)) & np.uint64(0xFFFF)
        total += fields[:, 0].astype(np.int64) + fields[:, 1].astype(np.int64) + fields[:, 2].astype(np.int64)
    centred = total - 6 * 65535
    return centred.astype(np.float64) / 65536.0


def _scales(seed: int, blocks: int) -> Floats:
    """Scales that turn normals into Student t with four degrees of freedom, of variance 1 after division by √2."""
    words = splitmix64(seed, 2 * blocks)
    uniforms = ((words >> np.uint64(11)).astype(np.float64) + 0.5) / 9007199254740992.0
    logs = np.empty_like(uniforms)
    log_each(uniforms, logs)
    chi_square = -2.0 * logs[:blocks] - 2.0 * logs[blocks:]
    return np.sqrt(4.0 / chi_square) / math.sqrt(2.0)


@lru_cache(maxsize=64)
def reference_blocks(stream: str, *, blocks: int, correlation: float, parts_per_hour: int) -> Floats:
    """Return standardised log moves since the start of each block.

    Args:
        stream: Names the factor's own part; equal names give equal blocks.
        blocks: Number of blocks.
        correlation: Share of variance held in common with the market stream (0 for assets that do not move with it).
        parts_per_hour: Moves from which an hour's low and high are taken.

    Returns:
        Shape (blocks, 24, 3): low, high and close of each hour, in units of the hourly volatility. Read-only.
    """
    count = blocks * 24 * parts_per_hour
    own = _normals(_seed("own:" + stream), count)
    market = _normals(_seed("market"), count)
    mixed = math.sqrt(correlation) * market + math.sqrt(1.0 - correlation) * own
    return _walked(mixed, _scales(_seed("scale"), blocks), parts_per_hour)


@lru_cache(maxsize=256)
def own_blocks(stream: int, *, blocks: int, parts_per_hour: int) -> Floats:
    """Return the standardised moves of a factor's own noise: independent of every other stream, its wild days included.

    Args:
        stream: The factor's number in the factor list.
        blocks: As above, like the next and the result.
        parts_per_hour: Moves from which an hour's low and high are taken.
    """
    own = _normals(_seed(f"stream:{stream}"), blocks * 24 * parts_per_hour)
    return _walked(own, _scales(_seed(f"scale:{stream}"), blocks), parts_per_hour)


def _walked(moves: Floats, scales: Floats, parts_per_hour: int) -> Floats:
    blocks = scales.size
    scale = scales / math.sqrt(parts_per_hour)
    steps = moves.reshape(blocks, 24 * parts_per_hour) * scale[:, None]
    walk = np.cumsum(steps, axis=1).reshape(blocks, 24, parts_per_hour)
    opens = np.concatenate([np.zeros((blocks, 1)), walk[:, :-1, -1]], axis=1)
    low = np.minimum(walk.min(axis=2), opens)
    high = np.maximum(walk.max(axis=2), opens)
    result = np.stack([low, high, walk[:, :, -1]], axis=2)
    result.setflags(write=False)
    return result
