"""The health of one endpoint: what is wrong with it, and when it may be asked again."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

import msgspec

from adapters.chains.provider import RateLimited
from riskschema.errors import TransientError


class EndpointState(StrEnum):
    """What is known of an endpoint."""

    ALIVE = "alive"
    BEHIND = "behind"
    """Does not know a block that others know."""
    LIMITED = "limited"
    """Asks to slow down, or its call budget is spent."""
    UNREACHABLE = "unreachable"
    PRUNED = "pruned"
    """Does not keep what was asked of it."""
    BROKEN = "broken"
    """Refuses, answers nonsense, or caps the gas of a call too low."""
    WRONG_CHAIN = "wrong_chain"
    LYING = "lying"
    """Contradicted as many others as must agree."""


_STATE_OF_CODE = {
    "block_unknown": EndpointState.BEHIND,
    "call_budget_spent": EndpointState.LIMITED,
    "endpoint_unreachable": EndpointState.UNREACHABLE,
    "history_pruned": EndpointState.PRUNED,
    "wrong_chain": EndpointState.WRONG_CHAIN,
}
DISTRUSTED = frozenset({EndpointState.LYING, EndpointState.WRONG_CHAIN})
"""Never asked before the quarantine is over, not even where nobody else answers."""
_FIRST_PAUSE_SECONDS = {EndpointState.LYING: 60.0, EndpointState.WRONG_CHAIN: 60.0}
_LONGEST_PAUSE_SECONDS = {EndpointState.LYING: 3_600.0, EndpointState.WRONG_CHAIN: 3_600.0, EndpointState.BEHIND: 8.0}
_PAUSE_SECONDS = 0.25
_MOST_SECONDS = 60.0
_FORGOTTEN_AFTER_SECONDS = 600.0
"""Alive for so long, an endpoint's next fault counts as its first."""


class Fault(msgspec.Struct, frozen=True):
    """What an endpoint did."""

    state: EndpointState
    detail: str
    """With the endpoint's origin only."""
    pause: float | None = None
    """Seconds for which it asked."""


def fault_of(error: TransientError) -> Fault:
    """Return what a failed request says about the endpoint."""
    if isinstance(error, RateLimited):
        return Fault(EndpointState.LIMITED, error.message, error.retry_after)
    return Fault(_STATE_OF_CODE.get(error.code, EndpointState.BROKEN), error.message)


class Health:
    """State, and the pause that doubles with every fault of a kind in a row.

    Args:
        clock: Seconds of any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offences: dict[EndpointState, int] = {}
        self.state = EndpointState.ALIVE
        self.detail = ""
        self.paused_until = clock()
        self._alive_since = clock()

    @property
    def alive(self) -> bool:
        """Tell whether it is asked before others that are not."""
        return self.state is EndpointState.ALIVE

    @property
    def pause(self) -> float:
        """Return for how many more seconds it is left alone."""
        return max(0.0, self.paused_until - self._clock())

    def extend(self, seconds: float) -> None:
        """Leave it alone for `seconds` from now."""
        self.paused_until = self._clock() + seconds

    def fail(self, fault: Fault) -> bool:
        """Note a fault; return whether the state changed."""
        if self.state is EndpointState.LYING and fault.state is not EndpointState.LYING:
            return False  # a liar that breaks is still one
        if self.alive and self._clock() - self._alive_since > _FORGOTTEN_AFTER_SECONDS:
            self._offences.clear()
        changed = self.state is not fault.state
        offences = self._offences.get(fault.state, 0)
        self._offences[fault.state] = min(offences + 1, 30)
        longest = _LONGEST_PAUSE_SECONDS.get(fault.state, _MOST_SECONDS)
        pause = min(longest, _FIRST_PAUSE_SECONDS.get(fault.state, _PAUSE_SECONDS) * 2.0**offences)
        self.state, self.detail = fault.state, fault.detail
        self.paused_until = self._clock() + (pause if fault.pause is None else fault.pause)
        return changed

    def recover(self) -> bool:
        """Note that it answers well again; return whether that is new."""
        if self.alive:
            return False
        self.state, self.detail, self._alive_since = EndpointState.ALIVE, "", self._clock()
        return True
