"""One operator of four whose files are put back from an old copy, and whose key is used on two machines."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import run

import pytest

from attest.formats.committee import round_at
from attest.keys.guard import guard_path
from node.cli.endings import FOR_A_PERSON
from node.key_files import ATTESTATION
from tests.node.gossip.running_brokers import require_mosquitto
from tests.soak.committee_watch import accused_in, same_reports
from tests.soak.local_committee import (
    DATABASE,
    LOOK_SECONDS,
    LocalCommittee,
    adopted,
    certificates_signed_by,
    computed,
    copy_of,
    local_committee,
    newest_certified,
    observed,
    put_back,
    said_in,
    save,
)
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.chain, pytest.mark.timeout(7_200), pytest.mark.xdist_group("node")]

OPERATORS, VICTIM = 4, 2
OVER_SLOTS = 3
"""After which nothing that a machine said counts any more."""
AGREES_WITHIN = 2
"""Rounds that the others certify from its first message on, until it has computed one of them."""


@dataclass
class Victim:
    """An operator in whatever life, with all that its earlier lives left."""

    running: LocalCommittee
    directory: Path
    lives: list[Path] = field(default_factory=list)
    latest: int = 0
    """Most certified rounds that passed until it agreed."""

    @property
    def others(self) -> Sequence[Path]:
        found = (operator.directory for operator in self.running.network.operators)
        return [each for each in found if each != self.directory]

    async def die(self) -> None:
        """Kill it, and keep what it said."""
        await self.running.kill(self.directory)
        self.keep(self.directory)

    def keep(self, directory: Path) -> None:
        """Keep what a directory's database and guard say."""
        self.lives.append(self.directory.with_name(f"life-{len(self.lives)}"))
        save(directory, self.lives[-1], guard=True)

    async def agree(self, since: int) -> None:
        """Wait until it computes what the others certify, after a start in a slot."""
        end = time.monotonic() + 300
        while True:
            self.running.check()
            own = [number for number in observed(self.directory, VICTIM) if number > since]
            if own and (agreed := [number for number in computed(self.directory) if number >= min(own)]):
                break
            assert time.monotonic() < end, self.running.tell(self.directory)
            await asyncio.sleep(LOOK_SECONDS)
        other = computed(self.others[0]) | adopted(self.others[0])
        self.latest = max(self.latest, len([number for number in other if min(own) <= number < min(agreed)]))
        await self.running.everyone_has([*self.others, self.directory], min(agreed) + 1)

    def slot(self) -> int:
        """The slot of now."""
        return round_at(self.running.network.committee, int(time.time()))


async def test_a_key_says_nothing_twice_whatever_is_put_back_and_wherever_it_is_started(
    tmp_path: Path, tally: Tally
) -> None:
    require_mosquitto()
    async with local_committee(tmp_path, nodes=OPERATORS) as running:
        operators = running.network.operators
        victim = Victim(running, operators[VICTIM].directory)
        everyone = [operator.directory for operator in operators]
        for directory in everyone:
            await running.start(directory)
        await running.everyone_has(everyone, 2)
        await files_are_put_back(victim, tmp_path / "saved")
        stopped = await started_apart(victim)
        stopped += await moved_and_switched_on_again(victim)
        stopped += await started_together(victim)
        certified = [each for directory in everyone for each in (computed(directory) | adopted(directory))]
        await running.stop()
    databases = [directory / DATABASE for directory in everyone]
    said = said_in([*victim.lives, victim.directory], VICTIM)
    signed = certificates_signed_by(everyone, VICTIM)
    tally.count(operators=OPERATORS, certified=len(same_reports(databases)), restores=3, copies=4)
    tally.count(copies_that_stopped=stopped, messages=sum(map(len, said.values())), signed=len(signed))
    tally.count(most_rounds_until_it_agrees=victim.latest)
    twice = [key for key, found in said.items() if len(found) > 1]
    assert not twice, f"the key said two things: {twice}"
    assert signed.items() <= {number: found for (kind, number), found in said.items() if kind == "report"}.items()
    assert not any(accused_in(database) for database in databases), "evidence against an honest operator"
    final = {each for directory in everyone for each in (computed(directory) | adopted(directory))}
    assert set(certified) <= final, "a certified report is gone"
    assert victim.latest <= AGREES_WITHIN


async def files_are_put_back(victim: Victim, saved: Path) -> None:
    """Save it, let it go on for some rounds, and put back database, guard, and both."""
    running, directory = victim.running, victim.directory
    await victim.die()
    save(directory, saved, guard=True)
    await running.start(directory)
    await running.everyone_has([*victim.others, directory], newest_certified(victim.others[0]) + 3)

    await victim.die()
    put_back(directory, saved, database=True, guard=False)
    since = victim.slot()
    await running.start(directory)
    await victim.agree(since)

    await victim.die()
    put_back(directory, saved, database=False, guard=True)
    since = victim.slot()
    await running.start(directory)
    await victim.agree(since)
    assert '"listening"' in log(directory), "a guard that forgot listens"

    await victim.die()
    put_back(directory, saved, database=True, guard=True)
    lock = directory / "keys" / f"{ATTESTATION}.guard.lock"
    await asyncio.to_thread(shutil.copy2, victim.lives[-1] / lock.name, lock)  # a copy of the guard alone, by hand
    await running.start(directory)
    assert await running.end(directory) == FOR_A_PERSON
    assert "guard_put_back" in log(directory)
    renew = [
        sys.executable,
        "-P",
        "-m",
        "node.cli",
        "keys",
        "renew-guard",
        "--yes",
        "--directory",
        str(directory / "keys"),
    ]
    await asyncio.to_thread(run, renew, check=True, capture_output=True)
    since = victim.slot()
    await running.start(directory)
    await victim.agree(since)


async def started_apart(victim: Victim) -> int:
    """Start the key elsewhere while its node runs, without its guard and with a copy of it; both copies stop."""
    running, operator = victim.running, victim.running.network.operators[VICTIM]
    for guard in (False, True):
        twin = copy_of(operator, f"twin-{guard}", guard=guard)
        await running.start(twin)
        assert await running.end(twin) == FOR_A_PERSON
        assert "key_in_use" in log(twin)
        victim.keep(twin)
        since = victim.slot()
        await victim.agree(since)
    return 2


async def moved_and_switched_on_again(victim: Victim) -> int:
    """Let the key go on elsewhere, then start the machine that it was on: its guard is whole, and not the newest."""
    running, directory = victim.running, victim.directory
    await victim.die()
    twin = copy_of(running.network.operators[VICTIM], "twin-moved", guard=True)
    await running.start(twin)
    while not computed(twin):
        running.check()
        await asyncio.sleep(LOOK_SECONDS)
    await running.start(directory)
    assert await running.end(directory) == FOR_A_PERSON
    assert "key_in_use" in log(directory)
    await running.everyone_has([*victim.others, twin], newest_certified(victim.others[0]) + 1)
    await running.kill(twin)
    victim.keep(twin)
    await asyncio.sleep(OVER_SLOTS * running.network.committee.round_interval_seconds)
    since = victim.slot()
    await running.start(directory)
    await victim.agree(since)
    return 1


async def started_together(victim: Victim) -> int:
    """Start the key on two machines at once, neither of which knows what it signed; at least one stops."""
    running, directory = victim.running, victim.directory
    await victim.die()
    twin = copy_of(running.network.operators[VICTIM], "twin-together", guard=False)
    guard = guard_path(directory / "keys" / ATTESTATION)
    for path in guard.parent.glob(guard.name + "*"):
        path.unlink()
    for each in (directory, twin):
        await running.start(each)
    gone = await asyncio.gather(running.ends(directory), running.ends(twin))
    ended = [each for each, over in zip((directory, twin), gone, strict=True) if over]
    assert ended
    assert all("key_in_use" in log(each) for each in ended)
    stopped = len(ended)
    if twin not in ended:
        await running.kill(twin)
    victim.keep(twin)
    since = victim.slot()
    for each in ended:
        assert await running.end(each) == FOR_A_PERSON
    if directory in ended:
        await running.start(directory)
    await victim.agree(since)
    return stopped


def log(directory: Path) -> str:
    return (directory / "log").read_text()
