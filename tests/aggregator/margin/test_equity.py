"""Equity at full mark is exact wherever a price times a quantity is the value."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from aggregator.exact.units import Coarseness
from aggregator.margin.equity import PlainPrices, plain_prices, plain_value, silo_equity
from aggregator.rule_terms import Cash
from aggregator.scenarios.factors import Listing
from riskschema.instruments import Claim, Token, UniswapV2Share, WrappedToken
from riskschema.units import WAD, ZERO_ADDRESS, Wad


def token(decimals: int, factor: str = "ETH") -> Token:
    return Token(chain_id=1, address=ZERO_ADDRESS, symbol="T", decimals=decimals, factor=factor)


def quoted(**prices: int) -> PlainPrices:
    agreed = {name: Wad(price) for name, price in prices.items()}
    return plain_prices(Listing(factors={}, quoted=frozenset(agreed), prices=agreed))


@given(
    quantity=st.integers(-(10**40), 10**40),
    price=st.integers(1, 10**24),
    decimals=st.integers(0, 30),
)
def test_a_token_is_worth_its_price_times_its_amount_rounded_down(quantity: int, price: int, decimals: int) -> None:
    exact = Fraction(quantity * price, 10 ** (decimals + 18))
    found = plain_value(token(decimals), quantity, quoted(ETH=price))
    assert found is not None
    assert 0 <= exact - Fraction(found, 10**8) < Fraction(1, 10**8)


@given(st.integers(-(10**40), 10**40), st.integers(1, 10**24), st.integers(1, 10**20))
def test_a_wrapped_token_is_worth_its_index_of_the_underlying_rounded_down(
    quantity: int, price: int, index: int
) -> None:
    held = WrappedToken(token=token(18, "WRAPPED"), underlying=token(18), index=Wad(index))
    exact = Fraction(quantity * price * index, 10**54)
    for item in (held, Claim(token=held, venue="aave_v3:1:main")):
        found = plain_value(item, quantity, quoted(ETH=price))
        assert found is not None
        assert 0 <= exact - Fraction(found, 10**8) < Fraction(1, 10**8)


def test_dollars_need_no_quote() -> None:
    assert plain_value(token(6, "USD"), 5_000_000, quoted()) == 5 * 10**8
    assert plain_value(Cash(factor="USD"), 7 * WAD, quoted()) == 7 * 10**8


def test_what_is_no_plain_product_comes_from_the_arrays() -> None:
    share = UniswapV2Share(
        chain_id=1, pool=ZERO_ADDRESS, token0=token(18), token1=token(6, "USDC"), liquidity_per_share=Wad(WAD)
    )
    assert plain_value(share, 1, quoted()) is None
    assert silo_equity([(share, 1)], [3 * 2**53], Coarseness(0), quoted()) == 3 * 10**8
    assert silo_equity([(share, 1)], [3 * 2**53], Coarseness(60), quoted()) == 3 * 10**8 * 2**60
