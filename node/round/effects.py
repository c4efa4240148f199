"""Picking from the machine's effects what the round loop acts on."""

from __future__ import annotations

from typing import TypeVar

from attest.agreement.effects import Abstain, Effects, Observe, OutcomeReady, Send, StateNeeded
from riskschema.errors import TransientError

E = TypeVar("E")


def find(effects: Effects, kind: type[E]) -> E | None:
    """Return the first effect of a kind."""
    return next((effect for effect in effects if isinstance(effect, kind)), None)


def required(effects: Effects, kind: type[E]) -> E:
    """Return the effect that a step must have; an abstention carries its own reason.

    Raises:
        TransientError: the machine ended the round without it.
    """
    effect = find(effects, kind)
    if effect is not None:
        return effect
    if find(effects, StateNeeded) is not None:
        raise TransientError("the state of the parent report is not known here", code="parent_unknown")
    ended = find(effects, Abstain)
    code = "deadline" if ended is None else ended.code
    raise TransientError(f"the round ended before {kind.__name__}", code=code)


def rounds_begun(effects: Effects) -> tuple[Effects, ...]:
    """Return, oldest round first, the effects that begin or continue each round.

    After a restart that may be two: the round before, of which the report is still missing, and the one of now.
    """
    by_round: dict[int, list[Observe | Send | OutcomeReady]] = {}
    for effect in effects:
        if isinstance(effect, OutcomeReady):
            by_round.setdefault(effect.outcome.round, []).append(effect)
        elif isinstance(effect, Observe | Send):
            by_round.setdefault(effect.round, []).append(effect)
    return tuple(tuple(by_round[number]) for number in sorted(by_round))
