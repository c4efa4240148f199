"""Arrays of full size from real prices: the same roots whatever the machine offers, and margins that add up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.assess import assess
from aggregator.parameters import load_parameters
from tests.aggregator.test_exactness import UNSET, VARIANTS
from tests.soak.plain_margin import PlainMargin
from tests.soak.rows import Tally
from tests.soak.test_portfolios import Comparison

ROOT = Path(__file__).parents[2]
PRICES = ROOT.parent / "shared" / "data" / "prices"
FILES = [PRICES / f"binance_usdm_28tokens_1h_{kind}_2020_2024.parquet" for kind in ("close", "high", "low")]
MISSING = [str(path) for path in FILES if not path.exists()]
COMPARED = 60

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(bool(MISSING), reason=f"real prices are not there: {', '.join(MISSING)}"),
]


def roots_under(changes: dict[str, str]) -> dict[str, str]:
    """Run the whole assessment in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in UNSET and "COV" not in name}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("full_size.py")), str(PRICES)],
        env=environment | changes | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-3_000:]
    return dict(json.loads(run.stdout))


def test_the_roots_of_a_whole_market_do_not_depend_on_the_machine(tally: Tally) -> None:
    plain = roots_under({})
    tally.seeds = "28"
    tally.count(variants=len(VARIANTS), arrays_root=f"{plain['arrays_root'][:8]}…")
    different = {name: found for name, changes in VARIANTS.items() if (found := roots_under(changes)) != plain}
    assert different == {}


def test_margins_on_arrays_of_full_size_are_recomputed(tally: Tally) -> None:
    from tests.soak.full_size import SEED, whole_market  # noqa: PLC0415 - needs pyarrow, as the data does

    market, portfolios = whole_market(PRICES)
    batch = assess(portfolios, market, load_parameters())
    plain = PlainMargin(batch.arrays, batch.positions)
    touched = 0
    for index in range(COMPARED):
        margin = plain.account(index)
        Comparison(batch, index, margin).check()
        touched += margin.touches > 0
    tally.seeds = str(SEED)
    quoted, computed = {each.factor for each in market.quotes}, {each.factor for each in batch.arrays.factors}
    tally.count(tokens=len(quoted), factors=len(computed), blocks=batch.arrays.blocks, portfolios=COMPARED)
    assert batch.arrays.blocks == 1_100
    assert len(quoted) == 30
    assert quoted < computed, "groups and pegs are factors too"
    assert touched
