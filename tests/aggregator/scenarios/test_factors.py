"""What each factor is: from the factor list and the agreed quotes, whoever is assessed."""

from __future__ import annotations

import msgspec
import pytest

from aggregator.scenarios.factors import Legs, listing
from riskschema.instruments import Token, WrappedToken
from riskschema.market import Factor, FactorQuote
from riskschema.units import WAD, ZERO_ADDRESS, Wad


def token(factor: str) -> Token:
    return Token(chain_id=1, address=ZERO_ADDRESS, symbol=factor, decimals=18, factor=factor)


def wrapper(factor: str, underlying: str, **change) -> WrappedToken:
    return WrappedToken(token=token(factor), underlying=token(underlying), index=Wad(WAD * 12 // 10), **change)


@pytest.mark.parametrize(
    ("asset", "legs", "kind"),
    [
        ("ETH", Legs("ETH", None), None),
        ("USD", Legs("USD", None), None),
        ("USDC", Legs("USD", "USDC"), "dollar"),
        ("STETH", Legs("ETH", "STETH / ETH"), "staking"),
        ("WSTETH", Legs("ETH", "STETH / ETH"), "staking"),
        ("SDAI", Legs("USD", "DAI"), "dollar"),
        ("WBTC", Legs("BTC", "WBTC / BTC"), "wrapped_bitcoin"),
        ("NOBODY KNOWS", Legs("NOBODY KNOWS", None), None),
        (token("WBTC"), Legs("BTC", "WBTC / BTC"), "wrapped_bitcoin"),
        (wrapper("WSTETH", "ETH"), Legs("ETH", "STETH / ETH"), "staking"),
        (wrapper("WSTETH", "STETH"), Legs("ETH", "STETH / ETH"), "staking"),
        (wrapper("VAULT OF STETH", "STETH"), Legs("ETH", "STETH / ETH"), "staking"),
        (wrapper("NEW LST", "ETH"), Legs("ETH", "NEW LST / ETH"), "staking"),
        (wrapper("NEW BTC", "BTC"), Legs("BTC", "NEW BTC / BTC"), "wrapped_bitcoin"),
        (wrapper("NEW BTC", "BTC", peg="staking"), Legs("BTC", "NEW BTC.staking / BTC"), "staking"),
        (wrapper("NEW USD", "USD"), Legs("USD", "NEW USD / USD"), "dollar"),
        (wrapper("VAULT OF DAI", "DAI"), Legs("USD", "DAI"), "dollar"),
        (wrapper("ETH", "ETH"), Legs("ETH", "wrapped.staking / ETH"), "staking"),
    ],
)
def test_an_asset_is_its_base_and_its_peg(lab, asset, legs: Legs, kind: str | None) -> None:
    known = lab.known()
    assert known.legs(asset) == legs
    if kind is not None:
        assert known.peg_kind(legs.peg) == kind


def test_what_nobody_quotes_is_worth_its_index_or_its_parity_or_nothing(lab) -> None:
    known = lab.known()
    assert known.worth("WBTC") == (40_000 * WAD, WAD), "one WBTC is one BTC by construction"
    assert known.worth(wrapper("WSTETH", "STETH")) == (2_000 * WAD, WAD * 12 // 10)
    assert known.worth("WSTETH") is None, "an index that nobody read is not one"
    assert known.unquoted("WSTETH") == "WSTETH"
    assert known.worth("USDT") is None, "a dollar that nobody quotes is not a dollar"
    assert known.unquoted(wrapper("NEW LST", "SOL")) == "SOL"


def test_an_agreed_price_of_its_own_comes_first(lab, parameters) -> None:
    market = lab.market()
    quotes = [
        FactorQuote(factor="WSTETH", price=Wad(2_390 * WAD), group="eth"),
        FactorQuote(factor="WBTC", price=Wad(39_900 * WAD), group="btc"),
    ]
    known = listing(msgspec.structs.replace(market, quotes=(*market.quotes, *quotes)), parameters)
    assert known.worth(wrapper("WSTETH", "STETH")) == (2_390 * WAD, WAD)
    assert known.price("WBTC / BTC") == WAD * 9975 // 10_000
    assert known.legs(wrapper("WSTETH", "STETH")) == Legs("ETH", "STETH / ETH")


def test_the_list_decides_the_group_and_a_stablecoin_nobody_listed_is_a_dollar(lab, parameters) -> None:
    market = lab.market()
    quotes = [
        FactorQuote(factor="SOL", price=Wad(WAD), group="other"),
        FactorQuote(factor="XUSD", price=Wad(WAD), group="stablecoin"),
    ]
    known = listing(msgspec.structs.replace(market, quotes=(*market.quotes, *quotes)), parameters)
    assert known.factors["SOL"].group == "large"
    assert known.legs("XUSD") == Legs("USD", "XUSD")
    assert known.peg_kind("XUSD") == "dollar"


def test_no_two_factors_share_a_stream(lab, parameters) -> None:
    names = [f"eip155:1/erc20:0x{number:040x}" for number in range(1, 251)]
    market = lab.market()
    quotes = [FactorQuote(factor=name, price=Wad(WAD)) for name in names]
    known = listing(msgspec.structs.replace(market, quotes=(*market.quotes, *quotes)), parameters)
    streams = {known.stream(name) for name in known.factors}
    assert len(streams) == len(parameters.factors) + 250
    assert known.stream("STETH / ETH") == known.stream("STETH")


def test_what_follows_something_without_a_price_stands_for_itself(lab, parameters) -> None:
    extra = Factor(name="JITOSOL", group="large", stream=10_000, underlying="SOL", peg="staking")
    chosen = msgspec.structs.replace(parameters, factors=(*parameters.factors, extra))
    assert listing(lab.market(), chosen).legs("JITOSOL") == Legs("JITOSOL", None)
