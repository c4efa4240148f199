"""One endpoint that lies about the real contracts: what contradicts another of its answers is never believed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from eth_hash.auto import keccak

from adapters.chains import Chain, EndpointOptions, open_chain
from adapters.discovery import discover
from adapters.protocols import morpho_blue, uniswap_v3
from adapters.protocols.aave_v3 import Deployment, adapter
from devnet.local_chain import Devnet
from node.round.confirming import read_confirmed
from riskschema.errors import TransientError
from riskschema.portfolio import VenueReading
from riskschema.ports import PinnedReader, ProtocolAdapter
from riskschema.units import Address, Hash32
from tests.adapters.hostile_endpoint import Form, HostileEndpoint, hostile_endpoints

pytestmark = pytest.mark.chain

Lie = Callable[[Form, Form], Form]


def calls_of(signature: str) -> Callable[[Form], bool]:
    selector = "0x" + keccak(signature.encode())[:4].hex()
    return lambda form: form["method"] == "eth_call" and form["params"][0].get("data", "").startswith(selector)


def word(signature: str, at: int, change: Callable[[int], int]) -> Lie:
    """Lie about one word of a function's answers."""
    asked = calls_of(signature)

    def lie(form: Form, answer: Form) -> Form:
        if not asked(form) or len(answer.get("result", "")) < 66:
            return answer
        raw = bytearray.fromhex(answer["result"][2:])
        raw[32 * at : 32 * at + 32] = (change(int.from_bytes(raw[32 * at : 32 * at + 32], "big")) % 2**256).to_bytes(
            32, "big"
        )
        return answer | {"result": "0x" + raw.hex()}

    return lie


def swapped(signature: str) -> Lie:
    """Answer each call with what the one before it would have got."""
    asked, before = calls_of(signature), [""]

    def lie(form: Form, answer: Form) -> Form:
        if not asked(form) or not answer.get("result"):
            return answer
        held, before[0] = before[0], answer["result"]
        return answer | {"result": held or answer["result"]}

    return lie


def nothing_there(form: Form, answer: Form) -> Form:
    """Answer calls of contracts as if there were none."""
    return answer | {"result": "0x"} if form["method"] == "eth_call" and "to" in form["params"][0] else answer


def everything_reverts(form: Form, answer: Form) -> Form:
    """Answer calls of contracts as if they reverted."""
    if form["method"] != "eth_call" or "to" not in form["params"][0]:
        return answer
    return {"jsonrpc": "2.0", "id": form["id"], "error": {"code": 3, "message": "execution reverted", "data": "0x"}}


LIES: dict[str, Lie] = {
    "decimals of two": word("decimals()", 0, lambda _: 2),
    "balances times ten": word("balanceOf(address)", 0, lambda balance: 10 * balance),
    "balances of another": swapped("balanceOf(address)"),
    "no debt": word("getUserConfiguration(address)", 0, lambda bits: bits & int("10" * 128, 2)),
    "neither pledge nor debt": word("getUserConfiguration(address)", 0, lambda _: 0),
    "configuration of another": swapped("getUserConfiguration(address)"),
    "another health": word(
        "getUserAccountData(address)", 5, lambda health: health * 11 // 10 if health < 2**255 else health
    ),
    "no debt in health": word("getUserAccountData(address)", 5, lambda _: 2**256 - 1),
    "figures of another": swapped("getUserAccountData(address)"),
    "a higher price": word("getAssetPrice(address)", 0, lambda price: price * 101 // 100),
    "price of another": swapped("getAssetPrice(address)"),
    "a higher threshold": word("getReserveData(address)", 0, lambda bits: bits + (100 << 16)),
    "reserve of another": swapped("getReserveData(address)"),
    "another category": word("getUserEMode(address)", 0, lambda category: 0 if category else category),
    "no contract": nothing_there,
}
UNDETECTED_ALONE: dict[str, Lie] = {"every call reverts": everything_reverts}
"""No other answer contradicts it: contracts may revert. A second endpoint does."""


@pytest.fixture
async def fleet(chain: Devnet) -> AsyncIterator[list[HostileEndpoint]]:
    async with hostile_endpoints(chain.url, 3) as running:
        yield running


@asynccontextmanager
async def through(chain: Devnet, fleet: list[HostileEndpoint], agreement: int) -> AsyncIterator[Chain]:
    endpoints = [EndpointOptions(url=each.url) for each in fleet]
    async with open_chain(
        endpoints=endpoints, chain_id=chain.deployment.chain_id, agreement=agreement, finality="latest"
    ) as opened:
        yield opened


async def read(chain: Devnet, opened: Chain, accounts: list[Address]) -> VenueReading:
    deployment = Deployment(addresses_provider=Address(chain.deployment.aave.addresses_provider))
    aave = adapter(deployment, chain_id=chain.deployment.chain_id, assets={})
    return await read_confirmed(aave, await opened.pin(await opened.head()), accounts)


@pytest.mark.parametrize("lie", LIES)
async def test_alone_it_is_refused_and_named(chain, fleet, everyone, lie: str) -> None:
    async with through(chain, fleet[:1], 1) as opened:
        honest = await read(chain, opened, everyone)
        fleet[0].lie = LIES[lie]
        with pytest.raises(TransientError, match="wrongly") as refused:
            await read(chain, opened, everyone)
    assert refused.value.code == "answers_contradict"
    assert fleet[0].url in str(refused.value)
    assert len(honest.silos) >= 15


@pytest.mark.parametrize("lie", LIES | UNDETECTED_ALONE)
async def test_before_two_honest_ones_it_is_found_out_and_the_truth_is_read(chain, fleet, everyone, lie: str) -> None:
    async with through(chain, fleet[1:2], 1) as opened:
        honest = await read(chain, opened, everyone)
    fleet[0].lie = (LIES | UNDETECTED_ALONE)[lie]
    async with through(chain, fleet, 1) as opened:
        assert await read(chain, opened, everyone) == honest
        assert [report.state.value for report in opened.endpoints()] == ["lying", "alive", "alive"]


async def test_what_the_contracts_really_say_is_a_fact_though_it_contradicts_itself(chain, fleet, everyone) -> None:
    """A token whose decimals are not those that the pool computes with: two endpoints agree on it."""
    token = chain.deployment.asset("USDC").token
    answer_two = "0x600260005260206000f3"
    async with through(chain, fleet, 2) as opened:
        honest = await read(chain, opened, everyone)
        chain.anvil.rpc.request("anvil_setCode", token, answer_two)
        chain.anvil.mine()
        changed = await read(chain, opened, everyone)
    assert len(changed.silos) == len(honest.silos)
    async with through(chain, fleet[:1], 1) as opened:
        with pytest.raises(TransientError, match="2 decimals, the pool that it has 6"):
            await read(chain, opened, everyone)


async def test_a_venue_without_code_is_a_fact_once_its_address_and_a_second_endpoint_say_so(
    chain, fleet, everyone
) -> None:
    chain.anvil.rpc.request("anvil_setCode", chain.deployment.aave.addresses_provider, "0x")
    chain.anvil.mine()
    for agreement, count in ((1, 1), (1, 3), (2, 3)):
        async with through(chain, fleet[:count], agreement) as opened:
            reading = await read(chain, opened, everyone)
        assert {missing.code for missing in reading.unread} == {"no_code"}
        assert len(reading.unread) == len(everyone)


async def test_shares_beyond_the_total_and_ownerless_nfts_are_refused(chain, fleet, everyone) -> None:
    chain_id, deployed = chain.deployment.chain_id, chain.deployment.morpho
    markets = tuple(Hash32(market.market_id) for market in deployed.markets)
    venues = [
        (
            morpho_blue.adapter(
                morpho_blue.Deployment(singleton=Address(deployed.singleton), markets=markets),
                chain_id=chain_id,
                assets={},
            ),
            word("position(bytes32,address)", 1, lambda shares: shares * 10**6),
        ),
        (
            uniswap_v3.adapter(
                uniswap_v3.Deployment(position_manager=Address(chain.deployment.uniswap.position_manager)),
                chain_id=chain_id,
                assets={},
            ),
            swapped("tokenOfOwnerByIndex(address,uint256)"),
        ),
    ]
    async with through(chain, fleet[:1], 1) as opened:
        for venue, lie in venues:
            fleet[0].lie = None
            assert (await venue.read(await opened.pin(await opened.head()), everyone)).unread == ()
            fleet[0].lie = lie
            with pytest.raises(TransientError, match="wrongly") as refused:
                await venue.read(await opened.pin(await opened.head()), everyone)
            assert refused.value.code == "answers_contradict"


@pytest.mark.parametrize("signature", ["multicall(bytes[])", "tokenOfOwnerByIndex(address,uint256)"])
async def test_nfts_swapped_between_calls_contradict_the_place_that_they_have_in_a_list(
    chain, fleet, everyone, signature: str
) -> None:
    venue = uniswap_v3.adapter(
        uniswap_v3.Deployment(position_manager=Address(chain.deployment.uniswap.position_manager)),
        chain_id=chain.deployment.chain_id,
        assets={},
    )
    async with through(chain, fleet[:1], 1) as opened:
        fleet[0].lie = swapped(signature)
        with pytest.raises(TransientError, match="and another there or for another") as refused:
            await venue.read(await opened.pin(await opened.head()), everyone)
    assert refused.value.code == "answers_contradict"
    asked = [form["params"][0]["data"][:10] for form in fleet[0].asked if "data" in str(form["params"][:1])]
    assert "0x" + keccak(b"positions(uint256)")[:4].hex() not in asked


@pytest.mark.parametrize("signature", ["position(bytes32,address)", "market(bytes32)"])
async def test_answers_of_morpho_swapped_between_calls_contradict_the_index(chain, fleet, everyone, signature) -> None:
    deployed = chain.deployment.morpho
    venue = morpho_blue.adapter(
        morpho_blue.Deployment(
            singleton=Address(deployed.singleton),
            markets=tuple(Hash32(market.market_id) for market in deployed.markets),
        ),
        chain_id=chain.deployment.chain_id,
        assets={},
    )
    async with through(chain, fleet[:1], 1) as opened:
        pinned = await opened.pin(await opened.head())
        indexed = await units_of(venue, pinned)
        assert (await venue.read(pinned, everyone, indexed)).unread == ()
        fleet[0].lie = swapped(signature)
        if signature.startswith("position"):
            with pytest.raises(TransientError, match="by the index of all holders") as refused:
                await venue.read(pinned, everyone, indexed)
            assert refused.value.code == "answers_contradict"
        else:  # whom the index names no longer adds up to the totals: the node abstains before it reads
            totals = {book.name: book.total for book in await venue.books(pinned, {}) if book.total is not None}
            assert any(sum(indexed[name].values()) != total for name, total in totals.items())


async def test_positions_of_morpho_that_are_swapped_without_an_index_are_found_by_a_second_endpoint_alone(
    chain, fleet, everyone
) -> None:
    """Nothing else that the singleton says tells whose a position is; rounds have an index."""
    deployed = chain.deployment.morpho
    venue = morpho_blue.adapter(
        morpho_blue.Deployment(
            singleton=Address(deployed.singleton),
            markets=tuple(Hash32(market.market_id) for market in deployed.markets),
        ),
        chain_id=chain.deployment.chain_id,
        assets={},
    )
    fleet[0].lie = swapped("position(bytes32,address)")
    async with through(chain, fleet[:1], 1) as alone, through(chain, fleet, 2) as three:
        believed = await venue.read(await alone.pin(await alone.head()), everyone)
        found = await venue.read(await three.pin(await three.head()), everyone)
        assert [report.state.value for report in three.endpoints()] == ["lying", "alive", "alive"]
    async with through(chain, fleet[1:2], 1) as honest:
        assert found == await venue.read(await honest.pin(await honest.head()), everyone) != believed


async def units_of(venue: ProtocolAdapter, pinned: PinnedReader) -> dict[str, dict[Address, int]]:
    """Return what all holders have, as an index of the venue would say."""
    found = await discover(venue, pinned, start_block=0)
    held: dict[str, dict[Address, int]] = {}
    for holder, units in zip(found.holders, await venue.holdings(pinned, found.known, found.holders), strict=True):
        assert units is not None
        held.setdefault(holder.book, {})[holder.account] = units
    return held
