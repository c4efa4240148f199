"""What a committee's rounds took, and what they cost, seen from outside its processes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from attest.agreement.rules import AgreementRules
from attest.formats.certificate import Certificate, decode_certificate
from attest.wire.messages import NO_REPORT
from tests.soak.rows import Tally

TICKS = os.sysconf("SC_CLK_TCK")
ALLOWANCE, FACTOR = 1.0, 1.3
"""The bound of a round: FACTOR times the processor's time of all nodes, shared by the cores, and ALLOWANCE seconds."""
ROUNDS_A_LINE = 10
LOOK_SECONDS = 1.0
STALLED_SECONDS = 400.0


def processor_seconds(pids: Iterable[int]) -> float:
    """Return what processes and all that they started have used."""
    return sum(_used(pid) for pid in _with_children(pids))


def quantile(values: Collection[float], share: float) -> float:
    """Return the lowest value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(-(-round(1_000 * share) * len(ordered) // 1_000) - 1, 0)]


def bound(seconds_per_round: float) -> float:
    """Return how long a round may take, in seconds."""
    return FACTOR * seconds_per_round / (os.cpu_count() or 1) + ALLOWANCE


def same_reports(databases: Iterable[Path]) -> dict[int, Certificate]:
    """Return the certificates that nodes have, by round.

    Raises:
        AssertionError: two have another report of one round, or later reports passed over more than one.
    """
    certified: dict[int, Certificate] = {}
    for database in databases:
        for number, certificate in certificates_in(database).items():
            assert certified.setdefault(number, certificate).report_hash == certificate.report_hash, number
    reports = {number: each.report_hash for number, each in certified.items()}
    assert orphan_depth(reports, {number: each.header.parent for number, each in certified.items()}) <= 1
    return certified


def certificates_in(database: Path) -> dict[int, Certificate]:
    """Return every certificate in a node's database, by round, also of reports that it took over from others."""
    found = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for table in ("reports", "adopted_reports"):
            query = f"SELECT certificate FROM {table} WHERE certificate IS NOT NULL"
            for (payload,) in connection.execute(query):
                certificate = decode_certificate(payload)
                found[certificate.header.round] = certificate
    return found


def accused_in(database: Path) -> set[int]:
    """Return against whom a node has evidence."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return {int(sender) for (sender,) in connection.execute("SELECT sender FROM evidence")}


def transactions_in(databases: Iterable[Path]) -> Counter[int]:
    """Return how many transactions publishers signed for the report of each round, all of them together."""
    signed: Counter[int] = Counter()
    for database in databases:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            signed.update(number for (number,) in connection.execute("SELECT round FROM transactions"))
    return signed


def orphan_depth(certified: Mapping[int, bytes], parents: Mapping[int, bytes]) -> int:
    """Return the longest run of certified reports that later ones passed over.

    Args:
        certified: Report hash by round.
        parents: Hash of the parent by round.
    """
    rounds = {report: number for number, report in certified.items()} | {NO_REPORT: 0}
    depths = [0]
    for number, parent in parents.items():
        if parent in rounds:
            depths.append(sum(rounds[parent] < each < number for each in certified))
    return max(depths)


async def measured(
    delivered: Mapping[int, float], wanted: int, pids: Sequence[int], in_between: Callable[[], Awaitable[None]]
) -> tuple[range, float]:
    """Wait for so many certified rounds; return the slots from the second certified one on, and what each cost.

    The first does not count: not everybody was there yet. It costs seconds of processors.
    """
    await _until(lambda: len(delivered) >= 2, delivered, in_between)
    first, before = max(delivered), processor_seconds(pids)
    await _until(lambda: sum(number > first for number in delivered) >= wanted, delivered, in_between)
    last, after = max(delivered), processor_seconds(pids)
    return range(first + 1, last + 1), (after - before) / (last - first)


async def _until(
    done: Callable[[], bool], delivered: Mapping[int, float], in_between: Callable[[], Awaitable[None]]
) -> None:
    newest = time.time()
    while not done():
        await in_between()
        await asyncio.sleep(LOOK_SECONDS)
        newest = max(newest, *delivered.values(), 0)
        assert time.time() - newest < STALLED_SECONDS, f"nothing is certified after {len(delivered)} rounds"


def tell(
    tally: Tally, rules: AgreementRules, seconds: Mapping[int, float | None], cost: float, lying: Collection[int]
) -> None:
    """Put into a row how long rounds with correct leaders took, and what they may take; and all rounds into a table."""
    fair = [each for number, each in seconds.items() if rules.leader(number) not in lying]
    reached = [each for each in fair if each is not None]
    certified = sum(each is not None for each in seconds.values())
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    tally.count(slots=len(seconds), certified=certified, led_by_a_correct_one=len(fair), of_them_certified=len(reached))
    tally.count(p95_seconds=round(quantile(reached, 0.95), 2), allowed=round(bound(cost), 2))
    tally.count(processor_seconds_a_round=round(cost, 2), cores=os.cpu_count() or 1, load=load)
    starred = {number for number in seconds if rules.leader(number) in lying}
    tally.lines = table_of(seconds, starred)


def table_of(seconds: Mapping[int, float | None], starred: Collection[int]) -> list[dict[str, int | float | str]]:
    """Return all rounds, ten a line, with the seconds to the certificate; `*`: a liar led."""
    lines: list[dict[str, int | float | str]] = []
    numbers = sorted(seconds)
    for start in range(0, len(numbers), ROUNDS_A_LINE):
        part = numbers[start : start + ROUNDS_A_LINE]
        cells = [_cell(seconds[number], starred=number in starred) for number in part]
        cells += [""] * (ROUNDS_A_LINE - len(cells))
        line: dict[str, int | float | str] = {"from round": str(part[0])}
        lines.append(line | {f"+{place}": cell for place, cell in enumerate(cells)})
    return lines


def _cell(seconds: float | None, *, starred: bool) -> str:
    text = "none" if seconds is None else f"{seconds:.2f}"
    return f"{text}\\*" if starred else text


def _used(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(each) for each in fields[11:15]) / TICKS


def _with_children(pids: Iterable[int]) -> Sequence[int]:
    found, pending = [], list(pids)
    while pending:
        pid = pending.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            pending += [int(child) for child in task.read_text().split()]
    return found
