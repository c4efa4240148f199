"""The engine of a serving process is loaded when somebody asks for it: once, beside the requests, and told honestly."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aggregator.parameters import Parameters, load_parameters
from node.explaining import recorded
from node.explaining.recorded import RecordedRounds
from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.market import HourlyHistory
from storage.memory import MemoryStore
from tests.patience import HANG_SECONDS, eventually


class Slow:
    """A history that is read when the test lets it be."""

    def __init__(self) -> None:
        self.reads = 0
        self.readable = threading.Event()
        self.damaged = False

    def __call__(self) -> tuple[HourlyHistory, Parameters]:
        self.reads += 1
        assert self.readable.wait(HANG_SECONDS)
        if self.damaged:
            raise InvalidData("history: damaged", code="invalid_document")
        line = Column(dtype="int64", shape=(1, 2), data=(10**12).to_bytes(8, "little") * 2)
        history = HourlyHistory(first_hour=0, factors=("ETH",), close=line, high=line, low=line, simulated=True)
        return history, load_parameters()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr(recorded, "LOADING_SECONDS", 0.01)
    return Slow()


def rounds(slow: Slow) -> RecordedRounds:
    return RecordedRounds(MemoryStore(), b"", slow)


async def test_loading_goes_on_when_nobody_waits_for_it_and_happens_once(slow: Slow) -> None:
    held = rounds(slow)
    assert not await held.ready()
    gone = asyncio.create_task(held.ready())
    await asyncio.sleep(0)
    gone.cancel()
    slow.readable.set()
    assert await eventually(held.ready)
    assert slow.reads == 1


async def test_what_could_not_be_read_is_said_and_read_again(slow: Slow) -> None:
    held, slow.damaged = rounds(slow), True
    slow.readable.set()
    with pytest.raises(InvalidData, match="damaged"):
        await eventually(held.ready)
    slow.damaged = False
    assert await eventually(held.ready)
