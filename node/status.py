"""What the node is doing and why it may not be ready: written by the round loop, read by the API and the metrics."""

from __future__ import annotations

import msgspec
import structlog

from riskschema.reasons import REASONS
from riskschema.rounds import RoundStep

STALE_AFTER_INTERVALS = 5
"""Ready until so many intervals passed without a certified round: a few skipped rounds are normal operation."""

ROUNDS = "rounds"
"""The component that is not ready before the first certified round, or when the last one is old."""

_log = structlog.get_logger("node.status")


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a component does not work, since when."""

    component: str
    code: str
    """A key of `riskschema.reasons.REASONS`."""
    since: float | None
    """Unix seconds of the first failure in a row; None where it never worked."""


class CertifiedRound(msgspec.Struct, frozen=True, kw_only=True):
    """The last round that a quorum signed."""

    round: int
    at: float
    """Unix seconds at which this node learned of it."""


class StatusDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What the process that runs the rounds tells those that serve."""

    round: int | None
    step: RoundStep | None
    certified: CertifiedRound | None
    failures: tuple[Failure, ...]


class NodeStatus:
    """The state of the round loop in a few words.

    One task writes, any task of the same event loop reads. A failure is logged when it begins or changes its reason,
    and once more when it is over, never at every repetition. A process that serves has one of its own, which repeats
    what the process with the rounds says (`adopt`) beside what fails here.

    Args:
        round_interval: Seconds from one round to the next.
        stale_after_intervals: Intervals without a certified round after which the node is not ready.
    """

    def __init__(self, *, round_interval: float, stale_after_intervals: int = STALE_AFTER_INTERVALS) -> None:
        self._longest_gap = round_interval * stale_after_intervals
        self._failures: dict[str, Failure] = {}
        self._adopted: tuple[Failure, ...] = ()
        self.round: int | None = None
        self.step: RoundStep | None = None
        self.certified: CertifiedRound | None = None

    def begin(self, round_number: int, step: RoundStep) -> None:
        """Note that `step` of a round begins."""
        self.round = round_number
        self.step = step

    def certify(self, round_number: int, *, at: float) -> None:
        """Note a certified round; one below the last known changes nothing."""
        if self.certified is None or round_number >= self.certified.round:
            self.certified = CertifiedRound(round=round_number, at=at)

    def fail(self, component: str, code: str, *, at: float, detail: str = "") -> None:
        """Note that `component` does not work.

        Args:
            component: What failed: ``chain 1``, ``publisher``, ``market``.
            code: A key of `riskschema.reasons.REASONS`.
            at: Unix seconds.
            detail: For the log only; never shown to strangers.
        """
        known = self._failures.get(component)
        if known is not None and known.code == code:
            return
        since = known.since if known is not None else at
        self._failures[component] = Failure(component=component, code=code, since=since)
        _log.warning("failed", component=component, reason=code, short=_short(code), detail=detail)

    def recover(self, component: str, *, at: float) -> None:
        """Note that `component` works (again)."""
        known = self._failures.pop(component, None)
        if known is not None and known.since is not None:
            _log.info("recovered", component=component, reason=known.code, seconds=round(at - known.since, 3))

    def document(self) -> StatusDocument:
        """Return what `adopt` takes over in another process."""
        return StatusDocument(
            round=self.round, step=self.step, certified=self.certified, failures=tuple(self._failures.values())
        )

    def adopt(self, document: StatusDocument) -> None:
        """Repeat what another process says of itself, in place of what it said before; nothing of it is logged here."""
        self.round, self.step, self._adopted = document.round, document.step, document.failures
        if document.certified is not None and document.certified != self.certified:
            self.certify(document.certified.round, at=document.certified.at)

    def failures(self, now: float) -> tuple[Failure, ...]:
        """Return all that keeps the node from being ready at `now`, rounds first, then by component."""
        overdue = self._overdue(now)
        others = sorted((*self._failures.values(), *self._adopted), key=lambda failure: failure.component)
        return (*([overdue] if overdue else []), *others)

    def ready(self, now: float) -> tuple[str, ...]:
        """Return the codes of `failures`, each once; empty when the node is ready."""
        return tuple(dict.fromkeys(failure.code for failure in self.failures(now)))

    def _overdue(self, now: float) -> Failure | None:
        if self.certified is None:
            return Failure(component=ROUNDS, code="round_missing", since=None)
        if now - self.certified.at > self._longest_gap:
            return Failure(component=ROUNDS, code="round_overdue", since=self.certified.at)
        return None


def _short(code: str) -> str:
    return REASONS[code].short if code in REASONS else code
