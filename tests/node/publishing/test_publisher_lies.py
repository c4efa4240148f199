"""The publisher at an endpoint that lies now and then: a real chain, with a proxy before it that changes answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from adapters.chains import EndpointOptions
from attest.keys.keystore import LocalSigner
from devnet.anvil import Anvil, run_anvil
from devnet.toolchain.packages import default_cache, find_anvil
from node.publishing.outbox import PublishLimits
from node.publishing.publisher import FAILURES_PER_ROUND, ChainPublisher, open_publisher
from riskschema.errors import InvalidData, TransientError
from riskschema.ports import Store
from riskschema.units import Address, Hash32
from storage.store import open_store
from tests.node.publishing.clocks import SkippingClock

pytestmark = pytest.mark.chain

NETWORK = Hash32("0x" + "a1" * 32)
SIGNER = LocalSigner(b"\x07" * 32)
BOOK = Address("0x" + "b0" * 20)
# SSTORE(word, 1)
BOOK_CODE = "0x60016000355500"
LIMITS = PublishLimits(max_fee_per_gas=100 * 10**9, deadline=3_600.0, poll=3.0, replace_after=86_400.0)


@dataclass
class Endpoint:
    """A proxy to the chain: what it says instead, by method, and the transactions it was given."""

    url: str = ""
    lies: dict[str, Callable[[], Any]] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    """How many more calls of a method are answered by an error."""

    def open(self, store: Store, **limits: Any) -> AbstractAsyncContextManager[ChainPublisher]:
        return open_publisher(
            endpoints=[EndpointOptions(url=self.url)],
            chain_id=31337,
            config_digest=NETWORK,
            signer=SIGNER,
            store=store,
            clock=SkippingClock(),
            explain=bytes.hex,
            limits=msgspec.structs.replace(LIMITS, **limits),
        )


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with run_anvil(find_anvil(cache=default_cache(), progress=lambda line: None)) as running:
        running.rpc.request("anvil_setCode", BOOK, BOOK_CODE)
        running.set_balance(SIGNER.address, 10**19)
        yield running


@pytest.fixture
def chain(anvil: Anvil) -> Iterator[Anvil]:
    snapshot = anvil.snapshot()
    yield anvil
    anvil.rpc.request("anvil_dropAllTransactions")
    anvil.rpc.request("evm_setAutomine", True)
    anvil.revert(snapshot)


@pytest.fixture
async def endpoint(chain: Anvil) -> AsyncIterator[Endpoint]:
    async with lying_endpoint(chain) as running:
        yield running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "node.db") as opened:
        yield opened


@asynccontextmanager
async def lying_endpoint(chain: Anvil) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()

    async def answer(request: web.Request) -> web.Response:
        forms = json.loads(await request.read())
        endpoint.sent += [form["params"][0] for form in forms if form["method"] == "eth_sendRawTransaction"]
        async with session.post(chain.url, json=forms) as response:
            answers = {each["id"]: each for each in await response.json()}
        for form in forms:
            if form["method"] in endpoint.lies:
                answers[form["id"]] = {"jsonrpc": "2.0", "id": form["id"], "result": endpoint.lies[form["method"]]()}
            if endpoint.errors.get(form["method"], 0) > 0:
                endpoint.errors[form["method"]] -= 1
                error = {"code": -32000, "message": "the node is syncing"}
                answers[form["id"]] = {"jsonrpc": "2.0", "id": form["id"], "error": error}
        return web.json_response(list(answers.values()))

    application = web.Application()
    application.router.add_post("/", answer)
    async with aiohttp.ClientSession() as session, TestServer(application) as server:
        endpoint.url = str(server.make_url("/"))
        yield endpoint


async def publish(publisher: ChainPublisher, round_number: int) -> str:
    """Publish as many bytes as a report of a large committee has; return the transaction's hash."""
    data = round_number.to_bytes(32, "big") + b"\xff" * 2000
    return (await publisher.publish(round_number=round_number, to=BOOK, data=data)).hash


async def test_a_nonce_told_too_high_costs_its_round_and_no_other(endpoint: Endpoint, store: Store) -> None:
    async with endpoint.open(store, deadline=30.0) as publisher:
        endpoint.lies["eth_getTransactionCount"] = lambda: hex(2**40)
        with pytest.raises(TransientError, match="round 5 has not landed"):
            await publish(publisher, 5)
    endpoint.lies.clear()
    async with endpoint.open(store) as publisher:
        assert await publish(publisher, 6) != await publish(publisher, 7)


async def test_an_impossible_nonce_is_an_answer_of_a_broken_endpoint(endpoint: Endpoint, store: Store) -> None:
    endpoint.lies["eth_getTransactionCount"] = lambda: hex(2**64)
    async with endpoint.open(store, deadline=30.0) as publisher:
        with pytest.raises(TransientError, match="impossible nonce"):
            await publish(publisher, 5)
    assert endpoint.sent == []


@pytest.mark.parametrize("told", ["0x0", "0x5208"])
async def test_gas_told_too_low_leaves_no_transaction_that_no_block_can_take(
    endpoint: Endpoint, store: Store, told: str
) -> None:
    async with endpoint.open(store) as publisher:
        endpoint.lies["eth_estimateGas"] = lambda: told
        await asyncio.gather(publish(publisher, 5), return_exceptions=True)
        endpoint.lies.clear()
        await publish(publisher, 6)


async def test_an_endpoint_that_says_each_nonce_is_used_gets_few_transactions(
    chain: Anvil, endpoint: Endpoint, store: Store
) -> None:
    chain.rpc.request("evm_setAutomine", False)
    endpoint.lies["eth_getTransactionCount"] = lambda: hex(len(endpoint.sent))
    async with endpoint.open(store) as publisher:
        with pytest.raises(InvalidData, match="whether another program uses the account"):
            await publish(publisher, 5)
    assert len(set(endpoint.sent)) == FAILURES_PER_ROUND


async def test_a_round_that_waits_for_its_block_does_not_blame_the_endpoint(
    chain: Anvil, endpoint: Endpoint, store: Store
) -> None:
    chain.rpc.request("evm_setAutomine", False)
    async with endpoint.open(store, deadline=100.0, poll=20.0) as publisher:
        with pytest.raises(TransientError) as late:
            await publish(publisher, 5)
    assert late.value.message.endswith("it is followed up")


GWEI = 10**9


def offers(endpoint: Endpoint) -> list[tuple[int, int]]:
    """Return (priority fee, fee) in wei of what was sent, as another library reads it."""
    decoded = [TypedTransaction.from_bytes(HexBytes(raw)).as_dict() for raw in endpoint.sent]
    return [(each["maxPriorityFeePerGas"], each["maxFeePerGas"]) for each in decoded]


async def test_a_tip_told_fifty_times_too_high_is_not_paid(endpoint: Endpoint, store: Store) -> None:
    endpoint.lies["eth_maxPriorityFeePerGas"] = lambda: hex(50 * GWEI)
    async with endpoint.open(store, max_tip_per_gas=2 * GWEI) as publisher:
        for round_number in (5, 6):
            await publish(publisher, round_number)
    assert [tip for tip, _ in offers(endpoint)] == [GWEI, GWEI]


async def test_an_endpoint_that_hides_what_landed_cannot_raise_the_tip_beyond_its_cap(
    chain: Anvil, endpoint: Endpoint, store: Store
) -> None:
    chain.rpc.request("evm_setAutomine", False)
    endpoint.lies["eth_maxPriorityFeePerGas"] = lambda: hex(50 * GWEI)
    endpoint.lies["eth_getTransactionReceipt"] = lambda: None
    endpoint.lies["eth_getTransactionCount"] = lambda: "0x0"
    async with endpoint.open(store, max_tip_per_gas=2 * GWEI, replace_after=0.0, deadline=600.0) as publisher:
        publishing = asyncio.create_task(publish(publisher, 5))
        while len(endpoint.sent) < 12 and not publishing.done():  # noqa: ASYNC110 - the endpoint is another task
            await asyncio.sleep(0.02)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    tips = [tip for tip, _ in offers(endpoint)]
    assert len(set(tips)) > 3, "it was replaced"
    assert max(tips) <= 2 * GWEI


async def test_a_day_costs_no_more_than_its_budget_whatever_the_endpoint_says(
    chain: Anvil, endpoint: Endpoint, store: Store
) -> None:
    """The endpoint asks for the highest fee, and says in every receipt that nothing was used."""
    before = balance(chain)
    budget = 3 * 10**16
    endpoint.lies["eth_maxPriorityFeePerGas"] = lambda: hex(100 * GWEI)
    landed: list[int] = []
    spent = "the budget is 30000000: publishing pauses"
    for first in (1, 11):  # the second time after a restart
        async with endpoint.open(store, max_tip_per_gas=200 * GWEI, daily_budget=budget) as publisher:
            with pytest.raises(TransientError, match=spent) as paused:
                await publish_many(publisher, range(first, first + 10), landed)
            assert paused.value.code == "budget_spent"
    assert 2 <= len(landed) < 10
    assert before - balance(chain) <= budget
    async with endpoint.open(store, max_tip_per_gas=200 * GWEI, daily_budget=budget) as publisher:
        await publish(publisher, 1_440 + landed[-1])  # a day later


async def test_a_nonce_told_twice_does_not_take_a_dear_transaction_out_of_the_budget(
    endpoint: Endpoint, store: Store
) -> None:
    """The endpoint names the nonce of what has landed again, for a cheap transaction that can never land."""
    budget = 2 * 10**16
    limits = {"max_tip_per_gas": 200 * GWEI, "daily_budget": budget, "final_depth": 1, "deadline": 30.0}
    async with endpoint.open(store, **limits) as publisher:
        endpoint.lies["eth_maxPriorityFeePerGas"] = lambda: hex(90 * GWEI)
        await publish(publisher, 5)
        first = TypedTransaction.from_bytes(HexBytes(endpoint.sent[0])).as_dict()
        assert budget / 2 < first["gas"] * first["maxFeePerGas"] < budget, "one of them fits, two do not"
        endpoint.lies["eth_maxPriorityFeePerGas"] = lambda: hex(GWEI // 100)
        endpoint.lies["eth_getTransactionCount"] = lambda: hex(first["nonce"])
        with pytest.raises((TransientError, InvalidData)):
            await publish(publisher, 6)
        assert len(set(endpoint.sent)) > 1, "it was signed"
        del endpoint.lies["eth_getTransactionCount"]
        endpoint.lies["eth_maxPriorityFeePerGas"] = lambda: hex(90 * GWEI)
        with pytest.raises(TransientError, match="publishing pauses"):
            await publish(publisher, 7)


async def test_a_stuck_transaction_is_sent_again_where_the_budget_allows_no_dearer_one(
    chain: Anvil, endpoint: Endpoint, store: Store
) -> None:
    chain.rpc.request("evm_setAutomine", False)
    limits = {"max_tip_per_gas": 50 * GWEI, "deadline": 30.0}
    async with endpoint.open(store, **limits) as publisher:
        with pytest.raises(TransientError, match="round 5 has not landed"):
            await publish(publisher, 5)
    first = TypedTransaction.from_bytes(HexBytes(endpoint.sent[0])).as_dict()
    exact = first["gas"] * first["maxFeePerGas"]
    endpoint.sent.clear()
    async with endpoint.open(store, daily_budget=exact, replace_after=10.0, **limits) as publisher:
        with pytest.raises(TransientError, match="round 5 has not landed"):
            await publish(publisher, 5)
    assert len(endpoint.sent) > 1, "at the start, and when it was stuck: an endpoint may have forgotten it"
    assert len(set(endpoint.sent)) == 1, "but none costs more"


async def publish_many(publisher: ChainPublisher, rounds: Iterable[int], landed: list[int]) -> None:
    for round_number in rounds:
        await publish(publisher, round_number)
        landed.append(round_number)


def balance(chain: Anvil) -> int:
    return int(chain.rpc.request("eth_getBalance", SIGNER.address, "latest"), 16)


async def test_a_receipt_that_is_an_error_is_asked_for_again(endpoint: Endpoint, store: Store) -> None:
    endpoint.errors["eth_getTransactionReceipt"] = 2
    async with endpoint.open(store, deadline=600.0) as publisher:
        first = await publish(publisher, 5)
    assert endpoint.errors["eth_getTransactionReceipt"] == 0
    assert len(set(endpoint.sent)) == 1, "an error is no word that the transaction is missing"
    kept = await store.round_transaction(NETWORK, 31337, 5)
    assert kept is not None
    assert (kept.hash, kept.status) == (first, "landed")
