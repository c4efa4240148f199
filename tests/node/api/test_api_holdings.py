"""What a wallet shows: positions, prices, venues by name, lists of accounts; and what to do where there is nothing."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.api.holdings import decimal, restriction_documents
from riskschema.portfolio import Restriction
from riskschema.units import Address
from tests.node.api.conftest import WETH, World, agreed_market, portfolio

ROUND = 7


async def fetch(world: World, path: str) -> tuple[int, Any]:
    async with world.client() as client, client.get(path) as response:
        return response.status, await response.json()


@pytest.fixture
async def with_market(world: World, alice: Address) -> World:
    world.market = agreed_market(int(world.clock.now()))
    await world.certify(ROUND, alice)
    return world


async def test_what_a_venue_forbids_for_now_is_told_with_its_token_and_its_end(
    with_market: World, alice: Address
) -> None:
    _, body = await fetch(with_market, f"/v1/accounts/{alice}")
    assert body["restrictions"] == []
    pause = Restriction(kind="paused", asset=WETH.address)
    wait = Restriction(kind="no_liquidation", until=2_000_000_000)
    held = portfolio(alice)
    loan = msgspec.structs.replace(held.silos[0], restrictions=(pause, wait))
    told = restriction_documents(msgspec.structs.replace(held, silos=(loan, held.silos[1])))
    assert [(each.silo, each.kind, each.symbol, each.until) for each in told] == [
        ("loan", "paused", "WETH", None),
        ("loan", "no_liquidation", "", 2_000_000_000),
    ]
    assert told[0].meaning == "can be neither repaid, added nor withdrawn until the pause ends"


async def test_positions_are_told_in_tokens_in_dollars_and_as_the_contracts_count(
    with_market: World, alice: Address
) -> None:
    _, body = await fetch(with_market, f"/v1/accounts/{alice}")
    lent, owed, coin, liquidity = body["positions"]
    assert lent == {
        "silo": "loan",
        "venue": "aave_v3:31337:main",
        "kind": "claim",
        "side": "held",
        "symbol": "WETH",
        "factors": ["ETH"],
        "quantity": "1.5",
        "base_units": "1500000000000000000",
        "value": "4500.37500000",
        "oracle": None,
    }
    assert (owed["kind"], owed["side"], owed["quantity"]) == ("debt", "owed", "-2000.5")
    assert (owed["base_units"], owed["value"]) == ("-2000500000", "-1998.49950000")
    assert (coin["silo"], coin["value"]) == ("range", "1500.12500000")
    assert (liquidity["symbol"], liquidity["quantity"], liquidity["factors"]) == ("WETH/USDC", None, ["ETH", "USDC"])
    assert Decimal(coin["value"]) + Decimal(liquidity["value"]) == 500_000, "together what the silo is worth"


async def test_prices_are_those_of_the_factors_held_with_their_age_and_source(
    with_market: World, alice: Address
) -> None:
    _, body = await fetch(with_market, f"/v1/accounts/{alice}")
    ether, dollar = body["prices"]
    assert (ether["factor"], ether["price"], ether["age"], ether["stale"]) == (
        "ETH",
        "3000.250000000000000000",
        0,
        False,
    )
    assert (dollar["factor"], dollar["age"], dollar["stale"]) == ("USDC", 900, True)
    assert ether["confidence"] == "3.000250000000000000"
    assert ether["sources"] == ["chainlink"]


async def test_without_an_agreed_price_a_position_has_no_value_and_not_zero(world: World, alice: Address) -> None:
    world.market = agreed_market(int(world.clock.now()), factors=("ETH",))
    await world.certify(ROUND, alice)
    _, body = await fetch(world, f"/v1/accounts/{alice}")
    assert [position["value"] for position in body["positions"]] == ["4500.37500000", None, "1500.12500000", None]


async def test_a_round_of_an_earlier_version_is_served_without_positions_and_says_so(
    world: World, alice: Address
) -> None:
    await world.certify(ROUND, alice)
    status, body = await fetch(world, f"/v1/accounts/{alice}")
    assert (status, body["positions"], body["prices"]) == (200, None, None)
    status, body = await fetch(world, f"/v1/rounds/{ROUND}/market")
    assert (status, body["code"], body["round"]) == (404, "not_kept", ROUND)


async def test_coverage_tells_the_venues_by_name(with_market: World, alice: Address) -> None:
    _, body = await fetch(with_market, f"/v1/accounts/{alice}")
    _, venues = await fetch(with_market, "/v1/venues")
    bits = int(body["leaf"]["venue_coverage"])
    names = [rule.venue for rule in with_market.committee.venues]
    assert [(each["venue"], each["bit"], each["read"]) for each in body["coverage"]] == [
        (name, bit, bool(bits & 1 << bit)) for bit, name in enumerate(names)
    ]
    assert [each["venue"] for each in venues["venues"]] == names
    assert venues["config_digest"] == with_market.config_digest


async def test_the_market_of_a_round_has_every_factor(with_market: World) -> None:
    _, body = await fetch(with_market, f"/v1/rounds/{ROUND}/market")
    assert [each["factor"] for each in body["prices"]] == ["BTC", "ETH", "USDC"]
    assert body == (await fetch(with_market, "/v1/rounds/latest/market"))[1]


async def test_pages_lead_through_all_accounts_of_one_round_whatever_is_certified_meanwhile(world: World) -> None:
    subjects = [Address("0x" + f"{number:02x}" * 20) for number in (3, 1, 9, 7, 5)]
    await world.certify(ROUND, *subjects)
    found, path = [], "/v1/accounts?limit=2"
    while path:
        status, page = await fetch(world, path)
        assert status == 200
        assert page["round"] == ROUND
        assert page["total"] == 5
        assert len(page["accounts"]) <= 2
        found += [each["subject"] for each in page["accounts"]]
        path = page["next"]
        if len(found) == 2:
            await world.certify(ROUND + 1, subjects[0])
    assert found == sorted(subjects)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=1e2", "limit=9999", "limit=", "after=x", "after="])
async def test_pages_are_bounded_and_cursors_are_addresses(world: World, alice: Address, query: str) -> None:
    await world.certify(ROUND, alice)
    status, body = await fetch(world, f"/v1/accounts?{query}")
    assert (status, body["field"]) == (400, "query." + query.split("=", maxsplit=1)[0])


async def test_a_wallet_that_no_venue_knows_is_told_where_accounts_come_from_and_what_to_do(
    world: World, alice: Address, bob: Address
) -> None:
    await world.certify(ROUND, alice)
    status, body = await fetch(world, f"/v1/accounts/{bob}")
    assert status == 404
    assert all(rule.venue in body["detail"] for rule in world.committee.venues)
    assert "/v1/venues" in body["advice"]
    assert "plimsoll positions" in body["advice"]


@given(st.integers(-(10**40), 10**40), st.integers(0, 30))
def test_a_quantity_in_tokens_is_exact(quantity: int, decimals: int) -> None:
    assert Fraction(decimal(quantity, decimals)) * 10**decimals == quantity
    assert not decimal(quantity, decimals).endswith(".")
