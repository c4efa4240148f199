"""One seeded life of a committee: bad weather with crashes and partitions, then calm in which it must go on."""

from __future__ import annotations

from random import Random

import msgspec

from attest.agreement.state import genesis_state
from attest.formats.quorums import tolerated_faults
from attest.wire.messages import FactorVote, Observation, ReportReference
from riskschema.units import Wad
from tests.attest.agreement.round_kit import INTERVAL, block, genesis_history, observation, rules
from tests.soak.adversary import Adversary
from tests.soak.correct_operator import CorrectOperator
from tests.soak.laws import Laws
from tests.soak.wire import CALM, Parcel, Weather, Wire

STORMY_ROUNDS = 6
CALM_ROUNDS = 7
SETTLING_ROUNDS = 2
"""Of the calm: in them states are fetched and certificates spread."""
NEAR_THE_HOUR = 354
"""Rounds of ten seconds from the genesis: the next hour of the price table begins while the schedule runs."""
CHANGE_OF_WEATHER = 12


class Schedule:
    """Everything follows from the seed, so that a failing one can be run again."""

    def __init__(self, n: int, seed: int, *, faulty: int | None = None, forgetful: bool = False) -> None:
        """Draw the committee.

        Args:
            n: Operators.
            seed: Of everything.
            faulty: How many lie; as many as may be, or none, if None.
            forgetful: Correct operators lose their disk in a crash, which they must not.
        """
        self.rules = rules(n)
        self.random = Random(f"{n}/{seed}")
        self.genesis = genesis_state(self.rules, genesis_history())
        count = tolerated_faults(n) if faulty is None else faulty
        liars = self.random.sample(range(n), self.random.choice([count, count, count, 0]) if faulty is None else count)
        self.laws = Laws(self.rules, liars)
        self.wire = Wire(self.random)
        self.crash_rate = 0.0
        self.operators = {
            index: CorrectOperator(index, self, clock_error=self.random.choice([0, 0, 1, -1]), forgetful=forgetful)
            for index in range(n)
            if index not in liars
        }
        self.adversary = Adversary(liars, self) if liars else None
        self.first = self.random.choice([1, NEAR_THE_HOUR])
        self.now = float(self.rules.slot_start(self.first))
        self._holders: dict[int, set[int]] = {}

    def run(self) -> None:
        """Live through storm and calm.

        Raises:
            LawBroken: an invariant does not hold.
        """
        calm_from = self.first + STORMY_ROUNDS
        while self.round < calm_from + CALM_ROUNDS:
            if int(self.now) % CHANGE_OF_WEATHER == 0 or self.now == self.rules.slot_start(calm_from):
                self._change_weather(calm=self.round >= calm_from)
            self._second()
            self.now += 1.0
            self._note_holders()
        self._demand_progress(calm_from + SETTLING_ROUNDS, calm_from + CALM_ROUNDS - 2)

    @property
    def round(self) -> int:
        """The slot of now."""
        return int(self.now - self.rules.committee.genesis_time) // INTERVAL

    def look(self, operator: int, highest: ReportReference, now: int) -> Observation:
        """Return a view of chain and market that is right, but not quite that of the others."""
        head = 1_000 + int(self.now) % 100_000 - self.random.choice([0, 0, 1, 2])
        seen = observation(now, head=head, highest=highest)
        if self.wire.weather is not CALM and self.random.random() < 0.1:  # the newest block is one of a fork
            fork = block(head, timestamp=now, fork=bytes([operator]))
            seen = msgspec.structs.replace(seen, heads=(*seen.heads[:-1], fork))
        votes = [self._vote(vote.factor, vote.value) for vote in seen.votes]
        if self.wire.weather is not CALM and self.random.random() < 0.1:
            votes = votes[:1]
        return msgspec.structs.replace(seen, votes=tuple(votes))

    def broadcast(self, sender: int, parcel: Parcel) -> None:
        """Send to all others."""
        self.wire.send(sender, [each for each in range(self.rules.n) if each != sender], parcel, self.now)

    def answer(self, sender: int, receiver: int, parcel: Parcel) -> None:
        """Send to one."""
        self.wire.send(sender, [receiver], parcel, self.now)

    def _second(self) -> None:
        for index in self.random.sample(sorted(self.operators), len(self.operators)):
            operator = self.operators[index]
            operator.tick(self.now)
            if operator.machine is None and (self.wire.weather is CALM or self.random.random() < 0.1):
                operator.start()
            elif self.random.random() < self.crash_rate:
                operator.crash()
        if self.adversary is not None:
            self.adversary.tick(int(self.now), self.round)
            self._let_learn(self.adversary)
        begin = self.now
        for arrival, receiver, parcel in self.wire.arrived(begin + 0.999):
            self.now = max(arrival, begin)
            self._deliver(receiver, parcel)
        self.now = begin

    def _deliver(self, receiver: int, parcel: Parcel) -> None:
        if receiver in self.operators:
            self.operators[receiver].take(parcel)
        elif self.adversary is not None:
            self.adversary.take(receiver, parcel)

    def _let_learn(self, adversary: Adversary) -> None:
        """Whoever has a proposal computes its report: the adversary need not be slower than the correct ones."""
        for operator in self.operators.values():
            for reference, (header, _) in operator.disk.reports.items():
                if reference.round >= self.round - 2:
                    adversary.learn_report(header, reference.report_hash)

    def _change_weather(self, *, calm: bool) -> None:
        random = self.random
        self.crash_rate = 0.0 if calm else random.choice([0.0, 0.0, 0.01, 0.03])
        if calm:
            self.wire.weather = CALM
            return
        everyone = random.sample(range(self.rules.n), self.rules.n)
        cut = random.randint(1, self.rules.n - 1)
        parts = (frozenset(everyone[:cut]), frozenset(everyone[cut:]))
        self.wire.weather = Weather(
            loss=random.choice([0.0, 0.0, 0.1, 0.4]),
            doubling=random.choice([0.0, 0.3]),
            longest_delay=random.choice([0.5, 3.0, 15.0]),
            partition=parts if random.random() < 0.25 else (),
        )

    def _vote(self, factor: str, value: int) -> FactorVote:
        price = value * (1_000_000 + self.random.randint(-2_000, 2_000)) // 1_000_000
        return FactorVote(factor=factor, value=Wad(price), confidence=Wad(price // self.random.choice([500, 1_000])))

    def _note_holders(self) -> None:
        for index, operator in self.operators.items():
            self._holders.setdefault(operator.highest, set()).add(index)

    def _demand_progress(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            if self.rules.leader(number) in self.operators:
                self.laws.live(number, self._holders.get(number, ()), self.operators)
