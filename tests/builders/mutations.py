"""Bytes that are almost right: what a hostile peer, a bad disk or a careless hand makes of good ones."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

EDGES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x80\x00\x00\x00",
    b'"',
    b"{",
    b"9",
)


def mutated(good: Sequence[bytes], random: Random) -> bytes:
    """Return one of the samples after one to four changes."""
    data = bytearray(random.choice(good))
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        _change(data, good, random)
    return bytes(data)


def _change(data: bytearray, good: Sequence[bytes], random: Random) -> None:
    at = random.randrange(len(data) + 1)
    kind = random.randrange(7)
    if kind == 0 and data:
        data[at % len(data)] ^= 1 << random.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = random.choice(EDGES)
    elif kind == 3:
        edge = random.choice(EDGES)
        data[at : at + len(edge)] = edge
    elif kind == 4:
        del data[at : at + random.randint(1, 40)]
    elif kind == 5:
        other = random.choice(good)
        start = random.randrange(len(other) + 1)
        data[at:at] = other[start : start + random.randint(1, 40)]
    else:
        data[at:at] = data[at : at + random.randint(1, 40)]
