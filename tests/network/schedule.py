"""One seeded life of a committee in virtual time: bad weather and liars, then calm in which it must go on."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from attest.agreement.outcome import Outcome
from attest.agreement.state import AgreedState, genesis_state
from attest.formats.certificate import Certificate
from attest.formats.header import ReportHeader
from attest.formats.quorums import tolerated_faults
from attest.wire.messages import FactorVote, Observation, ReportReference
from riskschema.units import Wad
from tests.attest.agreement.round_kit import block, genesis_history, report
from tests.network.correct_operator import CorrectOperator
from tests.network.fake_keys import fast_rules
from tests.network.laws import Laws
from tests.network.liars import Liars
from tests.network.parcels import CALM, Message, Parcel, Weather, stormy

STORMY_ROUNDS = 4
CALM_ROUNDS = 4
SETTLING_ROUNDS = 2
"""Of the calm: in them states are fetched and certificates spread."""
NEAR_THE_HOUR = 356
"""Rounds of ten seconds from the genesis: the next hour of the price table begins while the schedule runs."""
TICK_MS = 500


class Schedule:
    """Everything follows from the seed, so that a failing one can be run again."""

    def __init__(
        self,
        n: int,
        seed: int,
        *,
        faulty: int | None = None,
        forgetful: bool = False,
        storm: Callable[[Random, int, int], Weather] = stormy,
        rounds: int = STORMY_ROUNDS,
    ) -> None:
        """Draw the committee.

        Args:
            n: Operators.
            seed: Of everything.
            faulty: How many lie; as many as may be, or none, if None.
            forgetful: Correct operators lose disk and guard in a crash, which they must not.
            storm: Draws the weather of a slot.
            rounds: How many are stormy.
        """
        self.rules = fast_rules(n)
        self.random = Random(f"{n}/{seed}")
        self.genesis = genesis_state(self.rules, genesis_history())
        count = tolerated_faults(n) if faulty is None else faulty
        lying = self.random.sample(range(n), self.random.choice([count, count, count, 0]) if faulty is None else count)
        self.laws = Laws(self.rules, lying)
        self.weather = CALM
        self._storm = storm
        self.operators = {
            index: CorrectOperator(index, self, clock_error=self.random.choice([0, 0, 900, -900]), forgetful=forgetful)
            for index in range(n)
            if index not in lying
        }
        self._fragile = self.random.choice(list(self.operators))
        self.liars = Liars(lying, self) if lying else None
        self._laggard: int | None = self.random.choice([self._fragile, None, None]) if lying else None
        self.first = self.random.choice([1, NEAR_THE_HOUR])
        if self._laggard is not None:  # a liar leads the last stormy round, in which all hear each other again
            self.first = next(
                number for number in range(self.first, 500) if self.rules.leader(number + rounds - 1) in lying
            )
        self.calm_from = self.first + rounds
        self.now = self.rules.slot_start_ms(self.first)
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0
        self._reports: dict[Outcome, tuple[ReportHeader, AgreedState]] = {}

    @property
    def crash_rate(self) -> float:
        """How likely the process ends at an effect."""
        return self.weather.crashes

    def run(self) -> Schedule:
        """Live through storm and calm.

        Raises:
            LawBroken: an invariant does not hold.
        """
        end = self.calm_from + CALM_ROUNDS
        for number in range(self.first, end):
            self._slot(number)
        last = end - 2
        for number in range(self.calm_from + SETTLING_ROUNDS, last + 1):
            if self.rules.leader(number) in self.operators:
                holders = [index for index, each in self.operators.items() if number in each.disk.certificates]
                self.laws.live(number, holders, self.operators)
        return self

    def _slot(self, number: int) -> None:
        start, calm = self.rules.slot_start_ms(number), number >= self.calm_from
        self.weather = CALM if calm else self._draw_weather(number)
        self._start_those_that_are_down(certainly=calm)
        if not calm and self.random.random() < 0.1:
            self.random.choice(list(self.operators.values())).misread(start + 10**6 * self.rules.interval_ms)
        if self.liars is not None:
            liars = self.liars
            self.later(self.random.choice([0, 300, 9_000]), lambda: liars.begin(number, self.now))
        for moment in range(start, start + self.rules.interval_ms, TICK_MS):
            self._deliver_until(moment)
            self.now = moment
            for operator in self.operators.values():
                operator.tick(moment)
        self._deliver_until(start + self.rules.interval_ms - 1)

    def _draw_weather(self, number: int) -> Weather:
        if self._laggard is None:
            return self._storm(self.random, self.rules.n, self.rules.interval_ms)
        return Weather(deaf=frozenset([self._laggard])) if number < self.calm_from - 1 else Weather()

    def _start_those_that_are_down(self, *, certainly: bool) -> None:
        for operator in self.operators.values():
            if operator.machine is None and (certainly or operator.starts == 0 or self.random.random() < 0.6):
                operator.start(self.now)

    def _deliver_until(self, moment: int) -> None:
        while self._events and self._events[0][0] <= moment:
            self.now, _, act = heapq.heappop(self._events)
            act()

    def look(self, operator: int, highest: ReportReference, clock_ms: int) -> Observation:
        """Return a view of chain and market that is right, but not quite that of the others."""
        head = 1_000 + self.now // 1_000 % 100_000 - self.random.choice([0, 0, 1, 2])
        now = self.now // 1_000
        heads = [block(number, timestamp=now - (head - number)) for number in range(head - 2, head + 1)]
        if self.weather is not CALM and self.random.random() < 0.1:  # the newest block is one of a fork
            heads[-1] = block(head, timestamp=now, fork=bytes([operator]))
        votes = [self._vote("BTC", 50_000), self._vote("ETH", 3_000)]
        if self.weather is not CALM and self.random.random() < 0.1:
            votes = votes[:1]
        return Observation(clock_ms=clock_ms, heads=tuple(heads), votes=tuple(votes), highest_certified=highest)

    def assess(self, outcome: Outcome, parent_state: AgreedState) -> tuple[ReportHeader, AgreedState]:
        """Return the report of an outcome, worked out once."""
        if outcome not in self._reports:
            self._reports[outcome] = report(self.rules, outcome, parent_state)
        return self._reports[outcome]

    def assessment_ms(self) -> int | None:
        """Return how long an assessment takes in this weather; None: it fails."""
        return self.random.choice(self.weather.slow)

    def broadcast(self, sender: int, parcel: Parcel) -> None:
        """Send to all others; the liars hear it at once."""
        if self.liars is not None and isinstance(parcel, Message):
            self.liars.hear(parcel.payload)
        for receiver in self.operators:
            if receiver != sender:
                self.send(sender, receiver, parcel)

    def send(self, sender: int, receiver: int, parcel: Parcel) -> None:
        """Send to one; what arrives is the weather's business."""
        weather, random = self.weather, self.random
        if receiver not in self.operators:
            if self.liars is not None:
                self.liars.take(receiver, parcel)
            return
        if not weather.carries(sender, receiver) or (weather.loss and random.random() < weather.loss):
            return
        for _ in range(1 + (random.random() < weather.doubling)):
            delay = random.randint(10, weather.longest_delay_ms)
            self.later(delay, lambda: self.operators[receiver].take(parcel, self.now))

    def later(self, milliseconds: int, act: Callable[[], object]) -> None:
        """Do something after a while."""
        self._count += 1
        heapq.heappush(self._events, (self.now + milliseconds, self._count, act))

    def certified(self, certificate: Certificate) -> None:
        """Show the liars what everybody knows."""
        if self.liars is not None:
            self.liars.learn(certificate)

    def may_lose_database(self, operator: int) -> bool:
        """Say whether a crash takes an operator's database: of one only, or a state could be lost to all."""
        return operator == self._fragile

    def _vote(self, factor: str, price: int) -> FactorVote:
        value = price * 10**18 * (1_000_000 + self.random.randint(-2_000, 2_000)) // 1_000_000
        return FactorVote(factor=factor, value=Wad(value), confidence=Wad(value // self.random.choice([500, 1_000])))
