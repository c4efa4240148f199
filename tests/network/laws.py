"""What must hold at every step of a committee, however the network and up to f operators behave (docs/agreement.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from attest.agreement.certified import KEPT_REPORTS
from attest.agreement.effects import Equivocation
from attest.agreement.machine import RoundMachine
from attest.agreement.outcome import Outcome
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate
from attest.formats.header import ReportHeader
from attest.formats.quorums import byzantine
from attest.hours.hourly import HourRow
from attest.wire.messages import NO_REPORT, ROUND_KINDS, Observation

OPEN_ROUNDS = 3


class LawBroken(AssertionError):
    """An invariant of the agreement does not hold."""


class Laws:
    """Knows everything that correct operators did; the faulty ones may have signed whatever helps them."""

    def __init__(self, rules: AgreementRules, faulty: Collection[int]) -> None:
        self._rules = rules
        self._quorum = byzantine(rules.n)
        self._faulty = frozenset(faulty)
        self._seen: dict[int, list[Observation]] = defaultdict(list)
        self._signers: dict[int, dict[bytes, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._rounds: dict[bytes, int] = {NO_REPORT: 0}
        """Round of every report that a quorum can have signed."""
        self._parents: dict[int, int] = {}
        """Round of the parent, by round, of the same."""
        self._hours: dict[int, HourRow] = {}
        """Hours that are final."""
        self._states: dict[bytes, AgreedState] = {}
        self._said: dict[tuple[int, int, int], bytes] = {}
        self.certified: dict[int, bytes] = {}
        """Report hash by round."""
        self.orphans = 0
        """Reports that a quorum can have signed and on which the next one does not build."""

    def observed(self, round_number: int, observation: Observation) -> None:
        """Note what a correct operator saw."""
        self._seen[round_number].append(observation)

    def said(self, operator: int, round_number: int, kind: int, payload: bytes) -> None:
        """A correct operator sends one message of a kind and round, whatever it went through."""
        first = self._said.setdefault((operator, round_number, kind), payload)
        self._demand(first == payload, f"operator {operator} said two things of kind {kind} in round {round_number}")

    def stored(self, *, kept: bool) -> None:
        """What is sent is stored before."""
        self._demand(kept, "something was sent that was not stored")

    def settled(self, outcome: Outcome) -> None:
        """An agreed value, confidence, block and time lies within what correct operators said."""
        seen = self._seen[outcome.round]
        for value in outcome.values:
            if not value.stale:
                votes = [vote for each in seen for vote in each.votes if vote.factor == value.factor]
                honest = [vote.value for vote in votes]
                self._demand(
                    bool(honest) and min(honest) <= value.value <= max(honest),
                    f"round {outcome.round}: {value.factor} at {value.value}, correct operators said {honest}",
                )
                widest = max(max(vote.confidence, abs(vote.value - value.value)) for vote in votes)
                self._demand(value.confidence <= widest, f"round {outcome.round}: confidence of {value.factor}")
        known = {head for each in seen for head in each.heads}
        self._demand(known.issuperset(outcome.pins), f"round {outcome.round}: a pin that no correct operator saw")
        latest = max((each.clock_ms // 1_000 for each in seen), default=0)
        follows = outcome.parent.round > 0 and outcome.observed_at > latest
        self._demand(
            outcome.observed_at <= latest or follows, f"round {outcome.round}: observed in the future of all clocks"
        )

    def signed(self, operator: int, header: ReportHeader, report: bytes) -> None:
        """A correct operator signs one report a round; one of a round can be certified; parents never go back."""
        signers = self._signers[header.round]
        signers[report].add(operator)
        mine = [each for each, who in signers.items() if operator in who]
        self._demand(len(mine) == 1, f"operator {operator} signed {len(mine)} reports of round {header.round}")
        able = [each for each, who in signers.items() if len(who) + len(self._faulty) >= self._quorum]
        self._demand(len(able) <= 1, f"round {header.round}: {len(able)} reports can be certified")
        if report in able and report not in self._rounds:
            self._certifiable(header, report)

    def _certifiable(self, header: ReportHeader, report: bytes) -> None:
        self._demand(header.parent in self._rounds, f"round {header.round} builds on what nobody can have certified")
        self._rounds[report] = header.round
        self._parents[header.round] = parent = self._rounds[header.parent]
        below = [each for number, each in self._parents.items() if number < header.round]
        above = [each for number, each in self._parents.items() if number > header.round]
        self._demand(
            max(below, default=0) <= parent <= min(above, default=parent),
            f"round {header.round} builds on round {parent}, an earlier one on {max(below, default=0)}",
        )
        self.orphans += sum(parent < number < header.round for number in self._parents)

    def holds(self, certificate: Certificate, state: AgreedState | None = None) -> None:
        """Two certificates of a round are of one report; a quorum signed it; hours of its parent are final."""
        header, report = certificate.header, certificate.report_hash
        first = self.certified.setdefault(header.round, report)
        self._demand(first == report, f"two certificates of round {header.round}")
        self._demand(report in self._rounds, f"round {header.round} is certified without a quorum")
        if state is None:
            return
        known = self._states.setdefault(report, state)
        self._demand(known == state, f"two states after round {header.round}")
        self._demand(state.round == header.round, f"a state of round {state.round} after round {header.round}")
        for row in state.hours.recent:
            self._demand(self._hours.get(row.hour, row) == row, f"the final hour {row.hour} changed")
        parent = self._states.get(header.parent)
        for row in parent.hours.recent if parent else ():
            self._hours.setdefault(row.hour, row)

    def accuses(self, evidence: Equivocation) -> None:
        """No correct operator is ever shown to contradict itself, whatever it went through."""
        self._demand(evidence.sender in self._faulty, f"evidence against operator {evidence.sender}, which is correct")

    def bounded(self, machine: RoundMachine) -> None:
        """A machine's memory stays within its bounds, whatever is sent."""
        rounds: Any = machine._open._rounds
        self._demand(len(rounds) <= OPEN_ROUNDS, f"{len(rounds)} rounds are open")
        most = len(ROUND_KINDS) * self._rules.n
        self._demand(
            all(len(each.first) <= most for each in rounds.values()), "more than a message per sender and kind"
        )
        kept = machine._certified
        self._demand(len(kept._states) <= KEPT_REPORTS >= len(kept._certificates), "more reports than are kept")
        self._demand(len(machine._open._refusals._invalid) <= OPEN_ROUNDS * most, "more counts than open rounds have")

    def live(self, round_number: int, holders: Collection[int], correct: Collection[int]) -> None:
        """While n - f operators are correct and connected, a round with a correct leader is certified by all."""
        missing = set(correct) - set(holders)
        self._demand(not missing, f"round {round_number} is not certified at operators {sorted(missing)}")

    @staticmethod
    def _demand(holds: bool, what: str) -> None:
        if not holds:
            raise LawBroken(what)
