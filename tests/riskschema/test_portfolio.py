"""Portfolios: equal instruments are one, and what could not be read is never an empty silo."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskschema.instruments import Debt, Instrument, Token, UniswapV3Liquidity
from riskschema.portfolio import NoLiquidation, Portfolio, Silo, Unread
from riskschema.units import NATIVE, Address, Wad

ETH = Token(chain_id=1, address=NATIVE, symbol="ETH", decimals=18, factor="ETH")


@given(data=st.data())
def test_equal_instruments_of_different_accounts_are_one_key(values_of, data):
    instrument = data.draw(values_of(Instrument))
    twin = msgspec.structs.replace(instrument)
    assert twin is not instrument
    assert {instrument: 1}[twin] == 1


@given(data=st.data())
def test_every_instrument_says_its_kind_in_a_document(values_of, data):
    instrument = data.draw(values_of(Instrument))
    kind = type(instrument).__struct_config__.tag
    assert msgspec.to_builtins(instrument, enc_hook=str)["kind"] == kind


def test_debts_at_different_rates_are_different_instruments():
    debt = Debt(token=ETH, venue="aave_v3", market="core", annual_rate=Wad(1))
    assert debt != msgspec.structs.replace(debt, annual_rate=Wad(2))


def test_an_instrument_cannot_be_changed():
    with pytest.raises(AttributeError):
        ETH.symbol = "WETH"  # type: ignore[misc]


@pytest.mark.parametrize(("field", "value"), [("decimals", 78), ("chain_id", 0), ("symbol", "x" * 33)])
def test_a_token_beyond_the_limits_of_the_schema_is_refused(field, value):
    document = {"kind": "token", **msgspec.to_builtins(ETH, enc_hook=str), field: value}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(document, Token, dec_hook=lambda kind, written: kind(written))


@pytest.mark.parametrize("tick", [-887_273, 887_273])
def test_a_tick_outside_uniswaps_range_is_refused(tick):
    hints = {"chain_id": 1, "pool": NATIVE, "token0": ETH, "token1": ETH, "tick_upper": 0}
    liquidity = UniswapV3Liquidity(tick_lower=tick, **hints)
    with pytest.raises(msgspec.ValidationError, match="tick_lower"):
        msgspec.convert(
            msgspec.to_builtins(liquidity, enc_hook=str),
            UniswapV3Liquidity,
            dec_hook=lambda kind, written: kind(written),
        )


def test_a_portfolio_that_could_not_be_read_differs_from_an_empty_one():
    subject = Address("0x" + "ab" * 20)
    unread = Unread(chain_id=1, venue="aave_v3", market="core", account=subject, code="call_reverted", detail="paused")
    assert Portfolio(subject=subject, silos=()) != Portfolio(subject=subject, silos=(), unread=(unread,))


def test_a_silo_without_debt_has_no_health_rather_than_a_large_one():
    silo = Silo(
        id="wallet:1",
        venue="wallet",
        chain_id=1,
        market="",
        account=NATIVE,
        health=None,
        rule=NoLiquidation(),
        positions=(),
    )
    assert silo.health is None
