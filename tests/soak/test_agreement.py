"""Ten times the schedules of `tests/network`: nothing contradictory, and progress once it is calm."""

from __future__ import annotations

import pytest

from tests.network.test_schedules import SCHEDULES, broken_laws, lives
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7_200)]


@pytest.mark.parametrize("n", SCHEDULES)
def test_a_committee_never_contradicts_itself_and_goes_on_when_it_can(n: int, scale: float, tally: Tally) -> None:
    seeds = range(SCHEDULES[n], SCHEDULES[n] + round(10 * SCHEDULES[n] * scale))
    seen = lives(n, seeds)
    tally.seeds = f"{seeds[0]} to {seeds[-1]}"
    tally.count(operators=n, schedules=len(seeds), certified_rounds=seen["certified"], restarts=seen["restarts"])
    tally.count(orphaned_reports=seen["orphans"])
    assert seen["certified"] > 3 * len(seeds)
    assert seen["restarts"]


@pytest.mark.parametrize("n", [4, 7, 13])
def test_the_laws_notice_what_more_than_f_liars_can_do(n: int, tally: Tally) -> None:
    seeds = range(60)
    liars = (n - 1) // 3 + 1
    broken = broken_laws(n, seeds, faulty=liars)
    tally.seeds = f"0 to {seeds[-1]}"
    tally.count(operators=n, liars=liars, laws_broken=len(broken))
    assert len(broken) > len(seeds) // 2


def test_the_laws_notice_an_operator_that_forgets_what_it_said(tally: Tally) -> None:
    seeds = range(200)
    broken = broken_laws(4, seeds, faulty=0, forgetful=True)
    tally.seeds = f"0 to {seeds[-1]}"
    tally.count(operators=4, laws_broken=len(broken))
    assert any("said two things" in law for law in broken)
