"""`plimsoll backtest` walks, reports its progress, and writes what it found for people and for programs."""

import json
from pathlib import Path

import numpy as np
import pytest

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
HOURS = 8_760 + 168 + 24 * 8
SILO = {"collateral": {"ETH": 1}, "debt": {"USD": 1}, "distance": 0.04}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    generator = np.random.default_rng(3)
    walk = 2_000 * np.exp(np.cumsum(0.01 * generator.standard_normal(HOURS)))
    hours = 1_599_955_200 + 3_600 * np.arange(HOURS)
    for kind, factor in (("close", 1.0), ("high", 1.004), ("low", 0.996)):
        table = pyarrow.table({"ts": hours, "ETHUSDT": walk * factor})
        parquet.write_table(table, tmp_path / f"x_1h_{kind}_2020.parquet")
    (tmp_path / "populations").mkdir()
    document = {"collateral_usd": 1_000, "threshold": 0.8, "accounts": [{"name": "a", "kind": "long", "silos": [SILO]}]}
    (tmp_path / "populations" / "accounts.json").write_text(json.dumps(document))
    return tmp_path


@pytest.mark.parametrize("kind", ["var", "score", "margin"])
def test_the_report_is_printed_and_written_twice(plimsoll, data: Path, kind: str) -> None:
    ended = plimsoll("backtest", kind, "--data", data, "--every", "3", "--report", data / "report.json")
    assert ended.status == 0
    document = json.loads((data / "report.json").read_text())
    assert (document["kind"], document["days"]) == (kind, 3)
    assert (data / "report.md").read_text() in ended.output
    assert "day 3 of 3" in ended.messages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from", "yesterday"), "--from yesterday"),
        (("--from", "2030-01-01"), "no day between"),
        (("--population", "nowhere.json"), "nowhere.json"),
        (("--report", "nowhere/report.json"), "no directory nowhere"),
    ],
)
def test_what_is_wrong_is_named(plimsoll, data: Path, options: tuple[str, ...], message: str) -> None:
    ended = plimsoll("backtest", "var", "--data", data, *options)
    assert ended.status == 78
    assert message in ended.messages
