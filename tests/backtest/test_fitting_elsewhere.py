"""Who fits on another kind of machine finds the same coefficients to three digits, though not the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aggregator.test_exactness import PLAIN, UNSET, VARIANTS, lacking
from tests.patience import HANG_SECONDS

ROOT = Path(__file__).parents[2]
OLDER = {
    name: value
    for variant in (
        "numpy without vector instructions",
        "OpenBLAS as on Nehalem",
        "libm without FMA and AVX2",
        "kernels for a generic CPU",
    )
    for name, value in VARIANTS[variant].items()
}
"""A machine of 2008, all at once."""


def fitted(changes: dict[str, str]) -> list[dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if name not in UNSET and "COV" not in name}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("fitted.py"))],
        env=environment | PLAIN | changes | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def coefficients(groups: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for group in groups:
        for table in ("garch", "realised", "mixture"):
            for name, value in group[table].items():
                yield f"{group['group']} {table} {name}", value


def test_the_coefficients_of_two_kinds_of_machine_agree_to_three_digits() -> None:
    here, elsewhere = fitted({}), fitted(OLDER)
    expected = dict(coefficients(here))
    assert len(expected) == 2 * 12
    assert dict(coefficients(elsewhere)) == pytest.approx(expected, abs=1e-3)
    if not lacking("libm without FMA and AVX2"):
        assert [group["quasi_likelihood"] for group in here] != [group["quasi_likelihood"] for group in elsewhere], (
            "the variant changed nothing, so nothing was compared"
        )
