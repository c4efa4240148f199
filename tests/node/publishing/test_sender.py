"""What endpoints say about an account, and what becomes of it: a scripted endpoint, since no honest one says most."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.chains.provider import BoundedProvider
from adapters.chains.transport import Transport
from node.publishing.sender import DEFAULT_TIP_WEI, Receipt, Sender
from riskschema.errors import InvalidData, PlimsollError, TransientError
from riskschema.units import Address, Hash32

ACCOUNT = Address("0x" + "11" * 20)
TARGET = Address("0x" + "22" * 20)
HASH = Hash32("0x" + "ab" * 32)
RECEIPT = {"transactionHash": HASH, "status": "0x1", "blockNumber": "0x10", "gasUsed": "0x5208"}
BLOCK = {"number": "0x10", "hash": "0x" + "cd" * 32, "timestamp": "0x65000000", "baseFeePerGas": "0x7"}

Answers = dict[str, dict[str, Any]]
Scripted = Callable[[Answers], Awaitable[Sender]]


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """Makes a sender whose endpoint answers every method as told."""
    answers: Answers = {}

    async def answer(request: web.Request) -> web.Response:
        forms = json.loads(await request.read())
        return web.json_response([{"jsonrpc": "2.0", "id": form["id"], **answers[form["method"]]} for form in forms])

    application = web.Application()
    application.router.add_post("/", answer)
    async with TestServer(application) as server, aiohttp.ClientSession() as session:

        async def make(said: Answers) -> Sender:
            answers.update(said)
            provider = BoundedProvider(str(server.make_url("/")), session, max_answer_bytes=65_536)
            transport = Transport(provider, batch_size=10, concurrency=1, attempts=1)
            return Sender(transport, chain_id=1, address=ACCOUNT, explain=lambda data: f"error 0x{data.hex()}")

        yield make


def error(message: str, code: int = -32000, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


async def test_a_receipt_is_read(scripted: Scripted) -> None:
    sender = await scripted({"eth_getTransactionReceipt": {"result": RECEIPT}})
    expected = Receipt(hash=HASH, succeeded=True, block_number=16, gas_used=21_000)
    assert await sender.receipts([HASH]) == {HASH: expected}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (error("header not found"), "block_unknown"),
        (error("transaction indexing is in progress"), "endpoint_refused"),
        (error("execution reverted", 3, data="0x"), "endpoint_refused"),
    ],
)
async def test_an_error_instead_of_a_receipt_is_no_missing_receipt(
    scripted: Scripted, said: dict[str, Any], code: str
) -> None:
    """A transaction that is taken for absent would be sent again, or replaced."""
    sender = await scripted({"eth_getTransactionReceipt": said | {"result": None}})
    with pytest.raises(TransientError, match="eth_getTransactionReceipt") as refused:
        await sender.receipts([HASH])
    assert refused.value.code == code


async def test_a_transaction_without_receipt_is_left_out(scripted: Scripted) -> None:
    sender = await scripted({"eth_getTransactionReceipt": {"result": None}})
    assert await sender.receipts([HASH]) == {}
    assert await sender.receipts([]) == {}


@pytest.mark.parametrize(
    "receipt",
    [
        RECEIPT | {"transactionHash": "0x" + "ee" * 32},
        RECEIPT | {"transactionHash": None},
        RECEIPT | {"blockNumber": None},
        RECEIPT | {"blockNumber": "0x" + "ff" * 32},
        RECEIPT | {"gasUsed": "-0x1"},
        RECEIPT | {"status": 1},
        [RECEIPT],
        "0x",
    ],
)
async def test_a_receipt_that_no_correct_endpoint_gives_is_refused(scripted: Scripted, receipt: Any) -> None:
    sender = await scripted({"eth_getTransactionReceipt": {"result": receipt}})
    with pytest.raises(TransientError) as refusal:
        await sender.receipts([HASH])
    assert refusal.value.code == "endpoint_malformed"


async def test_gas_prices_come_from_the_newest_block_and_the_suggested_tip(scripted: Scripted) -> None:
    sender = await scripted({"eth_getBlockByNumber": {"result": BLOCK}, "eth_maxPriorityFeePerGas": {"result": "0x3"}})
    assert await sender.gas_prices() == (7, 3)


async def test_an_endpoint_that_suggests_no_tip_gets_the_usual_one(scripted: Scripted) -> None:
    unknown = error("the method eth_maxPriorityFeePerGas does not exist", -32601)
    sender = await scripted({"eth_getBlockByNumber": {"result": BLOCK}, "eth_maxPriorityFeePerGas": unknown})
    assert await sender.gas_prices() == (7, DEFAULT_TIP_WEI)


async def test_a_chain_without_base_fee_is_named(scripted: Scripted) -> None:
    block = {key: value for key, value in BLOCK.items() if key != "baseFeePerGas"}
    sender = await scripted({"eth_getBlockByNumber": {"result": block}, "eth_maxPriorityFeePerGas": {"result": "0x3"}})
    with pytest.raises(TransientError, match="without base fee"):
        await sender.gas_prices()


@pytest.mark.parametrize(
    "message",
    [
        "already known",
        "nonce too low: next nonce 5, tx nonce 4",
        "replacement transaction underpriced",
        "transaction underpriced: tip needed 1, tip permitted 0",
        "ALREADY_EXISTS: already known",
    ],
)
async def test_a_transaction_that_the_endpoint_has_or_had_is_no_failure(scripted: Scripted, message: str) -> None:
    sender = await scripted({"eth_sendRawTransaction": error(message)})
    await sender.broadcast(b"\x02")


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        (
            "insufficient funds for gas * price + value: balance 0",
            "transmitter_unfunded",
            f"{ACCOUNT} on chain 1 cannot pay",
        ),
        ("exceeds block gas limit", "endpoint_refused", "exceeds block gas limit"),
        ("transaction type not supported", "endpoint_refused", "not supported"),
    ],
)
async def test_a_transaction_that_is_refused_says_why(scripted: Scripted, message: str, code: str, said: str) -> None:
    sender = await scripted({"eth_sendRawTransaction": error(message)})
    with pytest.raises(TransientError, match=said) as refusal:
        await sender.broadcast(b"\x02")
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("called", "kind", "said"),
    [
        (error("execution reverted", 3, data="0x1234abcd"), InvalidData, "refuses: error 0x1234abcd"),
        (error("execution reverted: no\x1b[31m way", 3), InvalidData, r"refuses: execution reverted: no\?\[31m way"),
        (error("out of gas"), InvalidData, "refuses: out of gas"),
        (error("header not found"), TransientError, "does not know the block"),
        (error("internal error", -32603), TransientError, "internal error"),
    ],
)
async def test_a_refusal_of_the_contract_is_told_from_a_failure_of_the_endpoint(
    scripted: Scripted, called: dict[str, Any], kind: type[PlimsollError], said: str
) -> None:
    sender = await scripted({"eth_call": called, "eth_estimateGas": {"result": "0x5208"}})
    with pytest.raises(kind, match=said):
        await sender.simulate(TARGET, b"\x01", max_gas=100_000)


async def test_a_call_above_the_gas_limit_is_refused(scripted: Scripted) -> None:
    sender = await scripted({"eth_call": {"result": "0x"}, "eth_estimateGas": {"result": "0x186a1"}})
    with pytest.raises(InvalidData, match="needs 100001 gas, the limit is 100000"):
        await sender.simulate(TARGET, b"\x01", max_gas=100_000)
