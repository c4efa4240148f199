"""Histories from files: exact digits, stated filling, and refusals that name file, row and column."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.history.alignment import FilledHours, load_history
from adapters.history.candles import Candle, read_candles
from riskschema.buffers import Column
from riskschema.errors import InvalidData

HEADER = "ts,open,high,low,close,volume_base"
HOUR = 3_600
START = 1_600_002_000 // HOUR * HOUR
REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "prices"


def write_csv(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def candle(hour: int, close: float | str, *, spread: float = 0.5) -> str:
    value = float(close)
    return f"{START + hour * HOUR},{close},{value + spread},{value - spread},{close},12.5"


def lines(column: Column) -> list[list[float]]:
    return (np.frombuffer(column.data, "<i8").reshape(column.shape) / 1e12).tolist()


def test_a_file_of_less_than_a_year_shortens_no_other_and_repeats_its_first_close_until_it_begins(
    tmp_path: Path,
) -> None:
    year = 8_760
    old = write_csv(tmp_path / "old.csv", [candle(hour, 100 + hour % 7) for hour in range(year + 10)])
    young = write_csv(tmp_path / "young.csv", [candle(hour, 3 + hour % 5) for hour in range(year, year + 12)])
    loaded = load_history({"OLD": [old], "YOUNG": [young]})
    assert (loaded.history.hours, loaded.history.filled) == (year + 10, ("YOUNG",))
    assert loaded.filled == ()
    assert [(item.factor, item.hours) for item in loaded.late] == [("YOUNG", 10)]
    close, high, low = (lines(side)[1] for side in (loaded.history.close, loaded.history.high, loaded.history.low))
    assert set(close[:year]) == set(high[:year]) == set(low[:year]) == {3.0}
    assert close[year:] == [3.0 + hour % 5 for hour in range(year, year + 10)]
    assert high[year] == 3.5
    short = load_history(
        {
            "OLD": [old],
            "YOUNG": [young],
            "MIDDLE": [write_csv(tmp_path / "m.csv", [candle(hour, 7) for hour in range(5, year + 10)])],
        }
    )
    assert short.history.first_hour == START + 5 * HOUR, "who has a year shortens the others"


def test_prices_keep_their_decimal_digits(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [f"{START},0.1,57953.860000000001,0.00000001,0.3,0"])
    assert read_candles(path) == [Candle(START, 57_953_860000000001, 10_000, 300_000_000_000)]


def test_csv_and_parquet_of_the_same_data_give_the_same_integers(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    closes = [57_953.86, 0.1 + 0.2, 1e-7, 3.0, 16_199.91]
    names = HEADER.split(",")
    columns: list[list[Any]] = [[START + HOUR * n for n in range(5)], *([closes] * 4), [0.0] * 5]
    parquet.write_table(pyarrow.table(dict(zip(names, columns, strict=True))), tmp_path / "a.parquet")
    rows = [",".join(repr(column[n]) for column in columns) for n in range(5)]
    candles = read_candles(write_csv(tmp_path / "a.csv", rows))
    assert read_candles(tmp_path / "a.parquet") == candles
    assert [each.close for each in candles] == [round(Decimal(repr(close)) * 10**12) for close in closes]


def test_further_columns_and_their_order_do_not_matter(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [f"x,1,2,0.5,1.5,9,{START}"], header="note,open,high,low,close,volume_base,ts")
    assert read_candles(path) == [Candle(START, 2 * 10**12, 5 * 10**11, 15 * 10**11)]


def test_histories_are_aligned_on_the_hours_that_all_cover(tmp_path: Path) -> None:
    one = write_csv(tmp_path / "one.csv", [candle(hour, 100 + hour) for hour in range(6)])
    two = write_csv(tmp_path / "two.csv", [candle(hour, 200 + hour) for hour in range(2, 9)])
    loaded = load_history({"ONE": [one], "TWO": [two]})
    assert loaded.history.factors == ("ONE", "TWO")
    assert loaded.history.first_hour == START + 2 * HOUR
    assert lines(loaded.history.close) == [[102, 103, 104, 105], [202, 203, 204, 205]]
    assert lines(loaded.history.high) == [[102.5, 103.5, 104.5, 105.5], [202.5, 203.5, 204.5, 205.5]]
    assert lines(loaded.history.low) == [[101.5, 102.5, 103.5, 104.5], [201.5, 202.5, 203.5, 204.5]]
    assert not loaded.history.simulated
    assert loaded.filled == ()


def test_a_missing_hour_repeats_the_close_before_it_and_is_reported(tmp_path: Path) -> None:
    one = write_csv(tmp_path / "one.csv", [candle(hour, 100 + hour) for hour in (0, 1, 4, 5, 7)])
    two = write_csv(tmp_path / "two.csv", [candle(hour, 200) for hour in range(8)])
    loaded = load_history({"ONE": [one], "TWO": [two]})
    assert lines(loaded.history.close)[0] == [100, 101, 101, 101, 104, 105, 105, 107]
    assert lines(loaded.history.high)[0] == [100.5, 101.5, 101, 101, 104.5, 105.5, 105, 107.5]
    assert lines(loaded.history.low)[0] == [99.5, 100.5, 101, 101, 103.5, 104.5, 105, 106.5]
    assert loaded.filled == (FilledHours(factor="ONE", hours=3, longest=2),)
    assert loaded.history.filled == ("ONE",)


def test_a_hole_where_the_common_hours_begin_is_filled_from_before_them(tmp_path: Path) -> None:
    one = write_csv(tmp_path / "one.csv", [candle(hour, 100 + hour) for hour in (0, 3, 4)])
    two = write_csv(tmp_path / "two.csv", [candle(hour, 200) for hour in (2, 3, 4)])
    loaded = load_history({"ONE": [one], "TWO": [two]})
    assert lines(loaded.history.close)[0] == [100, 103, 104]
    assert loaded.filled == (FilledHours(factor="ONE", hours=1, longest=1),)


def test_gaps_outside_the_common_hours_are_not_reported(tmp_path: Path) -> None:
    one = write_csv(tmp_path / "one.csv", [candle(hour, 100) for hour in (0, 3, 4, 9)])
    two = write_csv(tmp_path / "two.csv", [candle(hour, 200) for hour in (3, 4)])
    assert load_history({"ONE": [one], "TWO": [two]}).filled == ()


def test_of_overlapping_files_the_first_named_decides(tmp_path: Path) -> None:
    late = write_csv(tmp_path / "late.csv", [candle(hour, 300 + hour) for hour in (2, 3, 4)])
    early = write_csv(tmp_path / "early.csv", [candle(hour, 100 + hour) for hour in (0, 1, 2)])
    assert lines(load_history({"X": [late, early]}).history.close) == [[100, 101, 302, 303, 304]]
    assert lines(load_history({"X": [early, late]}).history.close) == [[100, 101, 102, 303, 304]]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ones=st.sets(st.integers(0, 40), min_size=1),
    twos=st.sets(st.integers(0, 40), min_size=1),
)
def test_filling_agrees_with_a_plain_twin(tmp_path: Path, ones: set[int], twos: set[int]) -> None:
    hours = {"ONE": sorted(ones), "TWO": sorted(twos)}
    files = {
        name: [write_csv(tmp_path / f"{name}.csv", [candle(hour, 100 + hour) for hour in hours[name]])]
        for name in hours
    }
    first, last = max(min(ones), min(twos)), min(max(ones), max(twos))
    if first > last:
        with pytest.raises(InvalidData, match="no hour in common"):
            load_history(files)
        return
    loaded = load_history(files)
    expected = {
        name: [100 + max(known for known in hours[name] if known <= hour) for hour in range(first, last + 1)]
        for name in hours
    }
    assert lines(loaded.history.close) == list(expected.values())
    missing = {name: sum(hour not in hours[name] for hour in range(first, last + 1)) for name in hours}
    assert {each.factor: each.hours for each in loaded.filled} == {name: n for name, n in missing.items() if n}


GOOD = f"{START},10,11,9,10,1"
NEXT = START + HOUR


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"{NEXT},10,11,9,NaN,1", "row 2 column close: 'NaN' is no finite number"),
        (f"{NEXT},10,inf,9,10,1", "row 2 column high: 'inf' is no finite number"),
        (f"{NEXT},10,11,,10,1", "row 2 column low: missing"),
        (f"{NEXT},10,11,-9,10,1", "row 2 column low: -9 is no positive price"),
        (f"{NEXT},0,11,9,10,1", "row 2 column open: 0 is no positive price"),
        (f"{NEXT},1e-13,11,9,10,1", "row 2 column open: 1e-13 is outside"),
        (f"{NEXT},10,9300000,9,10,1", "row 2 column high: 9300000 is outside"),
        (f"{NEXT},10,1_1,9,10,1", "row 2 column high: '1_1' is no finite number"),
        (f"{NEXT},10,1e9999,9,10,1", "row 2 column high: '1e9999' is no finite number"),
        (f"{NEXT},10,11,9,12,1", "row 2 column high: lower than"),
        (f"{NEXT},8,11,9,10,1", "row 2 column low: higher than"),
        (f"{NEXT},10,11,9,10,-1", "row 2 column volume_base: negative"),
        (f"{NEXT},10,11,9,10,nan", "row 2 column volume_base: 'nan'"),
        (f"{NEXT},10,11,9,10", "row 2: only 5 columns"),
        (f"{START},10,11,9,10,1", f"row 2 column ts: {START} is the hour of the row before again"),
        (f"{START - HOUR},10,11,9,10,1", f"row 2 column ts: {START - HOUR} is earlier than {START}"),
        (f"{NEXT + 1},10,11,9,10,1", "row 2 column ts: .* is not the Unix time of a full hour"),
        ("yesterday,10,11,9,10,1", "row 2 column ts: 'yesterday' is no finite number"),
        (f"{NEXT},10,11,9,10,1" + " " * 5_000, "a line of more than 4096 characters"),
    ],
)
def test_a_wrong_row_is_refused_with_file_row_and_column(tmp_path: Path, row: str, message: str) -> None:
    path = write_csv(tmp_path / "prices.csv", [GOOD, row])
    with pytest.raises(InvalidData, match=rf"prices\.csv.*{message}"):
        read_candles(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("ts,open,high,low,close", "check volume_base"),
        ("ts,open,high,low,close,close,volume_base", "check close"),
        ("", "check ts, open"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        read_candles(write_csv(tmp_path / "prices.csv", [GOOD], header=header))


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="no rows"):
        read_candles(write_csv(tmp_path / "prices.csv", []))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"nowhere\.csv: No such file"):
        read_candles(tmp_path / "nowhere.csv")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"prices\.xlsx: a history is a \.csv or \.parquet file"):
        read_candles(tmp_path / "prices.xlsx")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_bytes_that_are_no_such_file_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PAR1\xff\xfe\x00garbage" * 10)
    with pytest.raises(InvalidData, match=rf"{name}: no "):
        read_candles(path)


def test_a_null_in_parquet_is_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = [[START, NEXT], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, None], [0.0, 0.0]]
    table = pyarrow.table(dict(zip(HEADER.split(","), columns, strict=True)))
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InvalidData, match=r"a\.parquet row 2 column close: missing"):
        read_candles(tmp_path / "a.parquet")


def test_without_pyarrow_a_parquet_file_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(InvalidData, match=r"install plimsoll\[history\]"):
        read_candles(path)


@pytest.mark.parametrize("files", [{}, {"ETH": []}])
def test_a_history_of_nothing_is_refused(files: dict[str, list[Path]]) -> None:
    with pytest.raises(InvalidData, match="at least one file"):
        load_history(files)


@pytest.fixture(scope="module")
def real() -> Path:
    pytest.importorskip("pyarrow")
    if not REAL.is_dir():
        pytest.skip(f"the recorded prices are missing: {REAL}")
    return REAL


def test_seven_years_of_recorded_prices_load_with_their_known_gaps_and_crash(real: Path) -> None:
    files = {
        factor: [real / f"binance_spot_{factor}USDT_1h_{years}.parquet" for years in ("2021_2023", "2017_2021")]
        for factor in ("BTC", "ETH")
    }
    loaded = load_history(files)
    hours = (1_703_962_800 - 1_502_942_400) // HOUR + 1
    assert loaded.history.hours == hours
    assert [(each.factor, each.longest) for each in loaded.filled] == [("BTC", 4), ("ETH", 4)]
    # until 13 March 2020, 02:00 UTC, the hourly close fell from 7948.4 to 4130.6; the lowest print was 3782.13
    close, low = (lines(column)[0] for column in (loaded.history.close, loaded.history.low))
    hour = (1_584_064_800 - loaded.history.first_hour) // HOUR
    assert min(low[hour - 24 : hour + 24]) == 3_782.13
    assert 7_948.4 in close[hour - 72 : hour]
    assert close[hour - 1] == 4_130.64


def test_recorded_prices_of_one_source_begin_where_its_first_file_does(real: Path) -> None:
    loaded = load_history({"AAVE": [real / "binance_spot_AAVEUSDT_1h_2021_2023.parquet"]})
    assert loaded.history.first_hour == 1_617_570_000
    assert lines(loaded.history.close)[0][0] == 407.726
