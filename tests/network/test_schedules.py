"""Thousands of committees in bad weather, with up to f liars: nothing contradictory, and progress once it is calm."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.network.fake_signer import fast_signatures
from tests.network.laws import LawBroken
from tests.network.schedule import Schedule

pytestmark = (
    pytest.mark.no_cover
)  # measuring doubles the longest computation of all, and finds no line that others miss
SCHEDULES = {4: 1_500, 7: 700, 13: 250, 31: 50}
AT_ONCE = 50


def lives(n: int, seeds: range) -> Counter[str]:
    """Run schedules; return what happened in them."""
    seen: Counter[str] = Counter()
    with fast_signatures():
        for seed in seeds:
            schedule = Schedule(n, seed)
            try:
                schedule.run()
            except Exception as error:
                raise AssertionError(f"Schedule({n}, {seed}).run() raises {error!r}") from error
            seen["certified"] += len(schedule.laws.certified)
            seen["orphans"] += schedule.laws.orphans
            seen["restarts"] += sum(each.starts - 1 for each in schedule.operators.values())
    return seen


@pytest.mark.parametrize(
    ("n", "seeds"),
    [
        pytest.param(n, range(first, first + AT_ONCE), id=f"{n} operators from {first}")
        for n, count in SCHEDULES.items()
        for first in range(0, count, AT_ONCE)
    ],
)
def test_a_committee_never_contradicts_itself_and_goes_on_when_it_can(n: int, seeds: range) -> None:
    seen = lives(n, seeds)
    assert seen["certified"] > 3 * len(seeds)
    assert seen["restarts"]
    assert seen["orphans"] or n > 7, "hidden certificates orphan reports, one at a time"


def broken_laws(n: int, seeds: range, *, faulty: int | None = None, forgetful: bool = False) -> list[str]:
    """Return what was noticed in schedules whose operators break the assumptions."""
    broken = []
    with fast_signatures():
        for seed in seeds:
            try:
                Schedule(n, seed, faulty=faulty, forgetful=forgetful).run()
            except LawBroken as law:
                broken.append(str(law))
    return broken


@pytest.mark.parametrize(("n", "count"), [(4, 40), (7, 40), (13, 20)])
def test_one_liar_too_many_breaks_a_law_in_most_lives(n: int, count: int) -> None:
    """Without this the runs above might hold because nothing is looked at, or because nobody tries."""
    seeds = range(count)
    assert len(broken_laws(n, seeds, faulty=(n - 1) // 3 + 1)) > len(seeds) // 2


def test_an_operator_that_forgets_what_it_said_is_noticed() -> None:
    assert any("said two things" in law for law in broken_laws(4, range(60), faulty=0, forgetful=True))
