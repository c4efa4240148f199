"""A certified round once more, for the API: what is said of an account is said of what was attested."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from aggregator.parameters import Parameters, load_parameters
from node.api.application import create_app, serve
from node.committee_file import load_history
from node.explaining.recorded import RecordedRounds
from node.round.node import Node
from node.telemetry import HttpMetrics
from riskschema.codec import decode_json
from riskschema.portfolio import Portfolio
from tests.node.local_node import LocalNode, certified_rounds

pytestmark = pytest.mark.chain


def name_an_oracle(local: LocalNode) -> None:
    """Say in the settings that Aave takes WETH at a fixed price, and when its oracle answers anew."""
    chain = local.settings.chains[0]
    weth = next(asset.address for asset in chain.assets if asset.factor == "ETH" and int(asset.address, 16))
    venues = tuple(
        {**venue, "oracles": [{"asset": weth, "kind": "fixed", "deviation": "0.02"}]}
        if venue["protocol"] == "aave_v3"
        else venue
        for venue in chain.venues
    )
    local.settings = msgspec.structs.replace(local.settings, chains=(msgspec.structs.replace(chain, venues=venues),))


@asynccontextmanager
async def api(local: LocalNode, node: Node, parameters: Parameters) -> AsyncIterator[aiohttp.ClientSession]:
    app = create_app(
        store=node.store,
        committee=node.rules.committee,
        status=node.status,
        metrics=HttpMetrics(),
        clock=node.clock,
        explains=RecordedRounds(
            node.store,
            node.rules.committee.history_hash,
            lambda: (load_history(local.settings.market, local.directory), parameters),
        ),
    )
    async with serve(app) as listening, aiohttp.ClientSession(str(listening)) as session:
        yield session


async def asked(session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with session.get(path) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_what_an_operator_named_and_contracts_do_not_tell_reaches_report_and_positions(local: LocalNode) -> None:
    async with local.open() as node:
        unnamed = node.model.parameters_hash
    name_an_oracle(local)
    async with local.open() as node:
        (result,) = await certified_rounds(node, 1)
        assert result.certificate.header.parameters_hash == node.model.parameters_hash.to_bytes() != unnamed.to_bytes()
        pledged = [
            account.subject
            for account in await node.store.accounts(node.config_digest, result.round)
            for silo in decode_json(account.portfolio or b"", Portfolio, what="portfolio").silos
            if silo.venue.startswith("aave_v3") and silo.health is not None
            for position in silo.positions
            if getattr(getattr(position.instrument, "token", None), "symbol", "") == "WETH"
        ]
        async with api(local, node, load_parameters()) as session:
            _, account = await asked(session, f"/v1/accounts/{pledged[0]}")
            status, explained = await asked(session, f"/v1/accounts/{pledged[0]}/explanation")
    assert status == 200
    oracles = [held["oracle"] for held in account["positions"] if held["symbol"] == "WETH" and held["kind"] == "claim"]
    assert [(oracle["kind"], oracle["deviation"][:4]) for oracle in oracles] == [("market", "0.02")], "its feed is told"
    shown = account["assessment"]
    assert (explained["score"], explained["grade"]) == (shown["score"], shown["grade"])
    assert f"{shown['liquidation_probability']:.2%}" in explained["sentences"][0] or shown["grade"] == "D"


async def test_every_account_that_can_do_better_is_told_how_and_the_others_nothing(local: LocalNode) -> None:
    async with local.open() as node:
        (result,) = await certified_rounds(node, 1)
        accounts = await node.store.accounts(node.config_digest, result.round)
        async with api(local, node, load_parameters()) as session:
            answers = [await asked(session, f"/v1/accounts/{each.subject}/explanation") for each in accounts]
    assert {status for status, _ in answers} == {200}
    grades = ["A", "BBB", "BB", "B", "CCC", "C", "D"]
    for _, document in answers:
        earned = [grades.index(change["grade"]) for change in document["improvements"]]
        assert all(each < grades.index(document["grade"]) for each in earned)
        assert (document["grade"] == "A") <= (not earned)
    assert sum(bool(document["improvements"]) for _, document in answers) > 5


async def test_a_round_that_other_parameters_computed_is_not_explained_with_these(local: LocalNode) -> None:
    async with local.open() as node:
        (result,) = await certified_rounds(node, 1)
        accounts = await node.store.accounts(node.config_digest, result.round)
        shipped = load_parameters()
        margin = msgspec.structs.replace(shipped.margin, maintenance_share=0.5)
        other = msgspec.structs.replace(shipped, margin=margin)
        borrower = next(each.subject for each in accounts if b'"min_health":null' not in each.assessment)
        async with api(local, node, other) as session:
            status, problem = await asked(session, f"/v1/accounts/{borrower}/explanation")
    assert (status, problem["code"], problem["round"]) == (404, "not_kept", result.round)
