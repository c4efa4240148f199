"""What an oracle follows, from the parts of its price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.oracles.following import LARGEST_AGE, numeraire_oracle, venue_oracle
from adapters.oracles.sources import Leg, Source
from riskschema.instruments import Token, WrappedToken
from riskschema.units import WAD, ZERO_ADDRESS, Wad

NOW = 1_700_000_000
RATE, FIXED = Leg(kind="rate"), Leg(kind="fixed")


def token(symbol: str, factor: str = "") -> Token:
    return Token(chain_id=1, address=ZERO_ADDRESS, symbol=symbol, decimals=18, factor=factor or symbol)


def staked(symbol: str, underlying: str) -> WrappedToken:
    return WrappedToken(token=token(symbol), underlying=token(underlying), index=Wad(WAD))


def feed(pair: str, age: int = 0) -> Leg:
    of, _, per = pair.partition("/")
    return Leg(kind="market", of=of, per=per, updated=NOW - age)


def price(*legs: Leg, capped: bool = False) -> Source:
    return Source(legs=legs, capped=capped)


ETH_FEED, UNNAMED = feed("ETH/USD"), Leg(kind="market", updated=NOW)
WETH, USDC, USDE, WBTC = token("WETH", "ETH"), token("USDC"), token("USDe", "USDE"), token("WBTC")
CBETH, WSTETH = staked("CBETH", "ETH"), staked("WSTETH", "STETH")


@pytest.mark.parametrize(
    ("asset", "source", "kind"),
    [
        (WETH, price(ETH_FEED), "market"),
        (WBTC, price(feed("WBTC/BTC"), feed("BTC/USD")), "market"),
        (WBTC, price(feed("BTC/USD")), "exchange_rate"),  # bitcoin's price for what is wrapped
        (USDE, price(feed("USDT/USD")), "exchange_rate"),  # another dollar's
        (USDC, price(UNNAMED), "market"),
        (CBETH, price(RATE, ETH_FEED), "exchange_rate"),
        (CBETH, price(RATE, ETH_FEED, capped=True), "capped"),
        (CBETH, price(feed("CBETH/ETH"), ETH_FEED), "market"),
        (WSTETH, price(RATE, feed("STETH/USD")), "market"),  # sees what the market pays for staked ether
        (WSTETH, price(RATE, ETH_FEED), "exchange_rate"),
        (WSTETH, price(RATE), "exchange_rate"),
        (WSTETH, price(RATE, capped=True), "capped"),
        (WSTETH, price(FIXED, ETH_FEED), "exchange_rate"),  # one staked is one ether
        (USDC, price(FIXED), "fixed"),
        (USDC, price(), "fixed"),
    ],
)
def test_what_a_feed_prices_decides_whether_the_peg_is_seen(asset, source, kind) -> None:
    oracle = venue_oracle(source, asset, timestamp=NOW)
    assert oracle is not None
    assert oracle.kind == kind


def test_what_contracts_do_not_tell_stays_unknown() -> None:
    assert venue_oracle(None, USDC, timestamp=NOW) is None
    assert venue_oracle(price(RATE, UNNAMED), WSTETH, timestamp=NOW) is None
    assert numeraire_oracle(None, price(), USDC) is None
    assert numeraire_oracle(price(ETH_FEED), None, USDC) is None


def test_the_age_is_that_of_the_feed_that_the_price_ends_in() -> None:
    source = price(feed("WBTC/BTC", age=9_000), feed("BTC/USD", age=40))
    oracle = venue_oracle(source, WBTC, timestamp=NOW)
    assert oracle is not None
    assert oracle.age == 40
    assert (oracle.deviation, oracle.heartbeat) == (None, None)


@given(updated=st.integers(0, 2**256 - 1))
def test_any_time_that_a_feed_claims_makes_an_age_that_the_schema_holds(updated: int) -> None:
    oracle = venue_oracle(price(Leg(kind="market", updated=updated)), USDC, timestamp=NOW)
    assert oracle is not None
    assert 0 <= oracle.age <= min(NOW, LARGEST_AGE)


@pytest.mark.parametrize(
    ("base", "quote", "loan", "kind"),
    [
        (price(ETH_FEED), price(feed("USDC/USD")), USDC, "market"),
        (price(ETH_FEED), price(), USDC, "fixed"),  # a dollar token taken for a dollar
        (price(feed("WSTETH/ETH")), price(), WETH, "market"),  # quoted in what is lent
        (price(feed("BTC/USD")), price(feed("BTC/USD")), WBTC, "exchange_rate"),
        (price(RATE), price(), USDE, "exchange_rate"),  # a vault's rate, taken for the loan asset
        (price(), price(), USDC, "fixed"),
    ],
)
def test_what_a_market_quotes_in_is_seen_as_its_side_of_the_quotient_says(base, quote, loan, kind) -> None:
    assert numeraire_oracle(base, quote, loan) == kind
