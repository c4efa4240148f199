"""Market states that no market can be in are refused when they are made."""

from typing import Any

import pytest

from riskschema.buffers import Column
from riskschema.errors import InvalidData
from riskschema.market import Factor, FactorQuote, HourlyHistory, MarketState
from riskschema.units import Usd, Wad


def quote(factor: str = "ETH", **change: Any) -> FactorQuote:
    return FactorQuote(**{"factor": factor, "price": Wad(1), **change})


def series(factors: int = 1, hours: int = 2, dtype: Any = "int64", price: int = 5) -> Column:
    data = price.to_bytes(8 if dtype == "int64" else 4, "little") * (factors * hours)
    return Column(dtype=dtype, shape=(factors, hours), data=data)


def history(**change: Any) -> HourlyHistory:
    plain: dict[str, Any] = {
        "first_hour": 7200,
        "factors": ("ETH",),
        "close": series(),
        "high": series(),
        "low": series(),
        "simulated": True,
    }
    return HourlyHistory(**(plain | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": Wad(0)}, "price of ETH must be positive, got 0.0"),
        ({"price": Wad(-1)}, "price of ETH must be positive"),
        ({"confidence": Wad(-1)}, "confidence of ETH must not be negative"),
        ({"annual_volatility": Wad(0)}, "annual_volatility of ETH must be positive"),
        ({"annual_volatility": Wad(10**20 + 1)}, "annual_volatility of ETH must be positive and at most 100"),
        ({"hourly_volume": Usd(-1)}, "hourly_volume of ETH must not be negative"),
    ],
)
def test_a_quote_that_no_market_gives_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        quote(**change)


def test_a_quote_may_carry_its_own_volatility():
    assert quote(annual_volatility=Wad(7)).annual_volatility == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first_hour": 7201}, "multiple of 3600"),
        ({"high": series(hours=3)}, "high must be"),
        ({"low": series(factors=2)}, "low must be"),
        ({"close": series(dtype="int32")}, "close must be"),
        ({"close": Column(dtype="int64", shape=(2,), data=bytes(16))}, "close must be"),
        ({"low": series(price=0)}, "low must be positive"),
        ({"low": series(price=6)}, "low must not exceed close"),
        ({"high": series(price=4)}, "nor close high"),
        ({"factors": ("ETH", "ETH")} | dict.fromkeys(("close", "high", "low"), series(factors=2)), "two lines"),
        ({"factors": ("ETH", "BTC")}, "one line per factor"),
        ({"filled": ("BTC",)}, "filled must name factors"),
        ({"filled": ("ETH", "ETH")}, "each once"),
    ],
)
def test_a_history_whose_columns_disagree_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        history(**change)


def test_a_history_knows_its_hours():
    assert history().hours == 2


def test_two_quotes_of_one_factor_are_refused():
    with pytest.raises(ValueError, match="two quotes"):
        MarketState(as_of=0, quotes=(quote(), quote()))


def test_a_factor_is_found_or_refused_by_name():
    market = MarketState(as_of=0, quotes=(quote("ETH"), quote("BTC", price=Wad(9))))
    assert market.quote("BTC").price == 9
    with pytest.raises(InvalidData, match="no quote of factor 'DOGE'") as refusal:
        market.quote("DOGE")
    assert refusal.value.code == "factor_unknown"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peg": "staking"}, "STETH: a peg needs an underlying"),
        ({"parity": True}, "STETH: a peg needs an underlying"),
        ({"underlying": "STETH"}, "STETH: pegged to itself"),
    ],
)
def test_a_factor_pegged_to_nothing_or_to_itself_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Factor(name="STETH", stream=1, **change)
