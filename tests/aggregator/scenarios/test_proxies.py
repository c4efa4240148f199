"""Factors without history: what they follow, how wildly they move, and that no two are the same."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from aggregator.scenarios.blocks import factor_blocks
from aggregator.scenarios.proxies import proxy_blocks
from aggregator.scenarios.reference_blocks import own_blocks
from aggregator.scenarios.volatility import hourly
from riskschema.market import Factor, FactorQuote, HourlyHistory, MarketState
from riskschema.units import WAD, Wad

UNKNOWN = ["eip155:1/erc20:0x01", "eip155:1/erc20:0x02"]


@pytest.fixture(scope="module")
def market(lab) -> MarketState:
    """Ether and three small tokens with history, two tokens without."""
    tables = [lab.history(["ETH"], 24 * 90, annual=0.8)]
    tables += [lab.history(["LINK"], 24 * 90, seed=place, annual=level) for place, level in enumerate((0.9, 1.2, 1.5))]
    history = joined(tables, ("ETH", "AAVE", "MKR", "CRV"))
    quotes = [FactorQuote(factor=name, price=Wad(WAD)) for name in ("AAVE", "MKR", *UNKNOWN)]
    found = lab.market(history)
    return msgspec.structs.replace(found, quotes=(*found.quotes, *quotes))


def joined(tables: list[HourlyHistory], names: tuple[str, ...]) -> HourlyHistory:
    columns = {
        side: msgspec.structs.replace(
            getattr(tables[0], side),
            shape=(len(names), tables[0].hours),
            data=b"".join(getattr(table, side).data for table in tables),
        )
        for side in ("close", "high", "low")
    }
    return msgspec.structs.replace(tables[0], factors=names, **columns)


def test_two_unknown_assets_are_neither_identical_nor_independent(market, small_parameters) -> None:
    ether, *unknown = factor_blocks(market, ["ETH", *UNKNOWN], small_parameters)
    ends = np.array([item.standardised[:, -1, 2] for item in (ether, *unknown)])
    correlation = np.corrcoef(ends)
    assert 0.05 < correlation[1, 2] < 0.9
    assert 0.2 < correlation[0, 1] < 0.95
    assert all("history_short" in item.flags for item in unknown)


def test_its_volatility_is_the_upper_quartile_of_its_groups_raw_volatilities_widened_once(
    market, small_parameters
) -> None:
    known = factor_blocks(market, ["AAVE", "CRV", "MKR"], small_parameters)
    (unknown,) = factor_blocks(market, UNKNOWN[:1], small_parameters)
    model = small_parameters.proxy
    for name in ("forecast", "long_run"):
        ordered = sorted(getattr(item, name) for item in known)
        assert getattr(unknown, name) == pytest.approx(ordered[1] * 1.5), "3·(3 - 1)/4, the lower of two"
    assert (model.volatility_quartile, model.volatility_multiplier) == (3, 1.5)
    assert unknown.standardised[:, -1, 2].std() / math.sqrt(24) == pytest.approx(1.0, abs=0.35), "not widened again"


def test_beta_says_how_much_of_it_is_its_groups(market, small_parameters) -> None:
    correlations = []
    for beta in (0.2, 1.0, 3.0):
        listed = Factor(name=UNKNOWN[0], group="other", stream=10_000, beta=beta)
        chosen = msgspec.structs.replace(small_parameters, factors=(*small_parameters.factors, listed))
        ether, found = factor_blocks(market, ["ETH", UNKNOWN[0]], chosen)
        correlations.append(np.corrcoef(ether.standardised[:, -1, 2], found.standardised[:, -1, 2])[0, 1])
    assert correlations == sorted(correlations)
    assert correlations[2] < 0.99, "some of its moves are always its own"


def test_lows_and_highs_do_not_take_both_extremes_at_once(small_parameters) -> None:
    leading = own_blocks(1, blocks=100, parts_per_hour=6)
    own = own_blocks(2, blocks=100, parts_per_hour=6)
    found = proxy_blocks(leading, 2, led=0.6, parameters=small_parameters)
    close = 0.6 * leading[:, :, 2] + 0.8 * own[:, :, 2]
    low = np.minimum(0.6 * leading[:, :, 0] + 0.8 * own[:, :, 2], 0.6 * leading[:, :, 2] + 0.8 * own[:, :, 0])
    assert found[:, :, 2] == pytest.approx(close)
    assert found[:, :, 0] == pytest.approx(low)
    assert (found[:, :, 0] >= 0.6 * leading[:, :, 0] + 0.8 * own[:, :, 0] - 1e-12).all()
    assert (found[:, :, 1] >= found[:, :, 2]).all()


def test_two_hundred_and_fifty_unknown_assets_have_two_hundred_and_fifty_noises() -> None:
    """Rotations of one history by a hash of the name gave 28 identical pairs."""
    ends = np.array([own_blocks(number, blocks=100, parts_per_hour=6)[:, -1, 2] for number in range(250)])
    correlation = np.corrcoef(ends) - np.eye(250)
    assert np.abs(correlation).max() < 0.75


def test_without_any_history_the_leaders_make_the_market_and_the_others_follow(lab, parameters) -> None:
    bitcoin, small, ether = factor_blocks(lab.market(), ["BTC", "CRV", "ETH"], parameters)
    ends = np.corrcoef([item.standardised[:, -1, 2] for item in (bitcoin, small, ether)])
    assert 0.75 < ends[0, 2] < 0.95
    assert 0.5 < ends[1, 2] < 0.85
    assert small.forecast == pytest.approx(hourly(parameters.volatility.default_annual.other))


def test_a_leader_without_history_follows_ether(lab, small_parameters) -> None:
    ether, bitcoin = (
        next(
            item
            for item in factor_blocks(lab.market(lab.history(["ETH"], 24 * 90)), ["BTC", "ETH"], small_parameters)
            if item.name == name
        )
        for name in ("ETH", "BTC")
    )
    assert np.corrcoef(ether.standardised[:, -1, 2], bitcoin.standardised[:, -1, 2])[0, 1] > 0.5


def test_a_stated_volatility_is_not_widened(market, small_parameters) -> None:
    quotes = [
        msgspec.structs.replace(quote, annual_volatility=Wad(2 * WAD)) if quote.factor == UNKNOWN[0] else quote
        for quote in market.quotes
    ]
    (found,) = factor_blocks(msgspec.structs.replace(market, quotes=tuple(quotes)), UNKNOWN[:1], small_parameters)
    assert found.forecast == found.long_run == pytest.approx(hourly(2.0))


def late(table: HourlyHistory, line: int, begin: int) -> HourlyHistory:
    """Return a table one of whose lines nobody observed before an hour."""
    sides = {}
    for name in ("close", "high", "low"):
        column = getattr(table, name)
        values = np.frombuffer(column.data, "<i8").reshape(column.shape).copy()
        values[line, :begin] = np.frombuffer(table.close.data, "<i8").reshape(column.shape)[line, begin]
        sides[name] = msgspec.structs.replace(column, data=values.tobytes())
    return msgspec.structs.replace(table, filled=(table.factors[line],), **sides)


@pytest.mark.parametrize("annual", [0.4, 3.0])
def test_a_young_assets_own_hours_count_for_more_the_more_there_are(lab, small_parameters, market, annual) -> None:
    """A wild one is not taken for its group, nor is a calm one."""
    hours = 24 * 90
    tables = [lab.history(["ETH"], hours, annual=0.8)]
    tables += [lab.history(["LINK"], hours, seed=place, annual=level) for place, level in enumerate((0.9, 1.2, 1.5))]
    whole = joined([*tables, lab.history(["LINK"], hours, seed=9, annual=annual)], ("ETH", "AAVE", "MKR", "CRV", "NEW"))
    quotes = (*market.quotes, FactorQuote(factor="NEW", price=Wad(WAD)))
    found = {}
    for own in (0, 47, 48, 24 * 7, 24 * 30):
        table = late(whole, 4, hours - own) if own else whole
        if not own:
            table = msgspec.structs.replace(market.history, factors=("ETH", "AAVE", "MKR", "CRV"))
        state = msgspec.structs.replace(market, quotes=quotes, history=table)
        (found[own],) = factor_blocks(state, ["NEW"], small_parameters)
    prior, wanted = found[0].forecast, hourly(annual)
    assert found[47].forecast == prior, "two days say nothing yet"
    distances = [abs(found[own].forecast / wanted - 1.0) for own in (0, 48, 24 * 7, 24 * 30)]
    assert distances == sorted(distances, reverse=True)
    assert found[24 * 7].forecast ** 2 < prior**2 if annual < 1 else found[24 * 7].forecast > prior
    assert all("history_short" in item.flags for item in found.values())
    assert (found[24 * 7].standardised == found[0].standardised).all(), "within the warm-up no day is its own"
    lived = np.flatnonzero((found[24 * 30].standardised != found[0].standardised).any(axis=(1, 2)))
    assert lived.size == 30 - 7 - 1, "each day begins with a close"
    assert lived[-1] == found[0].standardised.shape[0] - 1


def test_a_peg_whose_line_begins_late_has_the_noise_of_its_kind(lab, small_parameters) -> None:
    history = msgspec.structs.replace(lab.history(["ETH", "BTC"], 24 * 90), factors=("ETH", "STETH"))
    (without,) = factor_blocks(lab.market(lab.history(["ETH"], 24 * 90)), ["STETH / ETH"], small_parameters)
    (begun,) = factor_blocks(lab.market(late(history, 1, 24 * 80)), ["STETH / ETH"], small_parameters)
    assert (begun.standardised == without.standardised).all()
    assert "history_short" in begun.flags


def test_where_its_leader_is_quoted_twice_as_wild_too_it_keeps_its_shape(lab, small_parameters) -> None:
    """What it is led by is that volatility, not the leader's usual one: only both together are all of the market."""

    def blocks(token: float, leader: float) -> np.ndarray:
        stated = {"LINK": lab.wad(token), "ETH": lab.wad(leader)}
        quotes = tuple(
            msgspec.structs.replace(quote, annual_volatility=stated.get(quote.factor)) for quote in lab.market().quotes
        )
        quoted = msgspec.structs.replace(lab.market(), quotes=quotes)
        (found,) = factor_blocks(quoted, ["LINK"], small_parameters)
        return found.standardised

    calm = blocks(0.75, 0.5)
    assert np.array_equal(calm, blocks(1.5, 1.0))
    assert not np.array_equal(calm, blocks(1.5, 0.5))
