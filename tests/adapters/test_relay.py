"""Endpoints asked one at a time: the next takes over, and a transaction is offered until one takes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from adapters.chains.endpoint import Endpoint, EndpointOptions
from adapters.chains.health import EndpointState
from adapters.chains.relay import Relay
from riskschema.errors import TransientError
from riskschema.units import Hash32
from tests.adapters.hostile_endpoint import GENESIS, Form, HostileEndpoint, hostile_endpoints, small_chain

SIGNED = ("eth_sendRawTransaction", ["0xabcdef"])
HEAD = ("eth_getBlockByNumber", ["latest", False])
CONSTANT_TIME = 1_000.0


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.seconds = CONSTANT_TIME

    def __call__(self) -> float:
        return self.seconds


def upstream(form: Form) -> Any:
    """Answer like a small chain that takes every transaction."""
    if form["method"] == SIGNED[0]:
        return "0x" + "77" * 32
    if form["method"] == "eth_call":
        return "0x" + f"{2**62:064x}"
    return small_chain()(form)


def failing(message: str, method: str, code: int = -32000) -> Any:
    """Return a lie: an error in place of the answers of one method."""

    def lie(form: Form, answer: Form) -> Form:
        if form["method"] != method:
            return answer
        return {"jsonrpc": "2.0", "id": form["id"], "error": {"code": code, "message": message}}

    return lie


@pytest.fixture
async def fleet() -> AsyncIterator[list[HostileEndpoint]]:
    async with hostile_endpoints(upstream, 3) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def endpoints(fleet: list[HostileEndpoint], clock: Clock) -> AsyncIterator[list[Endpoint]]:
    async with aiohttp.ClientSession() as session:
        yield [
            Endpoint(
                EndpointOptions(url=each.url), session, chain_id=1, name=name, max_answer_bytes=1 << 20, clock=clock
            )
            for each, name in zip(fleet, "abc", strict=True)
        ]


@pytest.fixture
def relay(endpoints: list[Endpoint]) -> Relay:
    return Relay(endpoints, genesis_hash=Hash32(GENESIS["hash"]), attempts=1)


@pytest.mark.parametrize("status", [429, 500, 403])
async def test_the_next_answers_where_the_first_fails_until_its_pause_is_over(fleet, relay, clock, status) -> None:
    await relay.many([HEAD])
    assert relay.where == "a"
    fleet[0].status = status
    await relay.many([HEAD])
    assert relay.where == "b"
    fleet[0].status = 200
    asked = fleet[0].posts
    await relay.many([HEAD])
    assert (relay.where, fleet[0].posts) == ("b", asked)
    clock.seconds += 60
    await relay.many([HEAD])
    assert relay.where == "a"


@pytest.mark.parametrize("refusal", ["method not available on your plan", "transaction type not supported"])
async def test_a_transaction_that_one_does_not_take_is_offered_to_the_next_byte_for_byte(fleet, relay, refusal) -> None:
    fleet[0].lie = failing(refusal, SIGNED[0])
    (answer,) = await relay.many([SIGNED])
    assert answer.error is None
    offered = [form["params"] for each in fleet for form in each.asked if form["method"] == SIGNED[0]]
    assert offered == [SIGNED[1], SIGNED[1]]


async def test_where_nobody_takes_it_the_word_of_the_first_counts(fleet, relay) -> None:
    for each, word in zip(fleet, ("already known", "nonce too low", "nonce too low"), strict=True):
        each.lie = failing(word, SIGNED[0])
    (answer,) = await relay.many([SIGNED])
    assert answer.error.message == "already known"


@pytest.mark.parametrize("lack", ["header not found", "missing trie node"])
async def test_what_one_does_not_know_or_no_longer_keeps_another_tells(fleet, relay, lack) -> None:
    fleet[0].lie = failing(lack, "eth_getBalance")
    balance, head = await relay.many([("eth_getBalance", ["0x" + "11" * 20, "0x5"]), HEAD])
    assert (balance.result, balance.error, head.error) == ("0x5", None, None)
    assert relay.where == "b"


async def test_other_errors_are_answers_and_all_answers_are_of_one_endpoint(fleet, relay) -> None:
    fleet[0].lie = failing("execution reverted", "eth_estimateGas", code=3)
    estimated, head = await relay.many([("eth_estimateGas", [{"data": "0x"}]), HEAD])
    assert (estimated.error.message, head.error) == ("execution reverted", None)
    assert fleet[1].posts == 0


async def test_another_chain_is_never_given_a_transaction(fleet, endpoints, relay) -> None:
    fleet[0].lie = lambda form, answer: {**answer, "result": "0x2"} if form["method"] == "eth_chainId" else answer
    await relay.many([SIGNED])
    assert SIGNED[0] not in fleet[0].methods()
    assert endpoints[0].report().state is EndpointState.WRONG_CHAIN


async def test_all_failures_are_named(fleet, relay) -> None:
    for each in fleet:
        each.status = 503
    with pytest.raises(TransientError) as failed:
        await relay.one("eth_chainId")
    assert all(each.url in failed.value.message for each in fleet)
