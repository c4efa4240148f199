"""Many calls as one, through Multicall3 where it is deployed: what providers bill is one call instead of hundreds.

Only what a call returns is taken from it. Whatever failed inside is asked again by itself, because gas and sender are
others there; and calls of contracts that anyone can put before the node (they have less gas) never go through it, since
such a contract could answer by who asks. So the results are those of single calls, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.chains.answers import malformed
from adapters.chains.transport import Limit
from riskschema.ports import CALL_GAS, Call
from riskschema.units import Address

MULTICALL3 = Address("0xcA11bde05977b3631167028862bE2a173976CA11")
"""The same on every chain: its deployment was signed once, for all."""
MOST_CALLS = 500
"""In one; fewer of a function are learned where they run out of gas."""

_AGGREGATE3 = bytes.fromhex("82ad56cb")
_WORD = 32


def aggregated(calls: Sequence[Call]) -> Call:
    """Return ``aggregate3`` of `calls`, each of which may fail."""
    tails = [_call3(call) for call in calls]
    offsets, at = [], _WORD * len(calls)
    for tail in tails:
        offsets.append(at)
        at += len(tail)
    head = b"".join(number.to_bytes(_WORD, "big") for number in (_WORD, len(calls), *offsets))
    return Call(MULTICALL3, _AGGREGATE3 + head + b"".join(tails))


def _call3(call: Call) -> bytes:
    head = bytes(12) + call.to.to_bytes() + b"".join(each.to_bytes(_WORD, "big") for each in (1, 96, len(call.data)))
    return head + call.data + bytes(-len(call.data) % _WORD)


def separated(data: bytes, count: int, where: str) -> list[bytes | None]:
    """Return what each call returned; None for one that failed.

    Raises:
        TransientError: `data` is no answer of ``aggregate3`` to so many calls.
    """
    if _word(data, 0, where) != _WORD or _word(data, _WORD, where) != count:
        raise malformed(where, f"answered no {count} results of Multicall3")
    start = 2 * _WORD
    return [_result(data, start + _word(data, start + _WORD * at, where), where) for at in range(count)]


def _result(data: bytes, at: int, where: str) -> bytes | None:
    success, offset = _word(data, at, where), _word(data, at + _WORD, where)
    size = _word(data, at + offset, where)
    first = at + offset + _WORD
    if success > 1 or offset != 2 * _WORD or first + size > len(data):
        raise malformed(where, "answered a broken result of Multicall3")
    return data[first : first + size] if success else None


def _word(data: bytes, at: int, where: str) -> int:
    if at + _WORD > len(data):
        raise malformed(where, "answered a result of Multicall3 that is cut off")
    return int.from_bytes(data[at : at + _WORD], "big")


class Aggregation:
    """Which calls go together, by what each function was found to need."""

    def __init__(self) -> None:
        self._limits: dict[bytes, Limit] = {}

    def groups(self, calls: Sequence[Call]) -> tuple[list[list[int]], list[int]]:
        """Return the places of calls that go together, and of those that are asked by themselves."""
        by_function: dict[bytes, list[int]] = {}
        alone: list[int] = []
        for at, call in enumerate(calls):
            if call.gas == CALL_GAS:
                by_function.setdefault(call.data[:4], []).append(at)
            else:
                alone.append(at)
        groups: list[list[int]] = []
        for function, places in by_function.items():
            size = self._limit(function).value
            groups += [places[at : at + size] for at in range(0, len(places), size)]
        alone += [group[0] for group in groups if len(group) == 1]
        return [group for group in groups if len(group) > 1], alone

    def left(self, call: Call, returned: Sequence[bytes | None]) -> list[list[int]]:
        """Return which places to ask again, and with whom; note how many of a function go through together.

        Where gas ran out, everything failed, or everything from some place on: smaller groups may do. Other failures
        are the calls' own.

        Args:
            call: One of the group, which has one function.
            returned: By place; None for a failure.
        """
        limit, size = self._limit(call.data[:4]), len(returned)
        failed = [at for at, data in enumerate(returned) if data is None]
        if not failed:
            limit.took(size)
            return []
        if len(failed) == size:
            limit.lower(size // 2)
            return [failed[: size // 2], failed[size // 2 :]]
        if failed == list(range(failed[0], size)):
            limit.lower(failed[0])
            return [failed[at : at + failed[0]] for at in range(0, len(failed), failed[0])]
        return [[at] for at in failed]

    def _limit(self, function: bytes) -> Limit:
        return self._limits.setdefault(function, Limit(MOST_CALLS))
