"""Thousands of committees in bad weather, with up to f liars: nothing contradictory, and progress once it is calm."""

from __future__ import annotations

import pytest

from tests.soak.laws import LawBroken
from tests.soak.rows import Tally
from tests.soak.schedule import Schedule

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3_600)]

SCHEDULES = {4: 2_000, 7: 700}


@pytest.mark.parametrize("n", SCHEDULES)
def test_a_committee_never_contradicts_itself_and_goes_on_when_it_can(n: int, scale: float, tally: Tally) -> None:
    seeds = range(round(SCHEDULES[n] * scale))
    certified = checks = examined = restarts = 0
    for seed in seeds:
        schedule = Schedule(n, seed)
        try:
            schedule.run()
        except Exception as error:
            raise AssertionError(f"Schedule({n}, {seed}).run() raises {error!r}") from error
        certified += len(schedule.laws.certified)
        checks += schedule.laws.checks
        examined += schedule.laws.examined
        restarts += sum(each.restarts - 1 for each in schedule.operators.values())
    tally.seeds = f"0 to {seeds[-1]}"
    tally.count(operators=n, schedules=len(seeds), certified_rounds=certified, restarts=restarts)
    tally.count(refused_messages_examined=examined, checks=checks)
    assert certified > 6 * len(seeds)
    assert restarts > len(seeds)
    assert examined


def laws_broken(seeds: range, *, faulty: int | None = None, forgetful: bool = False) -> list[str]:
    """Return what was noticed in schedules whose operators break the assumptions."""
    broken = []
    for seed in seeds:
        try:
            Schedule(4, seed, faulty=faulty, forgetful=forgetful).run()
        except LawBroken as law:
            broken.append(str(law))
    return broken


def test_the_laws_notice_what_more_than_f_liars_can_do(tally: Tally) -> None:
    """Without this the runs above might hold because nothing is looked at, or because nobody tries."""
    seeds = range(60)
    broken = laws_broken(seeds, faulty=2)
    tally.seeds = f"0 to {seeds[-1]}"
    tally.count(operators=4, liars=2, laws_broken=len(broken))
    assert any("2 reports can be certified" in law for law in broken)
    assert any("correct operators said" in law for law in broken)
    assert any("a pin that no correct operator saw" in law for law in broken)


def test_the_laws_notice_an_operator_that_forgets_what_it_said(tally: Tally) -> None:
    seeds = range(200)
    broken = laws_broken(seeds, faulty=0, forgetful=True)
    tally.seeds = f"0 to {seeds[-1]}"
    tally.count(operators=4, laws_broken=len(broken))
    assert any("evidence against operator" in law for law in broken)
