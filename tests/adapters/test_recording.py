"""Recordings: whole or not at all, exact, and refused when changed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.recording import (
    Recording,
    RecordingReader,
    ReplayReader,
    load_recording,
    read_recording,
    write_recording,
)
from riskschema.errors import FatalError, InvalidData
from riskschema.holders import Log
from riskschema.portfolio import BlockReference
from riskschema.ports import Call, CallReverted, CallSuccess
from riskschema.units import Address, Amount, Hash32
from tests.adapters.confirmed import Confirmed

ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex()))
HASHES = st.binary(min_size=32, max_size=32).map(Hash32)
HEX = st.binary(max_size=70).map(lambda raw: "0x" + raw.hex())
BLOCK = BlockReference(chain_id=1, number=7, hash=Hash32(b"\1" * 32), timestamp=1_700_000_000)
CONTRACT = Address("0x" + "ab" * 20)


class Scripted(Confirmed):
    """A reader with the answers of a test."""

    def __init__(self, calls=None, balances=None, logs=()):
        self.block = BLOCK
        self._calls, self._balances, self._logs = calls or {}, balances or {}, logs

    async def call(self, calls):
        return tuple(self._calls[call] for call in calls)

    async def native_balances(self, accounts):
        return tuple(self._balances[account] for account in accounts)

    async def logs(self, *, addresses, topics, from_block, to_block=None):
        return tuple(self._logs)


async def recorded(scripted: Scripted) -> Recording:
    reader = RecordingReader(scripted)
    await reader.call(list(scripted._calls))
    await reader.native_balances(list(scripted._balances))
    await reader.logs(addresses=[CONTRACT], topics=[[Hash32(b"\2" * 32)], []], from_block=3)
    return reader.recording(protocol="test", deployment={"pool": CONTRACT}, accounts=[CONTRACT])


RESULTS = st.one_of(
    st.binary(max_size=70).map(CallSuccess), st.binary(max_size=70).map(lambda data: CallReverted(data, "reverted"))
)
LOGS = st.builds(
    Log,
    ADDRESSES,
    st.lists(HASHES, max_size=4).map(tuple),
    st.binary(max_size=70),
    *[st.integers(0, 2**40)] * 2,
    HASHES,
)


@given(
    calls=st.dictionaries(
        st.builds(Call, ADDRESSES, st.binary(max_size=70), st.integers(0, 2**53)), RESULTS, max_size=8
    ),
    balances=st.dictionaries(ADDRESSES, st.integers(0, 2**256 - 1), max_size=8),
    logs=st.lists(LOGS, max_size=8),
)
async def test_every_answer_comes_back_as_it_was_through_the_file(tmp_path_factory, calls, balances, logs):
    path = tmp_path_factory.mktemp("recordings") / "any.json"
    write_recording(await recorded(Scripted(calls, balances, logs)), path)
    replay = load_recording(path)

    assert replay.block == BLOCK
    assert await replay.call(list(calls)) == tuple(calls.values())
    assert await replay.native_balances(list(balances)) == tuple(balances.values())
    assert await replay.logs(addresses=[CONTRACT], topics=[[Hash32(b"\2" * 32)], []], from_block=3) == tuple(logs)


async def test_the_order_of_reading_does_not_change_the_file(tmp_path):
    calls = {Call(CONTRACT, bytes([number])): CallSuccess(bytes([number])) for number in range(5)}
    forwards, backwards = tmp_path / "one", tmp_path / "other"
    write_recording(await recorded(Scripted(calls)), forwards)
    write_recording(await recorded(Scripted(dict(reversed(calls.items())))), backwards)

    assert forwards.read_bytes() == backwards.read_bytes()


async def test_what_was_not_recorded_is_refused_by_name(tmp_path):
    replay = ReplayReader(await recorded(Scripted({Call(CONTRACT, b"\1"): CallSuccess(b"")})))

    with pytest.raises(InvalidData, match=f"call of {CONTRACT} with data 0x02"):
        await replay.call([Call(CONTRACT, b"\1"), Call(CONTRACT, b"\2")])
    with pytest.raises(InvalidData, match=f"balance of {CONTRACT}"):
        await replay.native_balances([CONTRACT])
    with pytest.raises(InvalidData, match="logs of 1 contracts from block 4"):
        await replay.logs(addresses=[CONTRACT], topics=[], from_block=4)


@pytest.fixture
async def written(tmp_path: Path) -> Path:
    path = tmp_path / "recording.json"
    calls = {Call(CONTRACT, b"\1"): CallSuccess(b"\x0a")}
    write_recording(await recorded(Scripted(calls, {CONTRACT: 5})), path)
    return path


def test_a_changed_answer_is_noticed(written):
    written.write_text(written.read_text().replace('"0x0a"', '"0x0b"'))
    with pytest.raises(InvalidData, match="was changed after recording"):
        read_recording(written)


def test_spacing_is_not_part_of_the_content(written):
    before = read_recording(written)
    written.write_text(json.dumps(json.loads(written.read_text())))

    assert read_recording(written) == before


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"format": 1', '"format": 2', "format"),
        ('"0x0a"', '"0xa"', r"calls\[0\].answer"),
        ('"balance": "5"', '"balance": -1.5', "balance"),
        ('"protocol"', '"protocl"', "protocl"),
        ("{", "", "object"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_its_field(written, old, new, named):
    assert old in written.read_text()
    written.write_text(written.read_text().replace(old, new, 1))
    with pytest.raises(InvalidData, match=named):
        read_recording(written)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidData, match=r"nowhere\.json"):
        load_recording(tmp_path / "nowhere.json")


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, written):
    recording = read_recording(written)
    with pytest.raises(FatalError, match="absent"):
        write_recording(recording, tmp_path / "absent" / "recording.json")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FatalError):
        write_recording(recording, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "recording.json"]


def test_amounts_beyond_json_numbers_keep_their_digits(written):
    recording = read_recording(written)
    assert recording.balances[0].balance == Amount(5)
    assert json.loads(written.read_text())["recording"]["balances"][0]["balance"] == "5"
