"""What every market source must do: each implementation subclasses `MarketSourceContract` and gives a `source`."""

from __future__ import annotations

import pytest

from adapters.chains import Chain
from adapters.markets.chainlink import ChainlinkFeeds, PriceFeed
from devnet.local_chain import Devnet
from devnet.prices import set_prices
from riskschema.codec import encode_json
from riskschema.market import MarketState
from riskschema.ports import MarketSource
from riskschema.units import Address


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


@pytest.mark.chain
class TestChainlinkFeeds(MarketSourceContract):
    @pytest.fixture
    def source(self, chain: Devnet, reader: Chain) -> MarketSource:
        assets = chain.deployment.assets
        set_prices(chain, {asset.symbol: 12_345 * 10**4 for asset in assets}, arbitrage=False)
        return ChainlinkFeeds(reader, [PriceFeed(factor=each.symbol, address=Address(each.feed)) for each in assets])
