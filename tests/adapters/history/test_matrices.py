"""Matrices of hourly prices become one history per asset, or are refused by file and column."""

from pathlib import Path

import numpy as np
import pytest

from adapters.history.matrices import read_matrices
from riskschema.errors import InvalidData

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
HOURS = np.arange(6) * 3_600 + 7_200
NAN = float("nan")


def write(folder: Path, kind: str, hours=HOURS, **columns) -> None:
    parquet.write_table(pyarrow.table({"ts": hours, **columns}), folder / f"venue_1h_{kind}_2020.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "close", ETHUSDT=[NAN, 10.0, 11.0, NAN, 12.0, NAN], BTC=[5.0] * 6, NONE=[NAN] * 6)
    write(tmp_path, "high", ETHUSDT=[NAN, 10.5, 10.9, NAN, 12.0, NAN], BTC=[5.0] * 6, NONE=[NAN] * 6)
    write(tmp_path, "low", ETHUSDT=[NAN, 9.5, 10.9, NAN, 12.1, NAN], BTC=[4.0] * 6, NONE=[NAN] * 6)
    return tmp_path


def test_an_asset_begins_with_its_first_price_and_a_missing_hour_repeats_the_close(folder: Path) -> None:
    eth, btc = read_matrices(folder)
    assert (eth.factors, eth.first_hour, eth.hours, eth.filled) == (("ETH",), 10_800, 4, ("ETH",))
    close, high, low = (np.frombuffer(part.data, dtype="<i8") / 1e12 for part in (eth.close, eth.high, eth.low))
    assert close.tolist() == [10.0, 11.0, 11.0, 12.0]
    assert high.tolist() == [10.5, 11.0, 11.0, 12.0]
    assert low.tolist() == [9.5, 10.9, 11.0, 12.0]
    assert (btc.factors, btc.hours, btc.filled) == (("BTC",), 6, ())


def test_the_folder_of_prices_may_be_named_by_its_parent(folder: Path) -> None:
    (folder / "inner" / "prices").mkdir(parents=True)
    for file in folder.glob("*.parquet"):
        file.rename(folder / "inner" / "prices" / file.name)
    assert len(read_matrices(folder / "inner")) == 2


def test_a_folder_without_matrices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="no file named"):
        read_matrices(tmp_path)


@pytest.mark.parametrize(
    ("kind", "hours", "columns", "message"),
    [
        ("high", HOURS, {"BTC": [5.0] * 6}, "other hours or columns"),
        ("low", HOURS + 3_600, {"ETHUSDT": [1.0] * 6, "BTC": [5.0] * 6, "NONE": [NAN] * 6}, "other hours or columns"),
        ("close", HOURS * 2, {"BTC": [5.0] * 6}, "not one row for every hour"),
        ("low", HOURS, {"ETHUSDT": [0.0] * 6, "BTC": [5.0] * 6, "NONE": [NAN] * 6}, "ETHUSDT.*not positive"),
        ("low", HOURS, {"ETHUSDT": ["a"] * 6, "BTC": [5.0] * 6, "NONE": [NAN] * 6}, "no readable Parquet"),
    ],
)
def test_a_wrong_matrix_is_refused_by_its_name(folder: Path, kind: str, hours, columns, message: str) -> None:
    write(folder, kind, hours, **columns)
    with pytest.raises(InvalidData, match=message):
        read_matrices(folder)


def test_a_missing_or_damaged_file_is_refused(folder: Path) -> None:
    (folder / "venue_1h_high_2020.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidData, match=r"_1h_high_.*no readable Parquet"):
        read_matrices(folder)
    (folder / "venue_1h_high_2020.parquet").unlink()
    with pytest.raises(InvalidData, match=r"_1h_high_.*no readable Parquet"):
        read_matrices(folder)
