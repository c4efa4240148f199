"""Pegs: unscaled moves of a ratio, the crises of their kind, one at a time and together."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from aggregator.exact.buffers import view64
from aggregator.scenarios.blocks import factor_blocks
from aggregator.scenarios.columns import moves_alone
from aggregator.scenarios.pegs import daily_noise
from riskschema.market import Factor, FactorQuote, Group
from riskschema.units import WAD, Wad

NAMES = ["DAI", "STETH / ETH", "USDC", "WBTC / BTC"]


@pytest.fixture(scope="module")
def pegs(lab, parameters):
    return {item.name: item for item in factor_blocks(lab.market(), NAMES, parameters)}


def lows(item) -> np.ndarray:
    """Return the lowest ratio of each block."""
    return np.exp(item.standardised[:, :, 0].min(axis=1))


def crisis(parameters, kind: str) -> np.ndarray:
    (found,) = [np.array(each.closes) for each in parameters.pegs.crises if each.kind == kind]
    return found


@pytest.mark.parametrize(
    ("name", "kind", "low"),
    [("USDC", "dollar", 0.8774), ("STETH / ETH", "staking", 0.935), ("WBTC / BTC", "wrapped_bitcoin", 0.985)],
)
def test_a_peg_without_history_is_calm_but_for_the_published_crisis_of_its_kind(
    pegs, parameters, name: str, kind: Any, low: float
) -> None:
    item = pegs[name]
    assert (item.peg, item.forecast, item.flags) == (kind, 1.0, {"history_short"})
    broken = np.flatnonzero(np.isclose(lows(item), low))
    assert broken.size == 2, "once alone, once with all of its kind"
    assert np.exp(item.standardised[broken[0], :, 2]) == pytest.approx(crisis(parameters, kind))
    calm = np.delete(item.standardised[:, -1, 2], broken)
    assert calm.std() == pytest.approx(daily_noise(1.0, kind, parameters), rel=0.2)


def at(lab, parameters, name: str, price: float | None):
    """Return the peg of staked ether, or of a dollar, at a price over parity."""
    found = lab.market()
    if price is not None:
        asset = name.partition(" / ")[0]
        others = tuple(quote for quote in found.quotes if quote.factor != asset)
        value = lab.wad(round(price * (2_000 if "ETH" in name else 1), 9))
        group: Group = "eth" if "ETH" in name else "stablecoin"
        found = msgspec.structs.replace(found, quotes=(*others, FactorQuote(factor=asset, price=value, group=group)))
    (item,) = factor_blocks(found, [name], parameters)
    return item


def typical(item) -> float:
    """Return a day's median move: crises and returns to parity are few."""
    return float(np.median(np.abs(item.standardised[:, -1, 2])))


@pytest.mark.parametrize("name", ["STETH / ETH", "USDC"])
def test_the_farther_from_parity_the_more_a_peg_moves_and_never_less_than_usual(lab, parameters, name: str) -> None:
    """Staked ether moved by .07 % a day at parity, and by .4 % at a discount of three per cent (2022)."""
    moved = [typical(at(lab, parameters, name, price)) for price in (1.0, 0.9999, 0.98, 0.92)]
    assert moved[0] == pytest.approx(moved[1], rel=0.01)
    assert moved[3] > 1.8 * moved[2] > 1.8 * moved[1]
    model = parameters.pegs.of("staking" if "ETH" in name else "dollar")
    wide = math.sqrt(model.daily_volatility**2 - model.discount_volatility**2 * math.log(0.92))
    usual = math.sqrt(model.daily_volatility**2 + model.discount_volatility**2 * model.usual_discount)
    assert moved[3] / moved[0] == pytest.approx(wide / usual, rel=0.02)


def test_where_nobody_quotes_an_asset_or_tells_its_index_its_discount_is_the_usual_one(lab, parameters) -> None:
    usual = 1.0 - parameters.pegs.staking.usual_discount
    assert at(lab, parameters, "STETH / ETH", None).level == usual
    assert at(lab, parameters, "RETH / ETH", 1.1).level == usual, "a price with an index in it tells no discount"
    assert at(lab, parameters, "STETH / ETH", 0.97).level == pytest.approx(0.97)


def test_a_premium_counts_up_to_the_largest_rise_of_the_kind(lab, parameters) -> None:
    """A token in the group of stablecoins that costs 1.17 accrues interest, or is no dollar."""
    assert at(lab, parameters, "USDC", 1.17).level == 1.0 + max(parameters.pegs.dollar.breaks)


@pytest.mark.parametrize(("asset", "price"), [("STETH", Wad(1)), ("USDC", Wad(1))])
def test_what_is_worth_next_to_nothing_is_a_finite_rise_away_from_parity(
    lab, small_parameters, asset: str, price: Wad
) -> None:
    """Of staked ether at 10^-18 dollars the discount divided by zero."""
    quotes = {quote.factor: quote for quote in lab.market().quotes}
    quotes[asset] = FactorQuote(factor=asset, price=price, group="eth" if asset == "STETH" else "stablecoin")
    market = msgspec.structs.replace(lab.market(), quotes=tuple(quotes.values()))
    (item,) = factor_blocks(market, ["STETH / ETH" if asset == "STETH" else asset], small_parameters)
    assert np.isfinite(item.standardised).all()
    assert moves_alone(item, small_parameters)[1] == pytest.approx(99.0)


def test_one_unit_of_what_has_an_index_is_not_at_parity_with_the_base(lab, small_parameters) -> None:
    """A bridged wrapper is worth one wrapper, which is worth 1.2 ether: no premium of 20 % that may close."""
    bridged = Factor(name="AXL", group="eth", stream=9_999, underlying="WSTETH", peg="staking", parity=True)
    same = msgspec.structs.replace(bridged, name="BRIDGED", stream=9_998, underlying="STETH")
    listed = msgspec.structs.replace(small_parameters, factors=(*small_parameters.factors, bridged, same))
    prices = {"STETH": 1_980, "WSTETH": 2_400, "AXL": 2_400, "BRIDGED": 1_960}
    quotes = [FactorQuote(factor=name, price=lab.wad(price), group="eth") for name, price in prices.items()]
    market = msgspec.structs.replace(lab.market(), quotes=(*lab.market().quotes, *quotes))
    indexed, through = factor_blocks(market, ["AXL / ETH", "BRIDGED / ETH"], listed)
    assert indexed.level == 1.0 - listed.pegs.staking.usual_discount
    assert through.level == pytest.approx(0.98), "one staked ether is one ether by construction"


def test_a_discount_closes_within_a_day_in_two_blocks_alone_and_with_its_kind(lab, parameters) -> None:
    item = at(lab, parameters, "STETH / ETH", 0.94)
    closed = np.flatnonzero(np.isclose(item.standardised[:, -1, 2], -math.log(0.94), rtol=1e-9))
    assert closed.size == 2
    assert (np.diff(item.standardised[closed[0], :, 2]) > 0).all(), "hour by hour"
    other = factor_blocks(lab.market(), ["CBETH / ETH"], parameters)[0]
    usual = -math.log(1.0 - parameters.pegs.staking.usual_discount)
    again = np.flatnonzero(np.isclose(other.standardised[:, -1, 2], usual, rtol=1e-9))
    assert len(set(closed.tolist()) & set(again.tolist())) == 1, "together once"


def test_an_open_discount_widens_a_pegs_own_past(lab, small_parameters) -> None:
    history = lab.history(["ETH", "BTC"], 24 * 90)
    history = msgspec.structs.replace(history, factors=("ETH", "STETH"))
    quotes = lab.market().quotes
    found = []
    for price in (2_000, 1_880):
        staked = FactorQuote(factor="STETH", price=lab.wad(price), group="eth")
        market = msgspec.structs.replace(lab.market(history), quotes=(*quotes, staked))
        found.append(factor_blocks(market, ["STETH / ETH"], small_parameters)[0].standardised)
    closed, open_ = found
    added = (open_ - closed)[-20:, -1, 2]
    model = small_parameters.pegs.staking
    assert added.std() == pytest.approx(model.discount_volatility * math.sqrt(-math.log(0.94)), rel=0.4)
    assert (open_[:, :, 0] <= open_[:, :, 2]).all()
    assert (open_[:, :, 1] >= open_[:, :, 2]).all()


def test_dollars_break_one_at_a_time_and_together(pegs) -> None:
    broken = {name: set(np.flatnonzero(lows(pegs[name]) < 0.9).tolist()) for name in ("DAI", "USDC")}
    together = broken["DAI"] & broken["USDC"]
    assert (len(together), len(broken["DAI"]), len(broken["USDC"])) == (1, 2, 2)


def test_calm_pegs_have_noise_of_their_own(pegs) -> None:
    ends = np.array([pegs[name].standardised[:, -1, 2] for name in ("DAI", "USDC")])
    calm = ends[:, (np.abs(ends) < 0.05).all(axis=0)]
    assert abs(np.corrcoef(calm)[0, 1]) < 0.1


def test_moves_of_a_pegs_own_history_are_neither_scaled_nor_lost(lab, small_parameters) -> None:
    history = lab.history(["ETH", "BTC"], 24 * 90)
    history = msgspec.structs.replace(history, factors=("ETH", "STETH"))
    (item,) = factor_blocks(lab.market(history), ["STETH / ETH"], small_parameters)
    ether, staked = view64(history.close).astype(float)
    ratio = staked / ether
    moves = np.log(ratio[-24:] / ratio[-25])
    assert item.standardised[-1, :, 2] == pytest.approx(moves, rel=1e-9)
    assert item.flags == {"history_simulated"}
    assert (item.standardised[:, :, 0] <= item.standardised[:, :, 2]).all()
    assert (item.standardised[:, :, 1] >= item.standardised[:, :, 2]).all()


def test_a_dollars_history_is_its_price(lab, small_parameters) -> None:
    history = lab.history(["USDC"], 24 * 90, annual=0.01)
    (item,) = factor_blocks(lab.market(history), ["USDC"], small_parameters)
    closes = view64(history.close)[0].astype(float)
    assert item.standardised[-1, -1, 2] == pytest.approx(math.log(closes[-1] / closes[-25]), rel=1e-9)
    assert (lows(item) < 0.88).sum() == 2


def test_calm_before_a_break_changes_nothing_of_the_break(lab, small_parameters) -> None:
    """Divided by its own volatility USDC's 10 March 2023 was 725 standard deviations."""
    worst = [
        lows(factor_blocks(lab.market(lab.history(["USDC"], 24 * 90, annual=annual)), ["USDC"], small_parameters)[0])
        for annual in (0.0005, 0.05)
    ]
    assert [low.min() for low in worst] == pytest.approx([0.8774, 0.8774])


def test_a_stated_volatility_of_a_dollar_does_not_stretch_its_peg(lab, parameters) -> None:
    quote = FactorQuote(factor="USDC", price=Wad(WAD), group="stablecoin", annual_volatility=Wad(WAD))
    market = msgspec.structs.replace(lab.market(), quotes=(quote,))
    (item,) = factor_blocks(market, ["USDC"], parameters)
    assert item.forecast == item.long_run == 1.0
