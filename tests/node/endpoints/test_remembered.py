"""What endpoints take outlives a restart: limits, the day's calls, and a plea to wait; no address is written."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.chains import Chain, EndpointOptions, Learned, open_chain
from node.endpoints.opening import open_chains
from node.endpoints.remembered import FORGOTTEN_AFTER_SECONDS, MAX_BYTES, MOST, RememberedEndpoints
from node.settings import Chain as ChainSettings
from node.settings import Endpoint
from riskschema.errors import TransientError
from riskschema.units import Address, Hash32
from tests.adapters.hostile_endpoint import Form, HostileEndpoint, hostile_endpoints, small_chain

CONTRACT, TOPIC = Address("0x" + "c0" * 20), Hash32("0x" + "7a" * 32)
SECRET = "a-very-secret-key"
DAY = 86_400
NOON = 1_700_000_000.0


@pytest.fixture
async def provider() -> AsyncIterator[HostileEndpoint]:
    async with hostile_endpoints(small_chain(), 1) as (endpoint,):
        yield endpoint


class Node:
    """One node over restarts: its file, its clock, and its only endpoint, whose address holds a key."""

    def __init__(self, directory: Path, provider: HostileEndpoint, **limits: Any) -> None:
        self.path = directory / "endpoints.json"
        self.now = NOON
        self.url = f"{provider.url}/v2/{SECRET}"
        self._limits = limits

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Chain]:
        """Start, and stop at the end."""
        remembered = RememberedEndpoints(self.path, lambda: self.now)
        options = EndpointOptions(url=self.url, learned=remembered.recall(1, self.url), **self._limits)
        async with open_chain(
            endpoints=[options], chain_id=1, finality="latest", attempts=1, clock=lambda: self.now
        ) as chain:
            remembered.watch(chain, [self.url])
            async with remembered.saving():
                yield chain


def narrow(form: Form, answer: Form) -> Form:
    """Refuse logs of more than ten blocks."""
    query = form["params"][0] if form["method"] == "eth_getLogs" else {"toBlock": "0x0", "fromBlock": "0x0"}
    if int(query["toBlock"], 16) - int(query["fromBlock"], 16) < 10:
        return answer
    return {"jsonrpc": "2.0", "id": form["id"], "error": {"code": -32000, "message": "range too wide"}}


async def read_logs(chain: Chain) -> None:
    pinned = await chain.pin(await chain.head())
    assert len(await pinned.logs(addresses=[CONTRACT], topics=[[TOPIC]], from_block=1)) == 10


async def test_limits_that_were_learned_are_not_learned_again(tmp_path: Path, provider: HostileEndpoint) -> None:
    node, spans = Node(tmp_path, provider), []
    provider.lie = narrow
    for _ in range(2):
        provider.asked.clear()
        async with node.run() as chain:
            await read_logs(chain)
        queries = [form["params"][0] for form in provider.asked if form["method"] == "eth_getLogs"]
        spans.append(max(int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1 for query in queries))
    assert spans[0] > 10 >= spans[1]


async def test_an_endpoint_without_batches_is_asked_one_by_one_from_the_start(
    tmp_path: Path, provider: HostileEndpoint
) -> None:
    node, posts = Node(tmp_path, provider), []
    provider.batches = False
    for _ in range(2):
        before, asked = provider.posts, len(provider.asked)
        async with node.run() as chain:
            await read_logs(chain)
        posts.append((provider.posts - before) - (len(provider.asked) - asked))
    refused_first, refused_then = posts
    assert refused_first > 0 == refused_then


async def test_limits_of_last_week_are_learned_anew(tmp_path: Path, provider: HostileEndpoint) -> None:
    node = Node(tmp_path, provider)
    provider.lie = narrow
    async with node.run() as chain:
        await read_logs(chain)
    provider.lie = None
    for later, learned_anew in ((FORGOTTEN_AFTER_SECONDS - 1, False), (1, True)):
        node.now += later
        async with node.run() as chain:
            assert (chain.endpoints()[0].log_range == 10_000) is learned_anew


async def test_limits_that_changed_meanwhile_are_learned_anew_as_well(
    tmp_path: Path, provider: HostileEndpoint
) -> None:
    node = Node(tmp_path, provider)
    provider.lie, provider.batches = narrow, False
    async with node.run() as chain:
        await read_logs(chain)
        found = chain.learned()[0].log_range
    provider.lie, provider.batches = None, True
    node.now += FORGOTTEN_AFTER_SECONDS / 2
    async with node.run() as chain:
        for _ in range(40):
            await read_logs(chain)
        assert found < chain.learned()[0].log_range < 10_000
    node.now += FORGOTTEN_AFTER_SECONDS / 2
    async with node.run() as chain:
        assert chain.learned()[0].batched
        assert chain.endpoints()[0].log_range == 10_000


async def ask_on(node: Node) -> None:
    async with node.run() as chain:
        while True:
            await chain.block(5)


async def test_the_budget_of_a_day_is_one_over_restarts_and_new_on_the_next(
    tmp_path: Path, provider: HostileEndpoint
) -> None:
    node = Node(tmp_path, provider, calls_per_day=20)

    async def spend() -> int:
        before = len(provider.asked)
        with pytest.raises(TransientError) as spent:
            await ask_on(node)
        assert spent.value.code == "call_budget_spent"
        return len(provider.asked) - before

    looking = 3  # chain id, genesis and gas cap are looked at in every start
    assert await spend() == 20
    node.now += DAY / 2
    assert await spend() <= looking
    node.now -= DAY  # a clock that goes back gives nothing
    assert await spend() <= looking
    node.now += 3 * DAY
    assert await spend() == 20


async def test_a_plea_to_wait_is_heeded_after_a_restart(tmp_path: Path, provider: HostileEndpoint) -> None:
    node = Node(tmp_path, provider)
    async with node.run() as chain:
        provider.status, provider.headers = 429, {"Retry-After": "1800"}
        with pytest.raises(TransientError):
            await chain.block(5)
    provider.status = 200
    node.now += 600
    async with node.run() as chain:
        assert chain.endpoints()[0].state.value == "limited"
        assert 1_100 < chain.learned()[0].limited_until - node.now <= 1_200
    node.now += 1_300
    async with node.run() as chain:
        assert chain.endpoints()[0].state.value == "alive"


async def test_the_file_is_private_and_names_no_address(tmp_path: Path, provider: HostileEndpoint) -> None:
    node = Node(tmp_path, provider)
    async with node.run() as chain:
        await read_logs(chain)
    text = node.path.read_text()
    assert SECRET not in text
    assert "127.0.0.1" not in text
    assert stat.S_IMODE(node.path.stat().st_mode) == 0o600
    other = Node(tmp_path / "other", provider)
    other.path.parent.mkdir()
    async with other.run():
        pass
    one, another = (json.loads(each.path.read_text())["endpoints"][0]["endpoint"] for each in (node, other))
    assert one != another


@pytest.mark.parametrize(
    "text", ["", "no JSON", "{}", '{"key": "zz", "endpoints": []}', "[" * MAX_BYTES, '{"key": "' + "a" * MAX_BYTES]
)
async def test_a_damaged_file_is_said_and_written_anew(tmp_path: Path, provider: HostileEndpoint, text: str) -> None:
    node = Node(tmp_path, provider)
    node.path.write_text(text)
    with capture_logs() as logs:
        async with node.run():
            pass
        RememberedEndpoints(node.path)
    assert [entry["event"] for entry in logs] == ["endpoints not remembered"]


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with capture_logs() as logs:
        RememberedEndpoints(tmp_path / "missing" / "endpoints.json").save()
    assert [entry["event"] for entry in logs] == ["endpoints not remembered"]


def test_the_file_is_bounded(tmp_path: Path) -> None:
    class Opened:
        chain_id = 1

        def __init__(self, began: float) -> None:
            self._began = began

        def learned(self) -> tuple[Learned, ...]:
            return (Learned(day_began=self._began),)

    remembered = RememberedEndpoints(tmp_path / "endpoints.json", lambda: NOON)
    for number in range(MOST + 50):
        remembered.watch(Opened(NOON + number), [f"https://provider-{number}.example"])  # type: ignore[arg-type]
    remembered.save()
    kept = RememberedEndpoints(tmp_path / "endpoints.json", lambda: NOON)
    assert (tmp_path / "endpoints.json").stat().st_size < MAX_BYTES
    assert [kept.recall(1, f"https://provider-{number}.example") is None for number in (49, 50)] == [True, False]


async def test_the_chains_of_the_settings_are_opened_with_what_is_remembered(
    tmp_path: Path, provider: HostileEndpoint
) -> None:
    settings = ChainSettings(chain_id=1, finality="latest", endpoints=(Endpoint(url=provider.url),))
    provider.lie = narrow
    ranges = []
    for _ in range(2):
        async with AsyncExitStack() as stack:
            remembered = RememberedEndpoints(tmp_path / "endpoints.json")
            chain = (await open_chains(stack, [settings], tmp_path, remembered))[1]
            ranges.append(chain.endpoints()[0].log_range)
            await read_logs(chain)
    assert ranges[0] == 10_000 > 10 >= ranges[1]
