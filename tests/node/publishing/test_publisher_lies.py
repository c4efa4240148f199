"""The publisher at an endpoint that lies now and then: a real chain, with a proxy before it that changes answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

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

    def open(self, store: Store, **limits: Any) -> AbstractAsyncContextManager[ChainPublisher]:
        return open_publisher(
            rpc_url=self.url,
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
