"""What every market source must do: each implementation subclasses `MarketSourceContract` and gives a `source`."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.chains import Chain
from adapters.markets.chainlink import ChainlinkFeeds, PriceFeed
from adapters.markets.recorded import RecordedMarket, load_market
from adapters.markets.simulator import PriceWalk, SimulatedFactor
from devnet.local_chain import Devnet
from devnet.prices import set_prices
from riskschema.codec import encode_json
from riskschema.errors import InvalidData
from riskschema.market import FactorQuote, MarketState
from riskschema.ports import MarketSource
from riskschema.units import WAD, Address, Wad

ETH = FactorQuote(factor="ETH", price=Wad(2_000 * WAD), confidence=Wad(WAD), sources=("somewhere",))
BTC = FactorQuote(factor="BTC", price=Wad(60_000 * WAD), confidence=Wad(WAD), sources=("somewhere",))


class MarketSourceContract:
    """Tests of `riskschema.ports.MarketSource`."""

    async def test_every_factor_is_quoted_once_at_a_positive_price(self, source: MarketSource) -> None:
        quotes = await source.quotes()
        assert quotes
        assert len({quote.factor for quote in quotes}) == len(quotes)
        assert all(quote.price > 0 for quote in quotes)

    async def test_every_quote_says_how_sure_it_is_and_where_it_comes_from(self, source: MarketSource) -> None:
        for quote in await source.quotes():
            assert 0 < quote.confidence < quote.price
            assert quote.sources
            assert all(quote.sources)

    async def test_asking_twice_at_one_moment_gives_the_same(self, source: MarketSource) -> None:
        assert await source.quotes() == await source.quotes()

    async def test_a_source_has_a_name(self, source: MarketSource) -> None:
        assert source.name
        assert source.name == source.name.strip()

    async def test_quotes_travel_as_json(self, source: MarketSource) -> None:
        assert encode_json(MarketState(as_of=0, quotes=await source.quotes()))


class TestPriceWalk(MarketSourceContract):
    @pytest.fixture
    def source(self) -> MarketSource:
        factors = [SimulatedFactor(factor="ETH", price=ETH.price), SimulatedFactor(factor="BTC", price=BTC.price)]
        walk = PriceWalk(factors, seed=1, step_seconds=60)
        walk.step()
        return walk


class TestRecordedMarket(MarketSourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> MarketSource:
        path = tmp_path / "market.json"
        path.write_bytes(encode_json(MarketState(as_of=1, quotes=(ETH, BTC))))
        return RecordedMarket(load_market(path), path.name)

    async def test_it_quotes_what_was_recorded(self, source: MarketSource) -> None:
        assert await source.quotes() == (ETH, BTC)
        assert source.name == "recorded:market.json"


@pytest.mark.chain
class TestChainlinkFeeds(MarketSourceContract):
    @pytest.fixture
    def source(self, chain: Devnet, reader: Chain) -> MarketSource:
        assets = chain.deployment.assets
        set_prices(chain, {asset.symbol: 12_345 * 10**4 for asset in assets}, arbitrage=False)
        return ChainlinkFeeds(reader, [PriceFeed(factor=each.symbol, address=Address(each.feed)) for each in assets])


def test_a_missing_market_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"nowhere\.json: No such file") as refusal:
        load_market(tmp_path / "nowhere.json")
    assert refusal.value.code == "file_unreadable"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b'{"as_of": 1, "quotes": [{"factor": "ETH", "price": "-1"}]}', r"market\.json: .*ETH must be positive"),
        (b'{"as_of": 1, "quotes": [{"factor": "ETH", "price": NaN}]}', r"market\.json: .*quotes\[0\]\.price"),
        (b'{"as_of": 1, "quotes": [{"factor": "ETH"}]}', r"market\.json: .*price"),
    ],
)
def test_a_wrong_market_file_is_refused_with_file_and_field(tmp_path: Path, document: bytes, message: str) -> None:
    path = tmp_path / "market.json"
    path.write_bytes(document)
    with pytest.raises(InvalidData, match=message):
        load_market(path)
