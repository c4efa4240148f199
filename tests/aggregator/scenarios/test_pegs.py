"""Pegs: unscaled moves of a ratio, the crises of their kind, one at a time and together."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from aggregator.exact.buffers import view64
from aggregator.scenarios.blocks import factor_blocks
from riskschema.market import FactorQuote
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
    pegs, parameters, name: str, kind: str, low: float
) -> None:
    item = pegs[name]
    assert (item.peg, item.forecast, item.flags) == (kind, 1.0, {"history_short"})
    broken = np.flatnonzero(np.isclose(lows(item), low))
    assert broken.size == 2, "once alone, once with all of its kind"
    assert np.exp(item.standardised[broken[0], :, 2]) == pytest.approx(crisis(parameters, kind))
    calm = np.delete(item.standardised[:, -1, 2], broken)
    assert calm.std() == pytest.approx(parameters.pegs.of(kind).daily_volatility, rel=0.2)


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
