"""Logs that a real chain does not give: what nobody asked for, and what is no log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from adapters.chains.logs import LogFilter, read_logs
from adapters.chains.provider import BoundedProvider
from adapters.chains.transport import Transport
from riskschema.errors import TransientError
from riskschema.holders import Log
from riskschema.units import Address, Hash32
from tests.adapters.fault_proxy import fault_proxy, http

EMITTER = Address("0x" + "e1" * 20)
TOPICS = [Hash32("0x" + each * 32) for each in ("a1", "b2", "c3")]
LOG = {
    "address": EMITTER,
    "topics": TOPICS[:2],
    "data": "0x01",
    "blockNumber": "0x10",
    "logIndex": "0x3",
    "blockHash": "0x" + "bb" * 32,
}
BLOCK = Hash32("0x" + "bb" * 32)
WANTED = LogFilter([EMITTER], [[TOPICS[0]], [TOPICS[1], TOPICS[2]]])


def said(result: Any) -> Callable[[bytes], bytes]:
    def respond(request: bytes) -> bytes:
        forms = json.loads(request)
        return http(json.dumps([{"jsonrpc": "2.0", "id": form["id"], "result": result} for form in forms]).encode())

    return respond


@asynccontextmanager
async def logs_of(result: Any) -> AsyncIterator[Transport]:

    async with fault_proxy("http://127.0.0.1:9") as proxy, aiohttp.ClientSession() as session:
        proxy.answer = said(result)
        provider = BoundedProvider(proxy.url, session, max_answer_bytes=65_536)
        yield Transport(provider, batch_size=10, concurrency=1, attempts=1)


@pytest.mark.parametrize("topics", [TOPICS[:2], [TOPICS[0], TOPICS[2]], TOPICS])
async def test_logs_with_the_topics_that_were_asked_for_are_taken(topics: list[Hash32]) -> None:
    async with logs_of([LOG | {"topics": topics}]) as transport:
        (log,) = await read_logs(transport, WANTED, first=16, last=16, span=10)
    assert log == Log(address=EMITTER, topics=tuple(topics), data=b"\x01", block_number=16, index=3, block_hash=BLOCK)


@pytest.mark.parametrize(
    "change",
    [
        {"topics": [TOPICS[1], TOPICS[0]]},
        {"topics": [TOPICS[0], TOPICS[0]]},
        {"topics": TOPICS[:1]},
        {"topics": []},
        {"address": "0x" + "e2" * 20},
        {"blockNumber": "0xf"},
        {"blockNumber": "0x11"},
    ],
)
async def test_logs_that_nobody_asked_for_are_refused(change: dict[str, Any]) -> None:
    async with logs_of([LOG | change]) as transport:
        with pytest.raises(TransientError, match="was not asked for"):
            await read_logs(transport, WANTED, first=16, last=16, span=10)


@pytest.mark.parametrize(
    "result",
    [
        {"logs": [LOG]},
        "0x",
        None,
        ["0x"],
        [[LOG]],
        [LOG | {"topics": None}],
        [LOG | {"topics": [*TOPICS, *TOPICS]}],
        [LOG | {"topics": ["0xa1"]}],
        [LOG | {"topics": [5]}],
        [LOG | {"address": None}],
        [LOG | {"address": "0x12"}],
        [LOG | {"data": None}],
        [LOG | {"data": "0x1"}],
        [LOG | {"blockNumber": None}],
        [LOG | {"logIndex": None}],
        [LOG | {"blockHash": "0x12"}],
        [LOG | {"logIndex": "0x1000000"}],
        [LOG | {"logIndex": "0x" + "f" * 64}],
        [LOG, LOG],
        [LOG, LOG | {"data": "0x02"}],
    ],
)
async def test_what_is_no_list_of_logs_is_a_local_failure(result: Any) -> None:
    async with logs_of(result) as transport:
        with pytest.raises(TransientError) as refused:
            await read_logs(transport, WANTED, first=16, last=16, span=10)
    assert refused.value.code == "endpoint_malformed"


async def test_a_range_that_is_too_wide_is_halved_until_it_is_taken_and_no_block_is_left_out() -> None:
    asked: list[tuple[int, int]] = []

    def respond(request: bytes) -> bytes:
        (form,) = json.loads(request)
        first, last = (int(form["params"][0][name], 16) for name in ("fromBlock", "toBlock"))
        asked.append((first, last))
        if len(asked) > 50:
            return http(b"", "401 Unauthorized")
        wide = {"error": {"code": -32005, "message": "query returned more than 10000 results"}}
        answer = wide if last - first >= 3 else {"result": [LOG | {"blockNumber": hex(last)}]}
        return http(json.dumps([{"jsonrpc": "2.0", "id": form["id"], **answer}]).encode())

    async with fault_proxy("http://127.0.0.1:9") as proxy, aiohttp.ClientSession() as session:
        proxy.answer = respond
        transport = Transport(
            BoundedProvider(proxy.url, session, max_answer_bytes=65_536), batch_size=10, concurrency=1, attempts=1
        )
        logs = await read_logs(transport, WANTED, first=10, last=29, span=16)
    taken = [(first, last) for first, last in asked if last - first < 3]
    assert [block for first, last in taken for block in range(first, last + 1)] == list(range(10, 30))
    assert [log.block_number for log in logs] == [last for _, last in taken]
