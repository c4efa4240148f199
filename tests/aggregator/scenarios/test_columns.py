"""The scenario columns."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from aggregator.scenarios.blocks import factor_blocks
from aggregator.scenarios.columns import SETS, alone_columns, build_columns, scenario_range


@pytest.fixture(scope="module")
def built(lab, parameters):
    return build_columns(factor_blocks(lab.market(), sorted(lab.assets), parameters), lab.assets, parameters)


def test_there_are_about_fifty_grid_columns_with_names_of_their_own(built) -> None:
    assert 35 <= len(built.grid) <= 70
    assert len(set(built.grid)) == len(built.grid)
    assert built.stress[0] == "march_2020"
    assert built.market.count == 1 + len(built.grid) + len(built.stress) + SETS * built.blocks
    assert built.paths.count == 1 + 72 * built.blocks


def test_nothing_moves_in_the_base_column(built) -> None:
    for item in (built.market, built.paths):
        assert all(line[0] == 1.0 for line in item.ratios.values())
        assert item.hours[0] == 0.0


def test_joint_moves_span_each_factors_own_range(lab, parameters, built) -> None:
    place = 1 + built.grid.index("joint -1.00 R, volatility up")
    for item in factor_blocks(lab.market(), ["CRV", "ETH"], parameters):
        reach = min(scenario_range(item, parameters.grid), 0.99)
        assert built.market.ratios[item.name][place] == pytest.approx(1 - reach)
    assert built.market.ratios["USDC"][place] == 1.0, "a peg breaks, it does not drift"


def test_a_factor_moved_alone_leaves_the_others(lab, parameters) -> None:
    factors = factor_blocks(lab.market(), ["BTC", "ETH"], parameters)
    found = alone_columns(factors, parameters)
    reach = scenario_range(factors[1], parameters.grid)
    assert found.ratios["ETH"].tolist() == [1.0, 1.0, 1.0, 1.0 - reach, 1.0 + reach]
    assert found.ratios["BTC"][3:].tolist() == [1.0, 1.0]


def test_columns_of_a_factor_do_not_depend_on_which_others_are_asked_for(lab, parameters) -> None:
    factors = factor_blocks(lab.market(), sorted(lab.assets), parameters)
    whole = build_columns(factors, lab.assets, parameters)
    single = build_columns(factors, ["ETH"], parameters)
    assert list(single.market.ratios) == ["ETH"]
    assert single.market.ratios["ETH"].tobytes() == whole.market.ratios["ETH"].tobytes()


def test_a_tail_is_a_fall_by_the_range_and_farther_for_options(built) -> None:
    market, tail, joint = (
        built.market,
        1 + built.grid.index("tail -1 R, options -66%"),
        1 + built.grid.index("joint -1.00 R, volatility up"),
    )
    for name in ("BTC", "ETH", "CRV"):
        assert market.ratios[name][tail] == market.ratios[name][joint] > 0.34
        assert market.beyond(name)[tail] == pytest.approx(0.34)
        assert market.beyond(name)[joint] == market.ratios[name][joint]
        assert (built.paths.beyond(name) == built.paths.ratios[name]).all()


def test_a_range_beyond_a_tail_is_the_tail(lab, parameters) -> None:
    market = lab.market()
    wild = msgspec.structs.replace(market.quote("ETH"), annual_volatility=lab.wad(3))
    blocks = factor_blocks(msgspec.structs.replace(market, quotes=(wild,)), ["ETH"], parameters)
    built = build_columns(blocks, ["ETH"], parameters)
    reach = scenario_range(blocks[0], parameters.grid)
    for move, name in ((-reach, "tail -1 R, options -33%"), (0.5, "tail +1 R, options +50%")):
        place = 1 + built.grid.index(name)
        assert built.market.beyond("ETH")[place] == pytest.approx(1 + move)
        assert built.market.ratios["ETH"][place] == pytest.approx(1 + math.copysign(reach, move))


def test_pegs_neither_join_tails_nor_miss_the_breaks_of_their_kind(lab, parameters) -> None:
    names = ["ETH", "STETH / ETH", "USDC", "WBTC / BTC"]
    built = build_columns(factor_blocks(lab.market(), names, parameters), names, parameters)
    ratios = built.market.ratios
    tail = 1 + built.grid.index("tail -1 R, options -66%")
    assert all(ratios[name][tail] == 1.0 for name in names[1:])
    for kind, name in (("staking", "STETH / ETH"), ("wrapped_bitcoin", "WBTC / BTC"), ("dollar", "USDC")):
        for move in parameters.pegs.of(kind).breaks:
            place = 1 + built.grid.index(f"{kind} pegs {move:+.0%}")
            assert {other: ratios[other][place] for other in names} == dict.fromkeys(names, 1.0) | {name: 1 + move}


def test_a_peg_alone_breaks_as_far_as_its_kind_may(lab, parameters) -> None:
    factors = factor_blocks(lab.market(), ["DAI", "USDC"], parameters)
    found = alone_columns(factors, parameters).ratios
    worst, best = min(parameters.pegs.dollar.breaks), max(parameters.pegs.dollar.breaks)
    assert found["DAI"].tolist() == [1.0, 1 + worst, 1 + best, 1.0, 1.0]
    assert found["USDC"].tolist() == [1.0, 1.0, 1.0, 1 + worst, 1 + best]


def test_crises_are_replayed_unscaled_by_group(built, parameters) -> None:
    first = 1 + len(built.grid)
    for index, crisis in enumerate(parameters.stress.crises):
        assert built.market.ratios["BTC"][first + index] == pytest.approx(1 + crisis.btc)
        assert built.market.ratios["CRV"][first + index] == pytest.approx(1 + crisis.other)


def test_every_price_stays_positive(built) -> None:
    for item in (built.market, built.paths):
        assert all((line > 0).all() for line in item.ratios.values())


def test_path_ends_are_the_fitted_block_ends(built) -> None:
    start = 1 + len(built.grid) + len(built.stress)
    for name in built.market.ratios:
        ends = built.paths.ratios[name][1:].reshape(built.blocks, 24, 3)[:, -1, 2]
        assert ends.tobytes() == built.market.ratios[name][start : start + built.blocks].tobytes()
        assert built.paths.closes[name][:, -1].tobytes() == ends.tobytes()


def test_twice_the_forecast_gives_twice_the_log_moves(lab, parameters) -> None:
    market = lab.market()
    calm, wild = (
        msgspec.structs.replace(market.quote("ETH"), annual_volatility=lab.wad(level)) for level in ("0.5", "1.0")
    )
    lines = [
        build_columns(
            factor_blocks(msgspec.structs.replace(market, quotes=(quote,)), ["ETH"], parameters), ["ETH"], parameters
        ).paths.ratios["ETH"]
        for quote in (calm, wild)
    ]
    assert np.log(lines[1][1:100]) == pytest.approx(2 * np.log(lines[0][1:100]), abs=1e-12)


def test_without_factors_there_are_still_columns(parameters) -> None:
    built = build_columns([], [], parameters)
    assert built.blocks == parameters.paths.maximum_blocks
    assert built.market.ratios == {}


def test_the_range_follows_the_forecast_down_to_a_share_of_the_long_run(lab, parameters) -> None:
    """Three standard deviations of a day: the year's over the root of 365."""
    (item,) = factor_blocks(lab.market(), ["BTC"], parameters)
    share = parameters.grid.long_run_share
    for forecast, counted in ((0.9, 0.9), (0.6 * share, 0.6 * share), (0.3 * share, 0.6 * share)):
        chosen = msgspec.structs.replace(item, forecast=forecast / math.sqrt(8760), long_run=0.6 / math.sqrt(8760))
        assert scenario_range(chosen, parameters.grid) == pytest.approx(3 * counted / math.sqrt(365))


def test_a_quoted_volatility_below_the_groups_floor_is_the_floor(lab, parameters) -> None:
    market = lab.market()
    quote = msgspec.structs.replace(market.quote("BTC"), annual_volatility=lab.wad("0.01"))
    (item,) = factor_blocks(msgspec.structs.replace(market, quotes=(quote,)), ["BTC"], parameters)
    assert item.forecast * math.sqrt(8760) == pytest.approx(parameters.volatility.floor_annual.btc)
    assert item.long_run * math.sqrt(8760) == pytest.approx(parameters.volatility.floor_annual.btc)
