"""What every market source must do. The tests of a source (`test_SOURCE.py`) subclass it and give a `source`."""

from __future__ import annotations

from riskschema.codec import encode_json
from riskschema.market import MarketState
from riskschema.ports import MarketSource
from riskschema.reasons import REASONS


class MarketSourceContract:
    """Tests of `riskschema.ports.MarketSource`."""

    async def test_every_factor_is_quoted_or_unquoted_and_never_both(self, source: MarketSource) -> None:
        reading = await source.read()
        named = [quote.factor for quote in reading.quotes] + [item.factor for item in reading.unquoted]
        assert reading.quotes
        assert sorted(named) == sorted(source.factors)

    async def test_every_quote_says_how_sure_it_is_and_where_it_comes_from(self, source: MarketSource) -> None:
        for quote in (await source.read()).quotes:
            assert 0 < quote.confidence < quote.price
            assert quote.sources
            assert all(quote.sources)

    async def test_what_is_unquoted_has_a_reason(self, source: MarketSource) -> None:
        for item in (await source.read()).unquoted:
            assert item.code in REASONS
            assert item.factor in item.detail

    async def test_asking_twice_at_one_moment_gives_the_same(self, source: MarketSource) -> None:
        assert await source.read() == await source.read()

    async def test_a_source_has_a_name(self, source: MarketSource) -> None:
        assert source.name
        assert source.name == source.name.strip()

    async def test_quotes_travel_as_json(self, source: MarketSource) -> None:
        assert encode_json(MarketState(as_of=0, quotes=(await source.read()).quotes))
