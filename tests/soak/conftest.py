"""The soak: what takes long. Every test leaves one row of the table in docs/soak.md."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from tests.soak.rows import Tally, write_row

SCALE = "PLIMSOLL_SOAK_SCALE"


@pytest.fixture(scope="session")
def scale() -> float:
    """How much longer or shorter than usual everything runs."""
    return float(os.environ.get(SCALE, "1"))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """What the test did, in words and numbers."""
    request.node.soak_tally = found = Tally()
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the row of a test that ran, or say that it was skipped or failed."""
    report = yield
    if report.when == "call" or report.outcome != "passed":
        write_row(item, report, getattr(item, "soak_tally", Tally()))
    return report
