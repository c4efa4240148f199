"""Chainlink-style feeds: real ones on the local chain, and answers that no honest feed gives."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from adapters.chains import Chain
from adapters.markets.chainlink import CLOCK_SKEW_SECONDS, PriceFeed, Settings, quote_of, source
from devnet.deployment import DeployedAsset
from devnet.local_chain import Devnet
from devnet.prices import set_prices
from riskschema.codec import from_builtins
from riskschema.errors import InvalidData
from riskschema.portfolio import BlockReference
from riskschema.ports import CallReverted, CallSuccess, MarketSource
from riskschema.units import WAD, Address, Hash32, Wad
from tests.adapters.markets.source_contract import MarketSourceContract

NOW = 1_700_000_000
BLOCK = BlockReference(chain_id=1, number=18_000_000, hash=Hash32("0x" + "ab" * 32), timestamp=NOW)
FEED = PriceFeed(factor="ETH", address=Address("0x" + "5f" * 20), heartbeat=3_600, deviation=Wad(WAD // 200))


def answer(value: int = 2_000 * 10**8, *, updated_at: int = NOW, round_id: int = 7) -> CallSuccess:
    types = ["uint80", "int256", "uint256", "uint256", "uint80"]
    return CallSuccess(encode(types, [round_id, value, updated_at, updated_at, round_id]))


def decimals(count: int = 8) -> CallSuccess:
    return CallSuccess(count.to_bytes(32, "big"))


def test_an_answer_becomes_a_price_with_its_confidence_and_source() -> None:
    quote = quote_of(FEED, answer(2_000_12345678), decimals(8), BLOCK)
    assert quote.factor == "ETH"
    assert quote.price == 2_000_12345678 * 10**10
    assert quote.confidence == 2_000_12345678 * 10**10 // 200
    assert quote.sources == (f"chainlink:1:{FEED.address}",)


@given(value=st.integers(1, 10**12), places=st.integers(0, 36))
def test_the_price_is_the_answer_whatever_the_decimals(value: int, places: int) -> None:
    exact = value * 10 ** (36 - places)
    if exact < 10**18:
        with pytest.raises(InvalidData, match="is no price"):
            quote_of(FEED, answer(value), decimals(places), BLOCK)
    else:
        assert quote_of(FEED, answer(value), decimals(places), BLOCK).price == exact // 10**18


def test_an_answer_of_exactly_the_heartbeat_is_still_accepted() -> None:
    assert quote_of(FEED, answer(updated_at=NOW - 3_600), decimals(), BLOCK).price == 2_000 * WAD


def test_the_age_is_measured_on_the_chain_with_little_patience_for_fast_clocks() -> None:
    assert quote_of(FEED, answer(updated_at=NOW + CLOCK_SKEW_SECONDS), decimals(), BLOCK).price == 2_000 * WAD


@pytest.mark.parametrize(
    ("round_data", "places", "message"),
    [
        (answer(0), decimals(), "the answer 0 with 8 decimals is no price"),
        (answer(-1), decimals(), "the answer -1 with 8 decimals is no price"),
        (answer(2**255 - 1), decimals(), "is no price"),
        (answer(1), decimals(36), "is no price"),
        (answer(updated_at=0), decimals(), "not complete"),
        (answer(updated_at=NOW - 3_601), decimals(), "3601 s old, the heartbeat is 3600 s"),
        (answer(updated_at=NOW + 61), decimals(), "updated in the future"),
        (answer(updated_at=2**256 - 1), decimals(), "updated in the future"),
        (answer(), decimals(37), "37 decimals"),
        (answer(), decimals(2**256 - 1), "nonsense"),
        (answer(), CallSuccess(b""), "no such contract"),
        (CallSuccess(b""), decimals(), "no such contract"),
        (CallSuccess(answer().data[:-1]), decimals(), "nonsense"),
        (CallSuccess(b"\xff" * 160), decimals(), "nonsense"),
        (CallSuccess(answer().data + b"\x00" * 300_000), decimals(), "too much"),
        (CallReverted(data=b"", message="execution reverted: x"), decimals(), "reverts"),
    ],
)
def test_an_answer_that_cannot_be_right_is_refused_by_name(round_data: Any, places: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message) as refusal:
        quote_of(FEED, round_data, places, BLOCK)
    assert refusal.value.code == "market_unavailable"
    assert refusal.value.message.startswith(f"feed of ETH at {FEED.address} on chain 1, block 18000000")


def feeds(reader: Chain, *wanted: PriceFeed) -> MarketSource:
    return source(Settings(chain_id=reader.chain_id, feeds=wanted), chains={reader.chain_id: reader})


def feed_of(asset: DeployedAsset, *, heartbeat: int = 3_600) -> PriceFeed:
    return PriceFeed(factor=asset.symbol, address=Address(asset.feed), heartbeat=heartbeat)


@pytest.mark.chain
class TestChainlinkFeeds(MarketSourceContract):
    """One of the feeds is no contract at all."""

    @pytest.fixture
    def source(self, chain: Devnet, reader: Chain) -> MarketSource:
        assets = chain.deployment.assets
        set_prices(chain, {asset.symbol: 12_345 * 10**4 for asset in assets}, arbitrage=False)
        nowhere = PriceFeed(factor="NOTHING", address=Address("0x" + "77" * 20))
        return feeds(reader, *(feed_of(asset) for asset in assets), nowhere)


@pytest.mark.chain
async def test_quotes_follow_the_feeds_of_the_chain(chain: Devnet, reader: Chain) -> None:
    assets = chain.deployment.assets
    wanted = {asset.symbol: (number + 1) * 10**8 + 12 for number, asset in enumerate(assets)}
    set_prices(chain, wanted, arbitrage=False)
    reading = await feeds(reader, *map(feed_of, assets)).read()
    assert {quote.factor: quote.price for quote in reading.quotes} == {
        name: price * 10**10 for name, price in wanted.items()
    }
    assert reading.unquoted == ()


@pytest.mark.chain
async def test_a_bad_feed_is_named_and_costs_the_others_nothing(chain: Devnet, reader: Chain) -> None:
    good, other, *_ = chain.deployment.assets
    set_prices(chain, {good.symbol: 10**8}, arbitrage=False)
    token = PriceFeed(factor="TOKEN", address=Address(other.token))
    nothing = PriceFeed(factor="NOTHING", address=Address("0x" + "77" * 20))
    reading = await feeds(reader, token, feed_of(good), nothing).read()
    assert [quote.factor for quote in reading.quotes] == [good.symbol]
    assert [(item.factor, item.code) for item in reading.unquoted] == [
        ("TOKEN", "market_unavailable"),
        ("NOTHING", "market_unavailable"),
    ]
    assert "feed of TOKEN" in reading.unquoted[0].detail
    assert "no such contract" in reading.unquoted[1].detail


@pytest.mark.chain
async def test_a_feed_that_nobody_updates_is_unquoted_once_its_heartbeat_has_passed(
    chain: Devnet, reader: Chain
) -> None:
    asset, other, *_ = chain.deployment.assets
    set_prices(chain, {asset.symbol: 10**8, other.symbol: 10**8}, arbitrage=False)
    patient = feed_of(other, heartbeat=2 * 86_400)  # slack beyond a day
    both = feeds(reader, feed_of(asset, heartbeat=600), patient)
    chain.anvil.advance_time(590)
    assert [quote.price for quote in (await both.read()).quotes] == [WAD, WAD]
    chain.anvil.advance_time(20)
    reading = await both.read()
    assert [quote.factor for quote in reading.quotes] == [other.symbol]
    assert "610 s old" in reading.unquoted[0].detail
    chain.anvil.advance_time(86_400 + 3_600)
    assert [quote.factor for quote in (await both.read()).quotes] == [other.symbol]


ADDRESS = str(FEED.address)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"chain_id": 1, "feeds": []}, "feeds"),
        ({"chain_id": 0, "feeds": [{"factor": "ETH", "address": ADDRESS}]}, "chain_id"),
        ({"chain_id": 1, "feeds": [{"factor": "ETH", "address": ADDRESS}] * 2}, "two feeds of ETH on chain 1"),
        ({"chain_id": 1, "feeds": [{"factor": "ETH", "address": "0x12"}]}, r"feeds\[0\].address"),
        ({"chain_id": 1, "feeds": [{"factor": "ETH", "address": ADDRESS, "heartbeat": 0}]}, r"feeds\[0\].heartbeat"),
        ({"chain_id": 1, "feeds": [{"factor": "ETH", "address": ADDRESS, "heartbeat": 2_592_001}]}, "heartbeat"),
        ({"chain_id": 1, "feeds": [{"factor": "ETH", "address": ADDRESS, "deviation": "1"}]}, "deviation of ETH"),
        ({"chain_id": 1, "feeds": [{"factor": "ETH", "address": ADDRESS, "deviation": "-0.1"}]}, "deviation of ETH"),
        ({"chain_id": 1, "feeds": [{"factor": "ETH", "address": ADDRESS, "heartbeet": 1}]}, "heartbeet"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_by_its_field(table: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidData, match=named):
        from_builtins(table, Settings, what="market")


def test_a_chain_that_is_not_configured_is_named() -> None:
    with pytest.raises(InvalidData, match=r"no \[\[chains\]\] table has chain_id 5"):
        source(Settings(chain_id=5, feeds=(FEED,)), chains={})
