"""Rounds that an earlier version kept: all that is proved is served, what has another form is null and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from attest.reports.attestation import check_attestation
from node.api.documents import read_attestation
from riskschema.assessment import Assessment
from riskschema.codec import decode_json
from riskschema.errors import InvalidData
from riskschema.units import Address
from tests.node.api.conftest import World, agreed_market

ROUND = 7
EARLIER = (Path(__file__).parent / "earlier_assessment.json").read_bytes()
"""As a node kept it before assessments had an interval, base and add-ons apart, and distances."""


async def fetch(world: World, path: str) -> tuple[int, Any]:
    async with world.client() as client, client.get(path) as response:
        return response.status, await response.json()


async def keep(world: World, assessment: bytes, *subjects: Address) -> None:
    """Let the round's accounts have been kept with another assessment."""
    kept = world.store.put_report

    async def put(report: Any, accounts: Any, *rest: Any) -> None:
        await kept(report, [msgspec.structs.replace(each, assessment=assessment) for each in accounts], *rest)

    world.store.put_report = put  # type: ignore[method-assign, assignment]
    world.market = agreed_market(int(world.clock.now()))
    await world.certify(ROUND, *subjects)


@pytest.fixture
async def earlier(world: World, alice: Address, bob: Address) -> World:
    await keep(world, EARLIER, alice, bob)
    return world


def test_the_earlier_form_is_not_the_one_of_today() -> None:
    with pytest.raises(InvalidData, match="missing required field"):
        decode_json(EARLIER, Assessment, what="assessment")


async def test_an_account_is_served_with_its_proof_positions_and_prices(earlier: World, alice: Address) -> None:
    status, body = await fetch(earlier, f"/v1/accounts/{alice}")
    assert (status, body["assessment"]) == (200, None)
    assert body["leaf"]["score"] == "250"
    assert [each["side"] for each in body["positions"]] == ["held", "owed", "held", "held"]
    assert [each["value"] is None for each in body["positions"]] == [False, False, False, True]
    attestation = read_attestation(json.dumps(body).encode(), what="answer")
    assert check_attestation(attestation).score == 250
    assert await fetch(earlier, f"/v1/accounts/{alice}/attestation") == (200, body["attestation"])


async def test_a_page_of_accounts_has_every_line_and_no_grade(earlier: World, alice: Address, bob: Address) -> None:
    status, body = await fetch(earlier, "/v1/accounts")
    assert status == 200
    assert [each["subject"] for each in body["accounts"]] == sorted([alice, bob])
    for each in body["accounts"]:
        assert (each["score"], each["grade"], each["min_health"]) == (250, None, None)
        assert (each["equity"], each["initial_margin"]) == ("-0.00000007", "0.00000011")


async def test_pages_lead_from_rounds_of_one_version_to_those_of_the_other(
    earlier: World, worlds: type[World], alice: Address
) -> None:
    after = worlds(earlier.store)
    del earlier.store.put_report
    await after.certify(ROUND + 1, alice)
    _, now = await fetch(after, "/v1/accounts")
    _, before = await fetch(after, f"/v1/accounts?round={ROUND}")
    assert [page["accounts"][0]["grade"] for page in (now, before)] == ["BBB", None]


async def test_it_is_not_explained_and_that_is_said(earlier: World, alice: Address) -> None:
    status, body = await fetch(earlier, f"/v1/accounts/{alice}/explanation")
    assert (status, body["code"], body["round"]) == (404, "not_kept", ROUND)


async def test_what_is_damaged_is_no_earlier_version(world: World, alice: Address) -> None:
    await keep(world, EARLIER[:-40], alice)
    for path in (f"/v1/accounts/{alice}", "/v1/accounts"):
        status, body = await fetch(world, path)
        assert (status, body["code"]) == (503, "invalid_document")
