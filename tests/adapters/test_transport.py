"""What an endpoint takes at once: learned from what it refuses, tried again when it has taken it for a while."""

from __future__ import annotations

import json

import aiohttp
import pytest

from adapters.chains.logs import LogFilter, read_logs
from adapters.chains.provider import BoundedProvider
from adapters.chains.transport import Limit, Transport
from riskschema.errors import TransientError
from riskschema.units import Address
from tests.adapters.fault_proxy import fault_proxy, http

IN_A_ROW = 32
"""Requests at a lowered limit before twice as much is tried again."""


def take(limit: Limit, size: int, times: int) -> None:
    for _ in range(times):
        limit.took(size)


def test_a_lowered_limit_doubles_after_a_while_of_being_used_up_to_what_was_set() -> None:
    limit = Limit(100)
    limit.lower(30)
    values = []
    for _ in range(3):
        take(limit, limit.value, IN_A_ROW - 1)
        values.append(limit.value)
        limit.took(limit.value)
    assert values == [30, 60, 100]
    assert limit.value == 100


def test_what_is_smaller_than_the_limit_says_nothing_about_more() -> None:
    limit = Limit(100)
    limit.lower(30)
    take(limit, 29, 10 * IN_A_ROW)
    assert limit.value == 30


def test_a_refusal_starts_the_count_anew_and_never_raises_a_limit() -> None:
    limit = Limit(100)
    limit.lower(30)
    take(limit, 30, IN_A_ROW - 1)
    limit.lower(40)
    assert limit.value == 30
    take(limit, 30, IN_A_ROW - 1)
    assert limit.value == 30
    limit.lower(0)
    assert limit.value == 1


async def test_an_error_about_the_logs_of_a_single_block_is_told_as_the_endpoint_said_it() -> None:
    def respond(request: bytes) -> bytes:
        said = {"code": -32000, "message": "the moon is full"}
        return http(
            json.dumps([{"jsonrpc": "2.0", "id": each["id"], "error": said} for each in json.loads(request)]).encode()
        )

    async with fault_proxy("http://127.0.0.1:9") as proxy, aiohttp.ClientSession() as session:
        proxy.answer = respond
        provider = BoundedProvider(proxy.url, session, max_answer_bytes=65_536)
        transport = Transport(provider, batch_size=10, concurrency=1, attempts=1)
        wanted = LogFilter([Address("0x" + "e1" * 20)], [])
        with pytest.raises(TransientError, match="the moon is full"):
            await read_logs(transport, wanted, first=10, last=13, span=16)
