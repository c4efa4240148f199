"""Unit values of every instrument kind against independent oracles."""

from __future__ import annotations

import csv
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import QuantLib
from hypothesis import given
from hypothesis import strategies as st

from aggregator.exact.kernels import black76_each
from aggregator.rule_terms import Cash
from aggregator.scenarios.blocks import factor_blocks
from aggregator.scenarios.columns import SETS, Columns, build_columns
from aggregator.scenarios.factors import listing
from aggregator.valuation.pricing import Pricer, decimals, needed_factors, sqrt_ratio, unit_values
from riskschema.instruments import (
    Claim,
    Debt,
    Future,
    Option,
    Perpetual,
    UniswapV2Share,
    UniswapV3Liquidity,
    WrappedToken,
)

HAUG = Path(__file__).parents[2] / "data" / "haug" / "european_options.csv"
AS_OF = 1_700_000_000
DAY = 86_400


def columns(**ratios: list[float]) -> Columns:
    count = len(next(iter(ratios.values())))
    return Columns(
        ratios={name: np.array(line) for name, line in ratios.items()},
        volatilities=dict.fromkeys(ratios, 0.6),
        hours=np.array([0.0] + [24.0] * (count - 1)),
        volatility_shock=np.zeros(count),
        skew=np.zeros(count),
        far=np.zeros(count),
        closes={},
        along_paths=False,
    )


@pytest.fixture
def pricer(lab, parameters) -> Pricer:
    moves = columns(
        ETH=[1.0, 0.5, 1.5],
        USDC=[1.0, 1.0, 0.9],
        BTC=[1.0, 1.1, 0.8],
        **{"STETH / ETH": [1.0, 0.9, 1.0], "WBTC / BTC": [1.0, 1.0, 0.99]},
    )
    return Pricer(known=lab.known(), columns=moves, as_of=AS_OF, grid=parameters.grid)


def black76(forward: float, strike: float, deviation: float, sign: float) -> tuple[float, float]:
    result = np.empty((2, 1))
    black76_each(np.array([forward]), strike, np.array([deviation]), sign, result)
    return float(result[0, 0]), float(result[1, 0])


@given(st.floats(1, 1e5), st.floats(0.3, 3.0), st.floats(0.01, 2.0), st.sampled_from([1.0, -1.0]))
def test_black_76_equals_quantlib(forward: float, moneyness: float, deviation: float, sign: float) -> None:
    strike = forward * moneyness
    kind = QuantLib.Option.Call if sign > 0 else QuantLib.Option.Put
    value, delta = black76(forward, strike, deviation, sign)
    assert value == pytest.approx(
        QuantLib.blackFormula(kind, strike, forward, deviation), rel=1e-9, abs=1e-12 * forward
    )
    payoff = QuantLib.PlainVanillaPayoff(kind, strike)
    assert delta == pytest.approx(QuantLib.BlackCalculator(payoff, forward, deviation).deltaForward(), abs=1e-12)


def test_black_76_equals_haugs_tables() -> None:
    rows = list(csv.DictReader(HAUG.read_text().splitlines()))
    assert len(rows) == 43
    for row in rows:
        spot, strike = float(row["spot"]), float(row["strike"])
        carried, rate, years = float(row["dividend_yield"]), float(row["rate"]), float(row["years"])
        deviation = float(row["volatility"]) * math.sqrt(years)
        forward = spot * math.exp((rate - carried) * years)
        value, _ = black76(forward, strike, deviation, 1.0 if row["right"] == "call" else -1.0)
        assert math.exp(-rate * years) * value == pytest.approx(float(row["value"]), abs=float(row["tolerance"]))


@given(st.floats(0.5, 2.0), st.floats(0.01, 1.5))
def test_put_call_parity_holds(moneyness: float, deviation: float) -> None:
    call, _ = black76(100.0, 100.0 * moneyness, deviation, 1.0)
    put, _ = black76(100.0, 100.0 * moneyness, deviation, -1.0)
    assert call - put == pytest.approx(100.0 * (1 - moneyness), abs=1e-11)


def test_a_token_is_worth_its_price(lab, pricer: Pricer) -> None:
    found = unit_values(lab.token("USDC"), pricer)
    assert found.values.tolist() == [1e-6, 1e-6, 0.9e-6]
    assert found.exposures == (("USDC", 1e-6),)


def test_claims_and_debts_grow_with_their_rate(lab, pricer: Pricer) -> None:
    for kind in (Claim, Debt):
        item = kind(token=lab.token("USDC"), venue="v:1:main", market="m", annual_rate=lab.wad("0.365"))
        assert unit_values(item, pricer).values[1] == pytest.approx(1e-6 * 1.001, rel=1e-12)
        assert decimals(item) == 6


def test_settlement_cash_in_dollars_never_moves(pricer: Pricer) -> None:
    found = unit_values(Cash(factor="USD"), pricer)
    assert found.values.tolist() == [1e-18] * 3
    assert found.exposures == ()


@pytest.mark.parametrize("kind", ["perpetual", "future"])
@pytest.mark.parametrize("payoff", ["linear", "inverse"])
def test_contracts_follow_the_mark_or_owe_quote_units(kind: str, payoff: str, lab, pricer: Pricer) -> None:
    fields: dict[str, Any] = {"venue": "v:1:main", "market": "m", "base": "ETH", "quote": "USDC", "payoff": payoff}
    item = (
        Perpetual(**fields, annual_funding_rate=lab.wad("0.365"))
        if kind == "perpetual"
        else Future(**fields, expiry=AS_OF + 90 * DAY)
    )
    paid = 0.001 if kind == "perpetual" else 0.0
    found = unit_values(item, pricer)
    if payoff == "linear":
        assert found.values == pytest.approx(np.array([2000, 1000 * (1 - paid), 3000 * (1 - paid)]) * 1e-18)
        assert needed_factors(item, lab.known()) == ("ETH",)
    else:
        assert found.values == pytest.approx(np.array([-1, -(1 + paid), -0.9 * (1 + paid)]) * 1e-18)
        assert needed_factors(item, lab.known()) == ("USDC",)


@given(st.integers(-887_272, 887_272))
def test_a_tick_is_its_exact_price_to_the_last_bit_or_two(tick: int) -> None:
    exact = math.exp(tick * math.log1p(1e-4) / 2)
    assert sqrt_ratio(tick) == pytest.approx(exact, rel=1e-14)


def test_small_ticks_equal_exact_fractions() -> None:
    for tick in (-4, -2, 0, 2, 4, 200):
        exact = Fraction(10001, 10000) ** (tick // 2)
        assert sqrt_ratio(tick) == exact.numerator / exact.denominator


@given(st.integers(-250_000, -150_000), st.integers(10, 60_000), st.floats(0.02, 50.0))
def test_concentrated_liquidity_is_the_sum_of_its_amounts(lab, parameters, lower, width, ratio) -> None:
    moves = columns(ETH=[1.0, ratio], USDC=[1.0, 1.0])
    pricer = Pricer(known=lab.known(), columns=moves, as_of=AS_OF, grid=parameters.grid)
    item = UniswapV3Liquidity(
        chain_id=1,
        pool=lab.address(9),
        token0=lab.token("ETH"),
        token1=lab.token("USDC"),
        tick_lower=lower,
        tick_upper=lower + width,
    )
    price = 2000.0 * ratio / 1e18
    low, high = 1.0001 ** (lower / 2), 1.0001 ** ((lower + width) / 2)
    root = min(max(math.sqrt(price / 1e-6), low), high)
    wanted = (1 / root - 1 / high) * price + (root - low) * 1e-6
    assert unit_values(item, pricer).values[1] == pytest.approx(wanted, rel=1e-8)


def test_a_range_held_in_one_token_follows_only_that(lab, pricer: Pricer) -> None:
    item = UniswapV3Liquidity(
        chain_id=1,
        pool=lab.address(9),
        token0=lab.token("ETH"),
        token1=lab.token("USDC"),
        tick_lower=-150_000,
        tick_upper=-140_000,
    )
    exposures = dict(unit_values(item, pricer).exposures)
    assert exposures["USDC"] == 0.0
    assert exposures["ETH"] > 0.0


def test_a_constant_product_share_is_twice_the_geometric_mean(lab, pricer: Pricer) -> None:
    item = UniswapV2Share(
        chain_id=1,
        pool=lab.address(9),
        token0=lab.token("ETH"),
        token1=lab.token("USDC"),
        liquidity_per_share=lab.wad("2"),
    )
    found = unit_values(item, pricer)
    assert found.values[0] == pytest.approx(4 * math.sqrt(2000e-18 * 1e-6))
    assert found.values[1] == pytest.approx(found.values[0] * math.sqrt(0.5))
    assert found.exposures[0][1] == found.exposures[1][1] == found.values[0] / 2


def wrapped(lab, factor: str, **change: Any) -> WrappedToken:
    token = msgspec.structs.replace(lab.token("ETH"), symbol="wstETH", factor=factor)
    return WrappedToken(token=token, underlying=lab.token("ETH"), index=lab.wad("1.15"), **change)


def test_a_wrapped_token_is_worth_its_index_of_the_underlying_times_its_peg(lab, pricer: Pricer) -> None:
    found = unit_values(wrapped(lab, "WSTETH"), pricer)
    assert found.values == pytest.approx(np.array([2300.0, 1150.0 * 0.9, 3450.0]) * 1e-18)
    assert dict(found.exposures) == {"ETH": pytest.approx(2300e-18), "STETH / ETH": pytest.approx(2300e-18)}


def test_claims_debts_and_pools_hold_wrapped_tokens(lab, pricer: Pricer) -> None:
    held = wrapped(lab, "WSTETH")
    worth = unit_values(held, pricer).values
    for kind in (Claim, Debt):
        assert unit_values(kind(token=held, venue="aave_v3:1:main"), pricer).values == pytest.approx(worth)
    pool = UniswapV2Share(
        chain_id=1, pool=lab.address(9), token0=held, token1=lab.token("ETH"), liquidity_per_share=lab.wad(1)
    )
    exposures = dict(unit_values(pool, pricer).exposures)
    assert exposures["STETH / ETH"] == pytest.approx(exposures["ETH"] / 2)


def test_a_wrapped_token_with_its_own_quote_starts_there_and_moves_alike(lab, parameters, pricer: Pricer) -> None:
    market = lab.market()
    quoted = msgspec.structs.replace(market.quote("ETH"), factor="WSTETH", price=lab.wad(2290))
    known = listing(msgspec.structs.replace(market, quotes=(*market.quotes, quoted)), parameters)
    found = unit_values(wrapped(lab, "WSTETH"), msgspec.structs.replace(pricer, known=known))
    assert found.values == pytest.approx(np.array([1.0, 0.45, 1.5]) * 2290e-18)


@pytest.mark.parametrize(
    ("sees", "moves"),
    [("market", [0.45, 1.5]), ("exchange_rate", [0.5, 1.5]), ("capped", [0.5, 1.5]), ("fixed", [1.0, 1.0])],
)
def test_an_oracle_sees_the_peg_the_underlying_or_nothing(lab, pricer: Pricer, sees: Any, moves: list[float]) -> None:
    blind = msgspec.structs.replace(pricer, sees=sees)
    assert unit_values(wrapped(lab, "WSTETH"), blind).values * 1e18 == pytest.approx(2300 * np.array([1.0, *moves]))


@pytest.fixture
def real(lab, small_parameters) -> tuple[Pricer, Pricer]:
    blocks = factor_blocks(lab.market(), ["ETH", "USDC"], small_parameters)
    built = build_columns(blocks, ["ETH", "USDC"], small_parameters)
    market, paths = (
        Pricer(known=lab.known(), columns=item, as_of=AS_OF, grid=small_parameters.grid)
        for item in (built.market, built.paths)
    )
    return market, paths


def option(lab, right: Any, strike: float, seconds: int, quote: str = "USD") -> Option:
    return Option(
        venue="v:1:main",
        market="m",
        underlying="ETH",
        quote=quote,
        right=right,
        strike=lab.wad(strike),
        expiry=AS_OF + seconds,
    )


def test_an_option_is_black_76_at_the_forecast(lab, real) -> None:
    market, _ = real
    found = unit_values(option(lab, "call", 2100, 30 * DAY), market)
    deviation = market.columns.volatilities["ETH"] * math.sqrt(30 / 365)
    assert found.values[0] * 1e18 == pytest.approx(black76(2000.0, 2100.0, deviation, 1.0)[0], rel=1e-12)
    assert found.reference == 2000e-18


def test_volatility_columns_move_options_and_nothing_else(lab, real) -> None:
    market, _ = real
    up = int(np.flatnonzero(market.columns.volatility_shock > 0)[0])
    down = int(np.flatnonzero(market.columns.volatility_shock < 0)[0])
    same = up - 1
    values = unit_values(option(lab, "put", 1900, 30 * DAY, quote="USDC"), market).values
    assert values[up] > values[same] > values[down]
    token = unit_values(lab.token("ETH"), market).values
    assert token[up] == token[same] == token[down]


def test_an_option_that_expires_inside_the_horizon_settles_at_its_hour(lab, real) -> None:
    market, paths = real
    item = option(lab, "call", 2000, 5 * 3600)
    ratios = paths.columns.ratios["ETH"][1:].reshape(-1, 24, 3)
    settled = np.maximum(2000 * ratios[:, 4, 2] - 2000, 0.0)
    along = unit_values(item, paths).values[1:].reshape(-1, 24, 3) * 1e18
    assert along[:, 4:, :] == pytest.approx(np.broadcast_to(settled[:, None, None], along[:, 4:, :].shape), rel=1e-9)
    assert (along[:, 0, 2] > np.maximum(2000 * ratios[:, 0, 2] - 2000, 0.0) - 1e-9).all()
    blocks = settled.size
    ends = unit_values(item, market).values[-SETS * blocks :][:blocks] * 1e18
    assert ends == pytest.approx(settled, rel=1e-9)


def test_an_option_of_exactly_24_hours_settles_at_the_last_close(lab, real) -> None:
    """Its last hour's low and high are no prices it can be exercised at."""
    market, paths = real
    item = option(lab, "call", 2000, DAY)
    closes = paths.columns.ratios["ETH"][1:].reshape(-1, 24, 3)[:, 23, 2]
    settled = np.maximum(2000 * closes - 2000, 0.0)
    along = unit_values(item, paths).values[1:].reshape(-1, 24, 3) * 1e18
    assert along[:, 23, :] == pytest.approx(np.repeat(settled[:, None], 3, axis=1), rel=1e-9)
    assert unit_values(item, market).values[-SETS * settled.size :][: settled.size] * 1e18 == pytest.approx(settled)


def test_an_option_of_a_second_more_than_24_hours_is_still_alive_in_its_last_column(lab, real) -> None:
    _, paths = real
    item = option(lab, "call", 2000, DAY + 1)
    ratios = paths.columns.ratios["ETH"][1:].reshape(-1, 24, 3)
    along = unit_values(item, paths).values[1:].reshape(-1, 24, 3) * 1e18
    intrinsic = np.maximum(2000 * ratios[:, 23, :2] - 2000, 0.0)
    assert along[:, 23, :2] == pytest.approx(intrinsic, abs=0.05 * 2000)
    assert (np.abs(along[:, 23, 0] - along[:, 23, 1]) > 0).any()


@pytest.mark.parametrize(("seconds", "hour"), [(1, 1), (3600, 1), (3601, 2), (DAY - 1, 24), (DAY, 24)])
def test_an_option_settles_at_the_close_of_the_hour_in_which_it_expires(lab, real, seconds: int, hour: int) -> None:
    _, paths = real
    along = unit_values(option(lab, "put", 2000, seconds), paths).values[1:].reshape(-1, 24, 3) * 1e18
    closes = paths.columns.ratios["ETH"][1:].reshape(-1, 24, 3)[:, hour - 1, 2]
    settled = np.maximum(2000 - 2000 * closes, 0.0)
    assert along[:, hour - 1 :, :] == pytest.approx(
        np.broadcast_to(settled[:, None, None], along[:, hour - 1 :, :].shape)
    )


def test_an_expired_option_is_worth_its_intrinsic_value_in_every_column(lab, real) -> None:
    market, _ = real
    values = unit_values(option(lab, "put", 2500, -DAY), market).values
    assert values * 1e18 == pytest.approx(np.full(values.size, 500.0))


def test_a_far_tail_counts_for_options_by_the_range_over_the_move(lab, real) -> None:
    """A put at 1,200 of ether at 2,000, which falls to 680: what it gains there, times R over .66."""
    market, _ = real
    seconds, strike = 400 * DAY, 1_200
    values = unit_values(option(lab, "put", strike, seconds), market).values * 1e18
    tail = int(np.flatnonzero(market.columns.far == -0.66)[0])
    reach = 1 - market.columns.ratios["ETH"][tail]
    assert 0 < reach < 0.33
    raised = market.columns.volatilities["ETH"] * (1 + 0.5 * (30 / 399) ** 0.13)
    there, _ = black76(680.0, strike, raised * math.sqrt(399 / 365), -1.0)
    assert values[tail] - values[0] == pytest.approx((there - values[0]) * reach / 0.66, rel=1e-3)


def test_what_is_linear_in_a_price_has_no_tail_beyond_its_range(lab, real) -> None:
    market, _ = real
    values = unit_values(lab.token("ETH"), market).values
    tails = np.flatnonzero(market.columns.far)
    assert len(tails) == 8
    assert np.abs(values[tails] / values[0] - 1) == pytest.approx(
        np.full(8, 1 - market.columns.ratios["ETH"][int(np.flatnonzero(market.columns.far == -0.66)[0])])
    )


def test_a_covered_call_has_no_tail(lab, real) -> None:
    """The call's loss counts as the coin's gain does, however far the tail lies."""
    market, _ = real
    tails = np.flatnonzero(market.columns.far > 0)
    coin = unit_values(lab.token("ETH"), market).values * 1e18
    call = unit_values(option(lab, "call", 2_000, 30 * DAY), market).values * 1e18
    book = coin - call
    assert (book[tails] >= book[0] - 1e-9 * book[0]).all()


def test_an_unknown_instrument_is_refused(pricer: Pricer) -> None:
    with pytest.raises(NotImplementedError, match="int"):
        unit_values(5, pricer)  # type: ignore[arg-type]
