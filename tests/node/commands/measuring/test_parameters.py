"""`plimsoll parameters` shows, compares and fits the constants of the model."""

import sys
from pathlib import Path

import numpy as np
import pytest

from aggregator.parameters import DEFAULT_PATH, load_parameters, parse_parameters

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def test_every_constant_is_shown_with_the_hash_of_the_file(plimsoll) -> None:
    ended = plimsoll("parameters", "show")
    assert f"hash {load_parameters().hash}" in ended.messages
    assert any(line.split() == ["shortfall.tail_percent", "1"] for line in ended.output.splitlines())


def test_a_part_can_be_asked_for_by_name(plimsoll) -> None:
    shown = plimsoll("parameters", "show", "probability.grades", "--json").document
    assert shown["values"]["probability.grades.A"] == load_parameters().probability.grades.A
    assert all(name.startswith("probability.grades.") for name in shown["values"])
    assert "nonsense" in plimsoll("parameters", "show", "nonsense").refused()


def test_the_difference_of_two_files_is_what_was_changed(plimsoll, tmp_path: Path) -> None:
    changed = tmp_path / "mine.toml"
    changed.write_text(DEFAULT_PATH.read_text().replace("daily_rise_cap = 2.5", "daily_rise_cap = 3.5"))
    assert plimsoll("parameters", "diff", changed).output == "volatility.daily_rise_cap: 3.5 -> 2.5\n"
    found = plimsoll("parameters", "diff", DEFAULT_PATH, changed, "--json").document
    assert found == [{"name": "volatility.daily_rise_cap", "first": 2.5, "second": 3.5}]
    assert plimsoll("parameters", "diff", DEFAULT_PATH).output == ""


def test_fitting_prints_tables_that_the_parameter_file_accepts(plimsoll, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    walk = 2_000 * np.exp(np.cumsum(0.01 * generator.standard_normal(6_000)))
    for kind in ("close", "high", "low"):
        table = pyarrow.table({"ts": 3_600 * np.arange(6_000), "ETHUSDT": walk})
        parquet.write_table(table, tmp_path / f"x_1h_{kind}_2020.parquet")
    ended = plimsoll("parameters", "fit", "--data", tmp_path)
    assert ended.status == 0, ended.messages
    document = DEFAULT_PATH.read_text()
    for table in ended.output.split("[")[1:]:
        heading, line = table.splitlines()
        begin = document.index("\neth = ", document.index(f"[{heading}")) + 1
        document = document[:begin] + line + document[document.index("\n", begin) :]
    assert parse_parameters(document.encode(), what="fitted").hash != load_parameters().hash
    assert "no factor" in plimsoll("parameters", "fit", "--data", tmp_path, "--to", "1970-03-01").refused("minute")


def test_without_scipy_fitting_says_what_to_install(plimsoll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = 2_000 * np.exp(np.cumsum(0.01 * np.random.default_rng(3).standard_normal(6_000)))
    for kind in ("close", "high", "low"):
        table = pyarrow.table({"ts": 3_600 * np.arange(6_000), "ETHUSDT": walk})
        parquet.write_table(table, tmp_path / f"x_1h_{kind}_2020.parquet")
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    assert "plimsoll[fit]" in plimsoll("parameters", "fit", "--data", tmp_path).refused("minute")
