"""The whole engine in plain Python gives the same bytes as the compiled one."""

from __future__ import annotations

from aggregator.assess import assess
from aggregator.margin import unified
from aggregator.valuation.arrays import arrays_digest_chunks
from riskschema.codec import encode_json
from riskschema.instruments import Option, UniswapV3Liquidity
from riskschema.portfolio import Position
from riskschema.units import Amount


def test_compiled_and_plain_engines_agree_bit_for_bit(lab, small_parameters, plain_python) -> None:
    pool = UniswapV3Liquidity(
        chain_id=1,
        pool=lab.address(50),
        token0=lab.token("ETH"),
        token1=lab.token("USDC"),
        tick_lower=-202_000,
        tick_upper=-199_000,
    )
    option = Option(
        venue="o:1:main",
        market="m",
        underlying="ETH",
        quote="USD",
        right="put",
        strike=lab.wad(2100),
        expiry=1_700_000_000 + 86_400 * 9,
    )
    extra = [
        Position(instrument=pool, quantity=Amount(10**15)),
        Position(instrument=option, quantity=Amount(-(10**18))),
    ]
    portfolios = [
        lab.portfolio(lab.lending({"ETH": 10, "USDC": -15_500}), lab.wallet({"BTC": 0.05}, extra=extra)),
        lab.portfolio(
            lab.lending({"BTC": 1, "ETH": -14}),
            lab.lending({"USDC": 9000, "ETH": -2}, protocol="morpho_blue"),
            lab.lending({"BTC": 1, "CRV": -25_000}, protocol="aave_v3", chain_id=10),
            number=2,
        ),
        lab.portfolio(lab.lending({"ETH": 1, "DAI": -1590}), number=3),
        lab.portfolio(lab.wallet({"USDC": 100}), number=4),
    ]

    market = lab.market(lab.history(["ETH", "BTC"], 24 * 60))
    compiled = assess(portfolios, market, small_parameters)
    plain_python()
    assert not hasattr(unified.margins, "py_func")
    plain = assess(portfolios, market, small_parameters)
    assert encode_json(plain.assessments) == encode_json(compiled.assessments)
    assert arrays_digest_chunks(plain.arrays) == arrays_digest_chunks(compiled.arrays)
