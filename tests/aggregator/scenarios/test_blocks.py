"""Blocks: enumerated from history, or a stated stand-in that is flagged."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from aggregator.exact.buffers import view64
from aggregator.scenarios.blocks import block_count, factor_blocks
from aggregator.scenarios.reference_blocks import reference_blocks, splitmix64
from aggregator.scenarios.volatility import forecast_series, hourly, with_implied


def test_splitmix64_gives_its_published_first_words() -> None:
    # Vigna's splitmix64.c seeded with 1234567
    assert [int(word) for word in splitmix64(1234567, 3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_reference_blocks_have_unit_hourly_variance_and_fat_tails() -> None:
    blocks = reference_blocks("X", blocks=1100, correlation=0.85, parts_per_hour=6)
    ends = blocks[:, -1, 2] / math.sqrt(24)
    assert np.mean(ends) == pytest.approx(0.0, abs=0.1)
    assert np.mean(ends**2) == pytest.approx(1.0, abs=0.25)
    assert np.mean(ends**4) / np.mean(ends**2) ** 2 > 4


def test_reference_blocks_of_two_assets_move_together_but_not_as_one() -> None:
    first = reference_blocks("X", blocks=1100, correlation=0.85, parts_per_hour=6)[:, -1, 2]
    second = reference_blocks("Y", blocks=1100, correlation=0.85, parts_per_hour=6)[:, -1, 2]
    assert 0.75 < np.corrcoef(first, second)[0, 1] < 0.95
    assert reference_blocks("X", blocks=1100, correlation=0.85, parts_per_hour=6)[:, -1, 2].tobytes() == first.tobytes()


def test_lows_and_highs_enclose_closes() -> None:
    blocks = reference_blocks("X", blocks=200, correlation=0.5, parts_per_hour=6)
    assert (blocks[:, :, 0] <= blocks[:, :, 2]).all()
    assert (blocks[:, :, 1] >= blocks[:, :, 2]).all()
    assert (blocks[:, 0, 0] <= 0).all()


def test_without_history_every_factor_uses_the_reference_set_and_says_so(lab, parameters) -> None:
    found = factor_blocks(lab.market(), ["BTC", "ETH", "USDC"], parameters)
    assert [item.standardised.shape for item in found] == [(1100, 24, 3)] * 3
    assert all(item.flags == {"history_short"} for item in found)
    assert found[1].forecast == pytest.approx(hourly(1.0))


def test_the_window_of_history_fills_every_block_and_the_warm_up_before_the_first(lab, small_parameters) -> None:
    window = small_parameters.history_window_hours
    assert window == 100 * 24 + 168 + 1
    assert block_count(lab.market(lab.history(["BTC"], window)), small_parameters) == 100
    assert block_count(lab.market(lab.history(["BTC"], window - 1)), small_parameters) == 99


def test_a_stated_volatility_scales_forecast_and_floor(lab, parameters) -> None:
    market = lab.market()
    quote = msgspec.structs.replace(market.quote("ETH"), annual_volatility=lab.wad("0.4"))
    (found,) = factor_blocks(msgspec.structs.replace(market, quotes=(quote,)), ["ETH"], parameters)
    assert found.forecast == found.long_run == pytest.approx(hourly(0.4))


def test_blocks_of_a_history_are_its_own_days_divided_by_the_volatility_known_before(lab, small_parameters) -> None:
    history = lab.history(["ETH"], 24 * 90)
    market = lab.market(history)
    (found,) = factor_blocks(market, ["ETH"], small_parameters)
    closes = view64(history.close)[0].astype(float)
    returns = np.diff(np.log(closes))
    known, _, _ = forecast_series(returns, group="eth", model=small_parameters.volatility)
    assert found.standardised.shape[0] == block_count(market, small_parameters) == 82
    last = np.log(closes[-24:] / closes[-25]) / known[-24]
    assert found.standardised[-1, :, 2] == pytest.approx(last, rel=1e-9)
    before = np.log(closes[-48:-24] / closes[-49]) / known[-48]
    assert found.standardised[-2, :, 2] == pytest.approx(before, rel=1e-9)
    assert found.flags == {"history_simulated"}


def test_the_blocks_change_only_when_an_hour_is_appended(lab, small_parameters) -> None:
    long, short = lab.history(["ETH"], 24 * 90), lab.history(["ETH"], 24 * 90)
    first = factor_blocks(lab.market(long), ["ETH"], small_parameters)[0]
    later = msgspec.structs.replace(lab.market(short), as_of=1_700_000_500)
    assert factor_blocks(later, ["ETH"], small_parameters)[0].standardised.tobytes() == first.standardised.tobytes()


def test_a_short_history_is_not_used(lab, parameters) -> None:
    (found,) = factor_blocks(lab.market(lab.history(["ETH"], 5000)), ["ETH"], parameters)
    assert found.flags == {"history_short", "history_simulated"}
    assert found.standardised.shape[0] == 1100


def test_history_of_a_factor_nobody_quotes_is_ignored(lab, small_parameters) -> None:
    history = lab.history(["ETH", "BTC"], 24 * 90)
    quotes = tuple(quote for quote in lab.market().quotes if quote.factor != "BTC")
    market = msgspec.structs.replace(lab.market(history), quotes=quotes)
    (found,) = factor_blocks(market, ["ETH"], small_parameters)
    assert "history_short" not in found.flags


def test_an_implied_volatility_joins_the_forecast_of_a_factor_with_history(lab, small_parameters) -> None:
    market = lab.market(lab.history(["ETH"], 24 * 90))
    (alone,) = factor_blocks(market, ["ETH"], small_parameters)
    quote = msgspec.structs.replace(market.quote("ETH"), annual_volatility=lab.wad("3.0"))
    (joined,) = factor_blocks(msgspec.structs.replace(market, quotes=(quote,)), ["ETH"], small_parameters)
    model = small_parameters.volatility
    assert joined.forecast == with_implied(alone.forecast, hourly(3.0), group="eth", model=model)
    assert alone.forecast < joined.forecast < hourly(3.0)
    assert joined.long_run == alone.long_run
    assert joined.standardised.tobytes() == alone.standardised.tobytes()
