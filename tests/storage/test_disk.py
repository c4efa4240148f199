"""What a round takes on the disk, and that docs/operating.md says so."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from bench.disk import bytes_per_account, stored_accounts

OPERATING = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
DAY = 86_400
ACCOUNTS = 640
MOST_BYTES = 800


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> float:
    return asyncio.run(bytes_per_account(stored_accounts(ACCOUNTS), tmp_path_factory.mktemp("disk")))


def stated_bytes() -> int:
    (stated,) = re.findall(r"about (\d+) bytes per account and round", OPERATING)
    return int(stated)


def sizing() -> list[list[str]]:
    block = OPERATING.split("<!-- sizing -->")[1].split("<!-- /sizing -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines()][2:]


def two_digits(number: float) -> float:
    return float(f"{number:.2g}")


def test_an_account_of_three_positions_takes_no_more_than_promised(measured: float) -> None:
    assert measured <= MOST_BYTES


def test_the_stated_bytes_are_those_measured(measured: float) -> None:
    assert stated_bytes() == pytest.approx(measured, rel=0.1)


def test_every_figure_of_the_sizing_table_follows_from_the_stated_bytes() -> None:
    rows = sizing()
    assert len(rows) >= 4
    for accounts, interval, a_round, a_day, kept in rows:
        count, seconds = int(accounts.replace(",", "")), int(interval.removesuffix(" s"))
        megabytes = count * stated_bytes() / 1e6
        assert float(a_round.removesuffix(" MB")) == two_digits(megabytes)
        assert float(a_day.removesuffix(" GB")) == two_digits(megabytes * DAY / seconds / 1e3)
        rounds = min(10_000, 10_000 / megabytes)
        assert float(kept.removesuffix(" days")) == two_digits(rounds * seconds / DAY)
