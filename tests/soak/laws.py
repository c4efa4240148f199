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
from attest.formats.certificate import Certificate
from attest.wire.messages import NO_REPORT, MessageKind, Observation

OPEN_ROUNDS = 3


class LawBroken(AssertionError):
    """An invariant of the agreement does not hold."""


class Laws:
    """Knows everything that correct operators did; the faulty ones may have signed whatever helps them."""

    def __init__(self, rules: AgreementRules, faulty: Collection[int]) -> None:
        self._rules = rules
        self._faulty = frozenset(faulty)
        self._seen: dict[int, list[Observation]] = defaultdict(list)
        self._signers: dict[int, dict[bytes, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._certifiable = {NO_REPORT}
        self.certified: dict[int, bytes] = {}
        """Report hash by round."""
        self.checks = 0
        self.examined = 0
        """Refused messages before and after which everything remembered was compared."""

    def observed(self, round_number: int, observation: Observation) -> None:
        """Note what a correct operator saw."""
        self._seen[round_number].append(observation)

    def settled(self, outcome: Outcome) -> None:
        """An agreed value, confidence, block and time lies within what correct operators said."""
        seen = self._seen[outcome.round]
        votes: dict[str, list[Any]] = {vote.factor: [] for each in seen for vote in each.votes}
        for vote in (vote for each in seen for vote in each.votes):
            votes[vote.factor].append(vote)
        for value in outcome.values:
            if not value.stale:
                honest = [vote.value for vote in votes.get(value.factor, ())]
                self._demand(
                    bool(honest) and min(honest) <= value.value <= max(honest),
                    f"round {outcome.round}: {value.factor} at {value.value}, correct operators said {honest}",
                )
                widest = max(max(vote.confidence, abs(vote.value - value.value)) for vote in votes[value.factor])
                self._demand(value.confidence <= widest, f"round {outcome.round}: confidence of {value.factor}")
        known = {head for each in seen for head in each.heads}
        self._demand(known.issuperset(outcome.pins), f"round {outcome.round}: a pin that no correct operator saw")
        latest = max((each.clock_ms // 1_000 for each in seen), default=0)
        follows = outcome.parent.round > 0 and outcome.observed_at > latest
        self._demand(
            outcome.observed_at <= latest or follows, f"round {outcome.round}: observed in the future of all clocks"
        )

    def signed(self, operator: int, round_number: int, report: bytes) -> None:
        """A correct operator signs at most one report a round, and only one report a round can be certified."""
        signers = self._signers[round_number]
        signers[report].add(operator)
        mine = [each for each, who in signers.items() if operator in who]
        self._demand(len(mine) == 1, f"operator {operator} signed {len(mine)} reports of round {round_number}")
        able = [each for each, who in signers.items() if len(who) + len(self._faulty) >= self._rules.certifying]
        self._demand(len(able) <= 1, f"round {round_number}: {len(able)} reports can be certified")
        self._certifiable.update(able)

    def holds(self, certificate: Certificate) -> None:
        """Two certificates of a round are of one report, which was signed for and whose parent was certified."""
        header = certificate.header
        report = self.certified.setdefault(header.round, certificate.report_hash)
        self._demand(report == certificate.report_hash, f"two certificates of round {header.round}")
        self._demand(report in self._certifiable, f"round {header.round} is certified without a quorum")
        self._demand(header.parent in self._certifiable, f"round {header.round} builds on what nobody certified")

    def accuses(self, evidence: Equivocation) -> None:
        """No correct operator is ever shown to contradict itself, whatever it went through."""
        self._demand(evidence.sender in self._faulty, f"evidence against operator {evidence.sender}, which is correct")

    def refused(self, before: object, after: object) -> None:
        """A message that is refused changes nothing."""
        self.examined += 1
        self._demand(before == after, "a refused message changed what a machine remembers")

    def bounded(self, machine: RoundMachine) -> None:
        """A machine's memory stays within its bounds, whatever is sent."""
        rounds = machine._open.in_order()
        self._demand(len(rounds) <= OPEN_ROUNDS, f"{len(rounds)} rounds are open")
        most = len(MessageKind) * self._rules.n
        self._demand(all(len(each.first) <= most for each in rounds), "more than a message per sender and kind")
        self._demand(len(machine._certified._states) <= KEPT_REPORTS, "more states than are kept")

    def live(self, round_number: int, holders: Collection[int], correct: Collection[int]) -> None:
        """While n - f operators are correct and connected, a round with a correct leader is certified by all."""
        missing = set(correct) - set(holders)
        self._demand(not missing, f"round {round_number} is not certified at operators {sorted(missing)}")

    def _demand(self, holds: bool, what: str) -> None:
        self.checks += 1
        if not holds:
            raise LawBroken(what)
