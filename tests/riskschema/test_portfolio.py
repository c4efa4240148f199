"""Portfolios: equal instruments are one, and what could not be read is never an empty silo."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskschema.codec import decode_json, encode_json, from_builtins
from riskschema.errors import InvalidData
from riskschema.instruments import (
    Claim,
    Debt,
    Instrument,
    Option,
    Token,
    UniswapV2Share,
    UniswapV3Liquidity,
    WrappedToken,
)
from riskschema.portfolio import (
    CollateralTerm,
    MarginFraction,
    NoLiquidation,
    Portfolio,
    Position,
    Silo,
    Unread,
    VenueOracle,
    WeightedCollateral,
)
from riskschema.units import WAD, ZERO_ADDRESS, Address, Amount, Wad

ETH = Token(chain_id=1, address=ZERO_ADDRESS, symbol="ETH", decimals=18, factor="ETH")


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
    debt = Debt(token=ETH, venue="aave_v3:1:main", market="core", annual_rate=Wad(1))
    assert debt != msgspec.structs.replace(debt, annual_rate=Wad(2))


def test_an_instrument_cannot_be_changed():
    with pytest.raises(AttributeError):
        ETH.symbol = "WETH"  # type: ignore[misc]


@pytest.mark.parametrize(("field", "value"), [("decimals", 78), ("chain_id", 0), ("symbol", "x" * 33)])
def test_a_token_beyond_the_limits_of_the_schema_is_refused(field, value):
    document = {"kind": "token", **msgspec.to_builtins(ETH, enc_hook=str), field: value}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(document, Token, dec_hook=lambda kind, written: kind(written))


@pytest.mark.parametrize(("lower", "upper"), [(-887_273, 0), (0, 887_273), (5, 5), (6, 5)])
def test_a_tick_range_outside_uniswaps_or_without_width_is_refused(lower, upper):
    token = msgspec.to_builtins(ETH, enc_hook=str)
    document = {"kind": "uniswap_v3_liquidity", "chain_id": 1, "pool": ZERO_ADDRESS, "token0": token, "token1": token}
    with pytest.raises(InvalidData, match="tick_"):
        from_builtins(document | {"tick_lower": lower, "tick_upper": upper}, UniswapV3Liquidity, what="range")


DEBT = Debt(token=ETH, venue="aave_v3:1:main", annual_rate=Wad(1))
CLAIM = Claim(token=ETH, venue="aave_v3:1:main", annual_rate=Wad(1))
TERM = CollateralTerm(weight=Wad(1), price=Wad(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Position(instrument=DEBT, quantity=Amount(1)), "quantity of a debt"),
        (lambda: Position(instrument=CLAIM, quantity=Amount(-1)), "quantity of a claim"),
        (lambda: msgspec.structs.replace(DEBT, annual_rate=Wad(-1)), "annual_rate must not be negative"),
        (lambda: msgspec.structs.replace(CLAIM, annual_rate=Wad(-1)), "annual_rate must not be negative"),
        (lambda: WrappedToken(token=ETH, underlying=ETH, index=Wad(-1)), "index must not be negative"),
        (lambda: option(Wad(0)), "strike must be positive"),
        (lambda: pool_share(Wad(-1)), "liquidity_per_share must not be negative"),
        (lambda: CollateralTerm(weight=Wad(80 * WAD), price=Wad(1)), "weight must be between 0 and 1"),
        (lambda: CollateralTerm(weight=Wad(1), price=Wad(-1)), "price must not be negative"),
        (lambda: msgspec.structs.replace(TERM, liquidation_bonus=Wad(500 * WAD)), "liquidation_bonus must be"),
        (lambda: weighted(close_factor=Wad(50 * WAD)), "close_factor must be between 0 and 1"),
        (lambda: MarginFraction(numeraire="USD", fractions=(Wad(-1),), entry_value=Wad(0)), r"fractions\[0\]"),
        (lambda: VenueOracle(deviation=Wad(5 * WAD)), "deviation must be between 0 and 1"),
        (lambda: silo(health=Wad(-1)), "health must not be negative"),
        (lambda: silo(rule=weighted(terms=(TERM,))), "rule.terms has 1 entries for 0 positions"),
        (lambda: silo(rule=margin(Wad(1))), "rule.fractions has 1 entries for 0 positions"),
        (lambda: Portfolio(subject=ZERO_ADDRESS, silos=(silo(), silo())), "two have the id 'wallet'"),
    ],
)
def test_what_no_venue_can_say_is_refused_by_the_name_of_the_field(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_claims_and_debts_hold_wrapped_tokens_as_they_hold_tokens():
    wrapper = msgspec.structs.replace(ETH, symbol="wstETH", factor="WSTETH")
    wrapped = WrappedToken(token=wrapper, underlying=ETH, index=Wad(WAD), peg="staking")
    lent = Claim(token=wrapped, venue="aave_v3:1:main")
    assert (lent.token.factor, lent.token.symbol, lent.token.decimals) == ("WSTETH", "wstETH", ETH.decimals)
    assert (lent.token.address, lent.token.chain_id) == (ETH.address, ETH.chain_id)
    assert decode_json(encode_json(lent), Claim, what="claim") == lent


def option(strike: Wad) -> Option:
    names: dict[str, Any] = {
        "venue": "lyra:1:main",
        "market": "ETH",
        "underlying": "ETH",
        "quote": "USD",
        "right": "call",
    }
    return Option(**names, strike=strike, expiry=0)


def pool_share(liquidity: Wad) -> UniswapV2Share:
    return UniswapV2Share(chain_id=1, pool=ZERO_ADDRESS, token0=ETH, token1=ETH, liquidity_per_share=liquidity)


def weighted(**change: Any) -> WeightedCollateral:
    return WeightedCollateral(**{"numeraire": "USD", "terms": (), **change})


def margin(*fractions: Wad) -> MarginFraction:
    return MarginFraction(numeraire="USD", fractions=fractions, entry_value=Wad(0))


def silo(**change: Any) -> Silo:
    plain: dict[str, Any] = {
        "id": "wallet",
        "venue": "wallet:1:main",
        "chain_id": 1,
        "account": ZERO_ADDRESS,
        "health": None,
        "positions": (),
    }
    return Silo(**({"rule": NoLiquidation()} | plain | change))


def test_a_portfolio_that_could_not_be_read_differs_from_an_empty_one():
    subject = Address("0x" + "ab" * 20)
    unread = Unread(
        chain_id=1, venue="aave_v3:1:main", market="core", account=subject, code="call_reverted", detail="paused"
    )
    assert Portfolio(subject=subject, silos=()) != Portfolio(subject=subject, silos=(), unread=(unread,))
