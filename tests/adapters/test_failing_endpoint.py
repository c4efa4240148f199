"""The chain reader behind an endpoint that fails: what is retried, halved, refused, and never said aloud."""

import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.chains import open_chain
from adapters.chains.provider import origin
from devnet.local_chain import Devnet
from riskschema.errors import FatalError, TransientError
from riskschema.portfolio import BlockReference
from riskschema.ports import Call, CallSuccess
from riskschema.units import Address, Hash32
from tests.adapters.devnet_chain import open_devnet
from tests.adapters.fault_proxy import FaultProxy, fault_proxy, http

SOMEWHERE = Address("0x" + "5a" * 20)


@pytest.fixture
async def proxy(chain: Devnet) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(chain.url) as running:
        yield running


@pytest.mark.chain
async def test_resets_are_retried_and_the_answer_is_right(chain, proxy):
    async with open_devnet(chain, proxy.url) as opened:
        head = await opened.head()
    proxy.resets = 2
    async with open_devnet(chain, proxy.url) as opened:
        assert await opened.head() == head


@pytest.mark.chain
async def test_latency_below_the_timeout_only_delays(chain, proxy):
    proxy.latency = 0.05
    async with open_devnet(chain, proxy.url) as opened:
        assert (await opened.head()).number >= chain.deployment.seeded_block


@pytest.mark.chain
@pytest.mark.parametrize("fault", ["blackhole", "resets"])
async def test_an_unreachable_endpoint_is_a_local_failure_with_its_origin_only(chain, proxy, fault):
    setattr(proxy, fault, 100)
    url = proxy.url.replace("http://", "http://user:hunter2hunter2@") + "/v2/secret-api-key?token=another-secret"
    with pytest.raises(TransientError) as failed:
        async with open_devnet(chain, url, timeout_seconds=0.2, attempts=2):
            pass
    assert failed.value.code == "endpoint_unreachable"
    assert proxy.url in str(failed.value)
    assert not any(secret in str(failed.value) for secret in ("hunter2", "secret"))


async def test_a_closed_port_is_a_local_failure():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(TransientError) as failed:
        async with open_chain(rpc_url=url, chain_id=1, attempts=1):
            pass
    assert failed.value.code == "endpoint_unreachable"


def answers(request: bytes, **fields: Any) -> bytes:
    return http(json.dumps([{"jsonrpc": "2.0", "id": item["id"], **fields} for item in json.loads(request)]).encode())


BROKEN = {
    "no JSON": lambda request: http(b"<html>hello</html>"),
    "no batch": lambda request: http(b'"hello"'),
    "other ids": lambda request: http(b'[{"id": 987654, "result": "0x1"}]'),
    "one missing": lambda request: http(b"[]"),
    "no quantity": lambda request: answers(request, result="zero"),
    "a bomb": lambda request: http(b'[{"id": 0, "result": "0x' + b"0" * 2_000_000 + b'"}]'),
    "deep nesting": lambda request: http(b"[" * 100_000),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_nonsense_from_an_endpoint_is_a_local_failure_and_not_retried(what):
    async with fault_proxy("http://127.0.0.1:9") as proxy:
        proxy.answer = BROKEN[what]
        with pytest.raises(TransientError) as failed:
            async with open_chain(rpc_url=proxy.url, chain_id=1, max_answer_bytes=1_000_000):
                pass
    assert failed.value.code == "endpoint_malformed"
    assert proxy.connections == 1


GENESIS = {"number": "0x0", "hash": "0x" + "0a" * 32, "timestamp": "0x1"}
PINNED = {"number": "0x9", "hash": "0x" + "0b" * 32, "timestamp": "0x2"}
OTHER = PINNED | {"hash": "0x" + "0c" * 32}
PIN = BlockReference(chain_id=1, number=9, hash=Hash32(PINNED["hash"]), timestamp=2)


class Endpoint:
    """Answers each method from a table; of a list of results the first is used up."""

    def __init__(self) -> None:
        self.canonical: list[dict[str, str]] = [PINNED]
        self.results: dict[str, Any] = {"eth_getCode": "0x"}
        self.batches: list[list[str]] = []
        self.refuse_above = 10**6
        """Batches of more requests get one error instead of answers."""
        self.swapped = False
        """Answers carry each other's ids."""

    def __call__(self, request: bytes) -> bytes:
        forms = json.loads(request)
        forms = forms if isinstance(forms, list) else [forms]
        self.batches.append([form["method"] for form in forms])
        if len(forms) > self.refuse_above:
            return http(b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "batch too large"}}')
        said = [{"jsonrpc": "2.0", "id": form["id"], "result": self._result(form)} for form in forms]
        if self.swapped:
            ids = [each["id"] for each in said]
            for each, other in zip(said, reversed(ids), strict=True):
                each["id"] = other
        return http(json.dumps(said).encode())

    def _result(self, form: dict[str, Any]) -> Any:
        method, parameters = form["method"], form["params"]
        if method == "eth_chainId":
            return "0x1"
        if method == "eth_getBlockByHash":
            return PINNED
        if method == "eth_getBlockByNumber" and parameters[0] == "0x0":
            return GENESIS
        if method == "eth_getBlockByNumber":
            return self.canonical.pop(0) if len(self.canonical) > 1 else self.canonical[0]
        if method == "eth_call":
            return parameters[0]["data"]
        return self.results[method]


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[Endpoint, str]]:
    async with fault_proxy("http://127.0.0.1:9") as proxy:
        proxy.answer = said = Endpoint()
        yield said, proxy.url


async def test_a_block_that_is_known_by_hash_and_not_canonical_is_not_pinned(endpoint):
    """Clients answer for blocks that were reorganised away: the height decides."""
    said, url = endpoint
    said.canonical = [OTHER]
    async with open_chain(rpc_url=url, chain_id=1) as opened:
        with pytest.raises(TransientError, match=r"the canonical block is 0x0c0c.*, no longer 0x0b0b") as noticed:
            await opened.pin(PIN)
        assert noticed.value.code == "block_unknown"
        said.canonical = [PINNED]
        assert (await opened.pin(PIN)).block == PIN


async def test_a_block_that_is_reorganised_away_while_logs_are_read_is_noticed_after_them(endpoint):
    said, url = endpoint
    said.results["eth_getLogs"] = []
    async with open_chain(rpc_url=url, chain_id=1) as opened:
        pinned = await opened.pin(PIN)
        assert await pinned.logs(addresses=[SOMEWHERE], topics=[], from_block=0) == ()
        said.canonical = [OTHER]
        with pytest.raises(TransientError) as noticed:
            await pinned.logs(addresses=[SOMEWHERE], topics=[], from_block=0)
        assert noticed.value.code == "block_unknown"


async def test_one_error_for_a_whole_batch_halves_it_until_it_is_taken(endpoint):
    said, url = endpoint
    calls = [Call(SOMEWHERE, bytes([number])) for number in range(8)]
    async with open_chain(rpc_url=url, chain_id=1) as opened:
        pinned = await opened.pin(PIN)
        said.batches.clear()
        said.refuse_above = 2
        assert await pinned.call(calls) == tuple(CallSuccess(call.data) for call in calls)
        assert sorted(map(len, said.batches)) == [2, 2, 2, 2, 4, 4, 8]
        said.refuse_above = 0
        with pytest.raises(TransientError, match="refused a batch of 1: batch too large") as refused:
            await pinned.call(calls)
    assert refused.value.code == "endpoint_refused"


async def test_a_rate_limit_for_a_whole_batch_is_waited_for_and_not_halved():
    batches: list[int] = []

    def limited(request: bytes) -> bytes:
        batches.append(len(json.loads(request)))
        if len(batches) == 1:
            return http(b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32005, "message": "too many requests"}}')
        return answers(request, result="0x2")

    async with fault_proxy("http://127.0.0.1:9") as proxy:
        proxy.answer = limited
        with pytest.raises(FatalError, match="serves chain 2, not 1"):
            async with open_chain(rpc_url=proxy.url, chain_id=1):
                pass
    assert batches == [1, 1]


async def test_answers_are_matched_by_their_ids_and_not_by_their_order(endpoint):
    said, url = endpoint
    calls = [Call(SOMEWHERE, bytes([number])) for number in range(5)]
    async with open_chain(rpc_url=url, chain_id=1) as opened:
        pinned = await opened.pin(PIN)
        said.swapped = True
        assert [answer.data for answer in await pinned.call(calls)] == [bytes([number]) for number in range(4, -1, -1)]


TOPICS = [Hash32(bytes([number]) * 32) for number in range(1, 6)]


def log(**changed: Any) -> dict[str, Any]:
    plain = {
        "address": str(SOMEWHERE),
        "topics": TOPICS[:2],
        "data": "0x01",
        "blockNumber": "0x5",
        "logIndex": "0x0",
        "blockHash": "0x" + "bb" * 32,
    }
    return plain | changed


ASKED: dict[str, Any] = {"addresses": [SOMEWHERE], "topics": [[TOPICS[0]], [TOPICS[1], TOPICS[2]]], "from_block": 3}


@pytest.mark.parametrize(
    ("changed", "said_of_it"),
    [
        ({"topics": [TOPICS[1], TOPICS[1]]}, "not asked for"),
        ({"topics": [TOPICS[0], TOPICS[3]]}, "not asked for"),
        ({"topics": [TOPICS[1], TOPICS[0]]}, "not asked for"),
        ({"topics": [TOPICS[0]]}, "not asked for"),
        ({"topics": []}, "not asked for"),
        ({"address": "0x" + "5b" * 20}, "not asked for"),
        ({"blockNumber": "0x2"}, "not asked for"),
        ({"blockNumber": "0xa"}, "not asked for"),
        ({"topics": TOPICS[:2] + TOPICS[2:5]}, "answered no log"),
        ({"topics": "0x01"}, "answered no log"),
        ({"topics": [TOPICS[0], "0x01"]}, "no 32-byte hash"),
        ({"topics": [TOPICS[0], None]}, "no 32-byte hash"),
        ({"address": None}, "log without an address"),
        ({"address": "0x12"}, "log without an address"),
        ({"data": None}, "no hexadecimal bytes"),
        ({"data": "0x1"}, "no hexadecimal bytes"),
        ({"blockNumber": 5}, "no hexadecimal quantity"),
        ({"blockNumber": None}, "no hexadecimal quantity"),
    ],
)
async def test_a_log_that_nobody_asked_for_or_that_is_none_is_the_endpoints_failure(endpoint, changed, said_of_it):
    said, url = endpoint
    async with open_chain(rpc_url=url, chain_id=1) as opened:
        pinned = await opened.pin(PIN)
        said.results["eth_getLogs"] = [log(), log(topics=[TOPICS[0], TOPICS[2], TOPICS[4]], blockNumber="0x3")]
        assert [each.block_number for each in await pinned.logs(**ASKED)] == [3, 5]
        said.results["eth_getLogs"] = [log(), log(logIndex="0x1", **changed)]
        with pytest.raises(TransientError, match=said_of_it) as refused:
            await pinned.logs(**ASKED)
    assert refused.value.code == "endpoint_malformed"


@pytest.mark.parametrize("logs", [None, {}, "0x", [None], [[]], ["0x"]])
async def test_what_is_no_list_of_logs_is_the_endpoints_failure(endpoint, logs):
    said, url = endpoint
    said.results["eth_getLogs"] = logs
    async with open_chain(rpc_url=url, chain_id=1) as opened:
        pinned = await opened.pin(PIN)
        with pytest.raises(TransientError, match="answered no l") as refused:
            await pinned.logs(**ASKED)
    assert refused.value.code == "endpoint_malformed"


@pytest.mark.parametrize(
    ("status", "connections"),
    [("429 Too Many Requests", 3), ("503 Unavailable", 3), ("401 Unauthorized", 1), ("302 Found", 1)],
)
async def test_only_failures_that_may_pass_are_retried(status, connections):
    async with fault_proxy("http://127.0.0.1:9") as proxy:
        proxy.answer = lambda request: http(b"no", status)
        with pytest.raises(TransientError):
            async with open_chain(rpc_url=proxy.url, chain_id=1, attempts=3):
                pass
    assert proxy.connections == connections


async def test_a_rate_limit_inside_a_batch_is_retried():
    left = [1]

    def limited(request: bytes) -> bytes:
        if left.pop() if left else False:
            return answers(request, error={"code": -32005, "message": "limit exceeded"})
        return answers(request, result="0x2")

    async with fault_proxy("http://127.0.0.1:9") as proxy:
        proxy.answer = limited
        with pytest.raises(FatalError, match="serves chain 2, not 1"):
            async with open_chain(rpc_url=proxy.url, chain_id=1):
                pass
    assert proxy.connections == 2


async def test_a_secret_that_the_endpoint_echoes_is_struck_out():
    async with fault_proxy("http://127.0.0.1:9") as proxy:
        proxy.answer = lambda request: answers(request, error={"code": -32600, "message": "bad key my-secret-key"})
        with pytest.raises(TransientError, match=r"bad key \*\*\*") as failed:
            async with open_chain(rpc_url=f"{proxy.url}/v2/my-secret-key", chain_id=1):
                pass
    assert "my-secret-key" not in str(failed.value)


@pytest.mark.parametrize("url", ["ftp://host", "localhost:8545", "http://", "http://host:port", "", "ws://host"])
async def test_an_address_that_is_no_http_url_is_refused(url):
    with pytest.raises(FatalError, match="rpc_url"):
        async with open_chain(rpc_url=url, chain_id=1):
            pass


def test_the_origin_of_an_address_holds_no_secret():
    assert origin("https://user:key@rpc.example:8443/v2/key?key=1") == "https://rpc.example:8443"
    assert origin("http://[::1]:8545/key") == "http://[::1]:8545"
