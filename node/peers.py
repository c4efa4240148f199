"""What this node knows of the other operators, for metrics and for the screen; nothing is decided by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge

from attest.wire.messages import FactorVote, Observation

OPEN_SLOTS = 2
"""So many slots after its own a round's messages count no more."""

MOST_ROUNDS = 16


class PeerDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An operator as this node sees it."""

    operator: int
    last_round: int
    """The newest round that it said something valid in; 0: none."""
    lateness_ms: int
    """How long after the slot began its newest valid message came."""
    clock_offset_ms: int
    """Its clock less this node's when its newest observation came: as far behind as that was under way."""
    signed: int
    """Certificates that carry its signature, of those this node learned."""
    missed: int
    """Certificates without it."""
    outvoted: int
    """Its votes that were far from what was agreed: outside of both confidences."""
    abstained: int
    """Certified rounds in which it said something and signed nothing."""
    disagreed: int
    """Certified rounds in which it signed another report."""
    refused: int
    """Messages by it, or in its name, that were refused."""
    evidence: int
    """Proofs that it said two things."""


class Peers:
    """Counts, by operator index.

    Args:
        n: Size of the committee.
        slot_start_ms: Unix milliseconds at which a round begins.
        registry: Where the series go.
    """

    def __init__(self, n: int, slot_start_ms: Callable[[int], int], registry: CollectorRegistry) -> None:
        self._slot_start_ms = slot_start_ms
        self._last = [0] * n
        self._lateness = [0] * n
        self._signed = [0] * n
        self._missed = [0] * n
        self._refusals = [0] * n
        self._evidence = [0] * n
        self._offset = [0] * n
        self._outvoted = [0] * n
        self._votes: dict[int, tuple[int, tuple[FactorVote, ...]]] = {}
        """By operator: the round of its newest observation, and how it voted."""
        self._abstained = [0] * n
        self._disagreed = [0] * n
        self._rounds: dict[int, dict[int, bytes | None]] = {}
        """Report that each operator signed, None where it only said something, in rounds that are not over."""
        self._reports: dict[int, bytes] = {}
        """Report that was certified, in the same."""
        self._certified: set[int] = set()
        self._last_round = Gauge(
            "plimsoll_peer_round", "Newest round of each operator", ["operator"], registry=registry
        )
        self._seconds = Gauge(
            "plimsoll_peer_lateness_seconds",
            "From the beginning of its slot to the newest message of each operator",
            ["operator"],
            registry=registry,
        )
        self._shares = Counter(
            "plimsoll_peer_certificates",
            "Certificates with and without each operator",
            ["operator", "signed"],
            registry=registry,
        )
        self._refused = Counter(
            "plimsoll_peer_refused",
            "Messages refused, by operator and reason",
            ["operator", "reason"],
            registry=registry,
        )
        self._lies = Counter(
            "plimsoll_peer_evidence", "Proofs that an operator said two things", ["operator"], registry=registry
        )
        self._offsets = Gauge(
            "plimsoll_peer_clock_offset_seconds",
            "Clock of each operator less this node's, when its newest observation came",
            ["operator"],
            registry=registry,
        )
        self._without_share = Counter(
            "plimsoll_peer_unsigned",
            "Certified rounds that each operator took part in without signing the report, by why",
            ["operator", "because"],
            registry=registry,
        )
        self._far_votes = Counter(
            "plimsoll_peer_outvoted", "Votes of each operator far from what was agreed", ["operator"], registry=registry
        )
        self._disagreements = Counter(
            "plimsoll_disagreements", "Rounds of which another report was certified than this node's", registry=registry
        )

    def said(self, operator: int, round_number: int, *, at_ms: int) -> None:
        """Note a valid message."""
        self._last[operator] = max(self._last[operator], round_number)
        self._lateness[operator] = at_ms - self._slot_start_ms(round_number)
        self._last_round.labels(str(operator)).set(self._last[operator])
        self._seconds.labels(str(operator)).set(self._lateness[operator] / 1_000)
        self._rounds.setdefault(round_number, {}).setdefault(operator, None)
        if len(self._rounds) > MOST_ROUNDS:  # nothing was certified for long
            del self._rounds[min(self._rounds)]

    def observed(self, operator: int, round_number: int, observation: Observation, *, at_ms: int) -> None:
        """Note what time it is for an operator, and how it voted."""
        self._votes[operator] = round_number, observation.votes
        self._offset[operator] = observation.clock_ms - at_ms
        self._offsets.labels(str(operator)).set(self._offset[operator] / 1_000)

    def votes(self, round_number: int) -> dict[int, tuple[FactorVote, ...]]:
        """Return how operators voted whose newest observation is of a round."""
        return {each: votes for each, (number, votes) in self._votes.items() if number == round_number}

    def outvoted(self, operator: int, votes: int) -> None:
        """Count votes of an operator that were far from what was agreed."""
        self._outvoted[operator] += votes
        self._far_votes.labels(str(operator)).inc(votes)

    def shared(self, operator: int, round_number: int, report: bytes) -> None:
        """Note which report an operator signed."""
        self._rounds.setdefault(round_number, {})[operator] = report

    def certified(self, round_number: int, report: bytes, signers: Iterable[int]) -> None:
        """Note who signed a certified round; shares of the one before last come no more."""
        if round_number in self._certified:
            return
        self._reports[round_number] = report
        self._close_rounds(round_number - OPEN_SLOTS)
        self._certified = {each for each in self._certified if each > round_number - MOST_ROUNDS} | {round_number}
        signed = frozenset(signers)
        for operator in range(len(self._last)):
            self._signed[operator] += operator in signed
            self._missed[operator] += operator not in signed
            self._shares.labels(str(operator), "yes" if operator in signed else "no").inc()

    def _close_rounds(self, last: int) -> None:
        for round_number in [number for number in self._rounds if number <= last]:
            said, certified = self._rounds.pop(round_number), self._reports.pop(round_number, None)
            for operator, report in said.items() if certified is not None else ():
                if report is None:
                    self._abstained[operator] += 1
                    self._without_share.labels(str(operator), "abstained").inc()
                elif report != certified:
                    self._disagreed[operator] += 1
                    self._without_share.labels(str(operator), "disagreed").inc()

    def refused(self, operator: int, reason: str) -> None:
        """Count a message that was refused."""
        self._refusals[operator] += 1
        self._refused.labels(str(operator), reason).inc()

    def equivocated(self, operator: int) -> None:
        """Count a proof that an operator said two things."""
        self._evidence[operator] += 1
        self._lies.labels(str(operator)).inc()

    def disagreed(self) -> None:
        """Count a round of which another report was certified than this node computed."""
        self._disagreements.inc()

    def documents(self) -> tuple[PeerDocument, ...]:
        """Return all operators, by index."""
        return tuple(
            PeerDocument(
                operator=operator,
                last_round=self._last[operator],
                lateness_ms=self._lateness[operator],
                clock_offset_ms=self._offset[operator],
                signed=self._signed[operator],
                missed=self._missed[operator],
                outvoted=self._outvoted[operator],
                abstained=self._abstained[operator],
                disagreed=self._disagreed[operator],
                refused=self._refusals[operator],
                evidence=self._evidence[operator],
            )
            for operator in range(len(self._last))
        )
