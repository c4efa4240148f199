"""The network's hourly prices follow the stated rule, and their commitment grows by what is new."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attest.encoding.canonical_bytes import ByteReader
from attest.encoding.keccak import keccak256
from attest.hours.hourly import (
    HOUR,
    MAX_PRICE,
    RECENT_HOURS,
    FreshPrice,
    HourlyMemory,
    HourRow,
    advance,
    encode_row,
    price_units,
    read_row,
)
from attest.hours.table import extend_history, genesis_memory, history_hash, verify_rows
from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.units import Wad
from tests.attest.agreement.round_kit import GENESIS, genesis_history

START = genesis_history().first_hour + 3 * HOUR


def prices(bitcoin: int, ether: int | None = None) -> dict[str, FreshPrice]:
    given_prices = {"BTC": FreshPrice(price=bitcoin, fresh=True)}
    if ether is not None:
        given_prices["ETH"] = FreshPrice(price=ether, fresh=True)
    return given_prices


def run(*reports: tuple[int, dict[str, FreshPrice]]) -> HourlyMemory:
    memory = genesis_memory(genesis_history())
    for seconds, quoted in reports:
        memory = advance(memory, START + seconds, quoted)
    return memory


def line(row: HourRow, factor: str) -> tuple[int, int, int, bool]:
    price = next(price for price in row.prices if price.factor == factor)
    return price.close, price.high, price.low, price.filled


def test_the_genesis_hour_begins_where_the_history_ends() -> None:
    memory = genesis_memory(genesis_history())
    assert memory.open_hour == GENESIS
    assert memory.root == history_hash(genesis_history())
    assert [(price.factor, price.close, price.filled) for price in memory.running] == [
        ("BTC", 50_200 * 10**12, True),
        ("ETH", 3_020 * 10**12, True),
    ]


def test_an_hour_closes_with_the_first_report_at_or_after_its_end() -> None:
    for seconds in (HOUR, HOUR + 17):
        memory = run((10, prices(100, 10)), (seconds, prices(103, 11)), (seconds + 1, prices(999, 99)))
        assert [row.hour for row in memory.recent] == [START]
        assert line(memory.recent[0], "BTC")[0] == 103
        assert line(memory.recent[0], "ETH")[0] == 11


def test_high_and_low_run_over_all_reports_of_the_hour_and_its_close() -> None:
    memory = run(
        (10, prices(60_000 * 10**12, 10)),
        (20, prices(40_000 * 10**12, 12)),
        (HOUR, prices(70_000 * 10**12, 9)),
    )
    bitcoin, ether = line(memory.recent[0], "BTC"), line(memory.recent[0], "ETH")
    assert bitcoin == (70_000 * 10**12, 70_000 * 10**12, 40_000 * 10**12, False)
    assert ether == (9, 3_020 * 10**12, 9, False), "the running hour began at the last close of the history"


def test_the_next_hour_begins_at_the_close() -> None:
    memory = run((10, prices(100)), (HOUR + 5, prices(80)), (HOUR + 9, prices(90)), (2 * HOUR, prices(85)))
    assert line(memory.recent[1], "BTC") == (85, 90, 80, False)


def test_an_hour_without_a_report_repeats_the_close_before_it_flagged() -> None:
    memory = run((10, prices(100, 10)), (3 * HOUR + 5, prices(70, 7)))
    assert [row.hour for row in memory.recent] == [START, START + HOUR, START + 2 * HOUR]
    assert line(memory.recent[0], "BTC")[0::3] == (70, False)
    for row in memory.recent[1:]:
        assert line(row, "BTC") == (70, 70, 70, True)
        assert line(row, "ETH") == (7, 7, 7, True)


def test_a_factor_without_a_fresh_value_closes_at_its_last_price_flagged() -> None:
    memory = run((10, prices(100, 10)), (HOUR, prices(101)))
    assert line(memory.recent[0], "BTC")[3] is False
    assert line(memory.recent[0], "ETH")[0::3] == (10, True)
    stale = run((10, prices(100, 10)), (HOUR, {"ETH": FreshPrice(price=10, fresh=False), **prices(101)}))
    assert stale == memory


def test_a_new_factor_joins_the_running_hour() -> None:
    memory = run((10, prices(100, 10)), (20, {"SOL": FreshPrice(price=5, fresh=True)}), (HOUR, prices(101, 11)))
    assert [price.factor for price in memory.recent[0].prices] == ["BTC", "ETH", "SOL"]
    assert line(memory.recent[0], "SOL") == (5, 5, 5, True)


@pytest.mark.parametrize("seconds", [-1, 24 * 366 * HOUR + HOUR])
def test_a_report_before_the_hour_or_years_after_it_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidData, match="clock"):
        run((seconds, prices(100, 10)))


def test_the_commitment_is_a_chain_over_completed_hours() -> None:
    memory = run((10, prices(100, 10)), (HOUR, prices(101, 11)), (2 * HOUR, prices(102, 12)))
    first, second = memory.recent
    root = keccak256(keccak256(history_hash(genesis_history()) + encode_row(first)) + encode_row(second))
    assert (memory.root, memory.count) == (root, 2)


def test_only_the_last_hours_travel_with_the_state() -> None:
    memory = run((0, prices(100, 10)), ((RECENT_HOURS + 5) * HOUR, prices(101, 11)))
    assert len(memory.recent) == RECENT_HOURS
    assert memory.count == RECENT_HOURS + 5
    assert memory.recent[-1].hour == memory.open_hour - HOUR


@given(
    reports=st.lists(
        st.tuples(st.integers(0, 3 * HOUR), st.integers(1, MAX_PRICE), st.integers(1, MAX_PRICE)),
        min_size=1,
        max_size=20,
    )
)
def test_every_hour_is_there_once_and_its_close_lies_between_low_and_high(
    reports: list[tuple[int, int, int]],
) -> None:
    memory, rows = genesis_memory(genesis_history()), list[Any]()
    now = START
    for wait, bitcoin, ether in reports:
        now += wait
        before = memory.count
        memory = advance(memory, now, prices(bitcoin, ether))
        rows.extend(memory.recent[len(memory.recent) - (memory.count - before) :])
    assert [row.hour for row in rows] == list(range(START, memory.open_hour, HOUR))
    assert all(price.low <= price.close <= price.high for row in rows for price in row.prices)
    verify_rows(history_hash(genesis_history()), rows, memory)
    if rows:
        with pytest.raises(InvalidData):
            verify_rows(history_hash(genesis_history()), rows[:-1], memory)


def test_rows_read_back_and_impossible_prices_are_refused() -> None:
    row = run((10, prices(100, 10)), (HOUR, prices(101, 11))).recent[0]
    assert read_row(ByteReader(encode_row(row), what="row")) == row
    wrong = msgspec.structs.replace(row, prices=(msgspec.structs.replace(row.prices[0], low=row.prices[0].high + 1),))
    with pytest.raises(InvalidData, match="impossible"):
        read_row(ByteReader(encode_row(wrong), what="row"))


def test_completed_hours_extend_the_table() -> None:
    memory = run((10, prices(100, 10)), (HOUR, prices(101, 11)), (2 * HOUR, prices(102, 12)))
    table = extend_history(genesis_history(), memory.recent)
    assert table.hours == 5
    cells = [int.from_bytes(table.close.data[start : start + 8], "little") for start in range(0, 80, 8)]
    assert cells[:3] == [50_000 * 10**12, 50_100 * 10**12, 50_200 * 10**12]
    assert cells[3:5] == [101, 102]
    assert cells[8:] == [11, 12]
    low = [int.from_bytes(table.low.data[start : start + 8], "little") for start in range(0, 80, 8)]
    assert low[3:5] == [100, 101]
    assert extend_history(table, ()) == table


def test_an_hour_that_does_not_follow_or_lacks_a_factor_is_not_appended() -> None:
    first, second = run((10, prices(100, 10)), (HOUR, prices(101, 11)), (2 * HOUR, prices(1, 1))).recent
    with pytest.raises(InvalidData, match="does not follow"):
        extend_history(genesis_history(), (second,))
    with pytest.raises(InvalidData, match="no price of ETH"):
        extend_history(genesis_history(), (msgspec.structs.replace(first, prices=first.prices[:1]),))


def test_filled_hours_are_told_until_they_leave_the_window() -> None:
    memory = run((10, prices(100, 10)), (HOUR, prices(101)), (2 * HOUR, prices(102)), (3 * HOUR, prices(103, 11)))
    rows = memory.recent
    marked = [index for index, row in enumerate(rows) for price in row.prices if price.filled]
    assert len(rows) == 3
    assert marked
    age = len(rows) - marked[-1]
    assert extend_history(genesis_history(), rows).filled == ("ETH",)
    assert extend_history(genesis_history(), rows, window_hours=age).filled == ("ETH",)
    assert extend_history(genesis_history(), rows, window_hours=age - 1).filled == ()
    gappy = msgspec.structs.replace(genesis_history(), filled=("BTC",))
    assert extend_history(gappy, rows, window_hours=len(rows) + 1).filled == ("BTC", "ETH")
    assert extend_history(gappy, rows, window_hours=len(rows)).filled == ("ETH",)


def test_a_genesis_history_needs_an_hour() -> None:
    history = genesis_history()
    empty = Column(dtype="int64", shape=(2, 0), data=b"")
    with pytest.raises(InvalidData, match="no hour"):
        genesis_memory(msgspec.structs.replace(history, close=empty, high=empty, low=empty))


def test_the_history_hash_covers_every_column_and_name() -> None:
    history = genesis_history()
    higher = Column(dtype="int64", shape=(2, 3), data=bytes([0] * 7 + [0x7F]) * 6)
    lower = Column(dtype="int64", shape=(2, 3), data=bytes([1] + [0] * 7) * 6)
    hashes = {history_hash(history)}
    for change in (
        {"close": lower, "low": lower},
        {"high": higher},
        {"low": lower},
        {"factors": ("BTC", "SOL")},
        {"first_hour": 3_600},
        {"simulated": False},
        {"filled": ("BTC",)},
        {"filled": ("BTC", "ETH")},
    ):
        hashes.add(history_hash(msgspec.structs.replace(history, **change)))
    assert len(hashes) == 9


def test_prices_are_rounded_down_to_the_unit_of_the_history_and_never_to_zero() -> None:
    assert price_units(Wad(3_000 * 10**18 + 999_999)) == 3_000 * 10**12
    assert price_units(Wad(1)) == 1
    assert price_units(Wad(10**40)) == MAX_PRICE
