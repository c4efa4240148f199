"""A running node behind endpoints that fail or lie: no wrong report, a reason that names them, and by itself back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from adapters.chains import Chain, open_chain
from node.round.node import Node
from node.round.reading import read_portfolios
from node.round.result import RoundResult
from node.settings import Endpoint
from riskschema.codec import decode_json
from riskschema.portfolio import Portfolio
from tests.adapters.hostile_endpoint import Form, HostileEndpoint, hostile_endpoints
from tests.adapters.test_lies import LIES
from tests.node.local_node import LocalNode, NoReport, certified_rounds
from tests.patience import HANG_SECONDS

pytestmark = pytest.mark.chain

Fault = Callable[[HostileEndpoint], None]


def failing(**settings: Any) -> Fault:
    def fault(endpoint: HostileEndpoint) -> None:
        for name, value in settings.items():
            setattr(endpoint, name, value)

    return fault


def answering(method: str, result: Any) -> Fault:
    def lie(form: Form, answer: Form) -> Form:
        if form["method"] != method or "to" not in str(form["params"][:1]) + "to":
            return answer
        return {"jsonrpc": "2.0", "id": form["id"], "result": result}

    return failing(lie=lie)


def refusing(code: int, message: str) -> Fault:
    def lie(form: Form, _answer: Form) -> Form:
        return {"jsonrpc": "2.0", "id": form["id"], "error": {"code": code, "message": message}}

    return failing(lie=lie)


def lying(name: str) -> Fault:
    return failing(lie=LIES[name])


SILENT = "does not answer"
FAULTS: dict[str, tuple[Fault, str]] = {
    SILENT: (failing(hang=True), "endpoint_unreachable"),
    "is out of order": (failing(status=502), "endpoint_unreachable"),
    "asks for patience": (failing(status=429), "endpoint_refused"),
    "wants a key": (failing(status=401), "endpoint_refused"),
    "has internal errors": (refusing(-32603, "Internal error"), "endpoint_refused"),
    "lost the state": (refusing(-32000, "missing trie node 1a2b (path )"), "history_pruned"),
    "does not know blocks": (answering("eth_getBlockByHash", None), "block_unknown"),
    "answers nonsense": (answering("eth_call", "0xzz"), "endpoint_malformed"),
    "hides blocks": (answering("eth_getBlockByNumber", None), "block_unknown"),
    "forges decimals": (lying("decimals of two"), "answers_contradict"),
    "forges balances": (lying("balances times ten"), "answers_contradict"),
}


def behind(local: LocalNode, fleet: Sequence[HostileEndpoint], **options: Any) -> None:
    """Let the node read through these endpoints, publishing through the first."""
    chain = msgspec.structs.replace(
        local.settings.chains[0],
        rpc_url=None,
        endpoints=tuple(Endpoint(url=each.url + "/a-key-of-many-signs") for each in fleet),
        timeout=HANG_SECONDS,
        **options,
    )
    local.settings = msgspec.structs.replace(local.settings, chains=(chain,), publish=None)


@asynccontextmanager
async def running(local: LocalNode, count: int, **options: Any) -> AsyncIterator[tuple[Node, list[HostileEndpoint]]]:
    async with hostile_endpoints(local.devnet.url, count) as fleet:
        behind(local, fleet, **options)
        async with local.open() as node:
            yield node, fleet


async def assert_true(local: LocalNode, node: Node, result: RoundResult) -> None:
    """Hold every position of a certified report against what the chain itself says at its pin."""
    [(chain_id, number)] = result.pins
    stored = await node.store.accounts(node.config_digest, result.round)
    assert result.accounts == len(stored) >= 20
    async with open_chain(rpc_url=local.devnet.url, chain_id=chain_id, finality="latest") as honest:
        reader = await honest.pin(await honest.block(number))
        reading = await read_portfolios(node.venues, {chain_id: reader}, [account.subject for account in stored])
    found = [decode_json(account.portfolio or b"", Portfolio, what="portfolio") for account in stored]
    assert [portfolio.silos for portfolio in found] == [portfolio.silos for portfolio in reading.portfolios]


async def test_with_one_endpoint_the_node_abstains_says_why_and_goes_on_by_itself(
    local: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(local, 1) as (node, [endpoint]):
        told: list[str] = []
        fail = node.status.fail

        def note(component: str, code: str, *, at: float, detail: str = "") -> None:
            told.append(detail)
            fail(component, code, at=at, detail=detail)

        monkeypatch.setattr(node.status, "fail", note)
        for name, (fault, reason) in FAULTS.items():
            if name == SILENT:
                continue  # a minute of waiting, and nothing else
            told.clear()
            fault(endpoint)
            local.devnet.anvil.mine(2)
            with pytest.raises(NoReport):
                await certified_rounds(node, 1, slots=1)
            failures = {failure.component: failure.code for failure in node.status.failures(node.clock.now())}
            assert failures["round"] == reason, name
            assert any(endpoint.url in detail for detail in told), name
            assert not any("a-key-of-many-signs" in detail for detail in told), name
            assert len(local.accepted()) == 0
            failing(hang=False, status=200, lie=None)(endpoint)
            [after] = await certified_rounds(node, 1)
            await assert_true(local, node, after)


async def test_one_such_endpoint_of_three_costs_no_round_and_changes_no_report(local: LocalNode) -> None:
    async with running(local, 3) as (node, fleet):
        for at, (name, (fault, _)) in enumerate(FAULTS.items()):
            faulty = fleet[at % 3]
            fault(faulty)
            local.devnet.anvil.mine(2)
            [during] = await certified_rounds(node, 1, slots=1)
            await assert_true(local, node, during)
            found = {report.name: report.state.value for chain in node.chains.values() for report in chain.endpoints()}
            assert all(found[each.url] == "alive" for each in fleet if each is not faulty), name
            failing(hang=False, status=200, lie=None)(faulty)
            for chain in node.chains.values():
                rest(chain)
            if found[faulty.url] == "lying":
                await certified_rounds(node, 1, slots=1)  # heard on trial


def rest(chain: Chain) -> None:
    """Let every pause and quarantine be over."""
    for endpoint in chain._transport._endpoints:
        endpoint.health.paused_until = 0.0
