"""Risk arrays: quantised within a stated error, sorted, and committed row by row."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aggregator.exact.buffers import column, view8, view32
from aggregator.rule_terms import Cash, RuleRow
from aggregator.valuation.arrays import arrays_digest_chunks, build_arrays, expected_shortfall
from aggregator.valuation.rule_rows import market_key, rule_key
from riskschema.instruments import Option


def test_expected_shortfall_counts_the_last_loss_in_part() -> None:
    assert expected_shortfall(np.arange(10.0), 15) == pytest.approx((9 + 0.5 * 8) / 1.5)


@pytest.fixture(scope="module")
def arrays(lab, small_parameters):
    held = [lab.token(name) for name in ("USDC", "ETH", "BTC")]
    rules = [RuleRow(instrument=lab.token("ETH"), numeraire="USD", price=lab.wad(1990))]
    return build_arrays(held, rules, lab.market(), small_parameters)


def test_rows_are_sorted_unique_and_named_by_json(lab, small_parameters, arrays) -> None:
    held = [lab.token(name) for name in ("BTC", "USDC", "ETH", "ETH")]
    rules = [RuleRow(instrument=lab.token("ETH"), numeraire="USD", price=lab.wad(1990))] * 2
    again = build_arrays(held, rules, lab.market(), small_parameters)
    assert arrays_digest_chunks(again) == arrays_digest_chunks(arrays)
    assert list(arrays.market.keys) == sorted(arrays.market.keys)
    assert {json.loads(key)["symbol"] for key in arrays.market.keys} == {"USDC", "ETH", "BTC"}


def test_mantissas_are_the_values_within_half_a_unit(lab, arrays) -> None:
    row = arrays.market.keys.index(market_key(lab.token("ETH")))
    exponent = int(view32(arrays.market.lot_exponents)[row])
    unit = 2.0 ** (-53 - exponent)
    base = int(view32(arrays.market.mantissas)[row, 0])
    assert 2**26 <= base < 2**27
    assert abs(base * unit - 2000e-18) <= unit / 2
    assert abs(base * unit - 2000e-18) / 2000e-18 <= 2**-27


def test_a_rule_row_starts_at_the_oracles_answer_and_comes_to_the_market(lab, arrays) -> None:
    rule = view32(arrays.rule.mantissas)[0].astype(float)
    market = view32(arrays.market.mantissas)[arrays.market.keys.index(market_key(lab.token("ETH")))].astype(float)
    exponent = int(view32(arrays.rule.lot_exponents)[0])
    assert rule[0] * 2.0 ** (-53 - exponent) == pytest.approx(1990e-18, rel=1e-8)
    start = 1 + len(arrays.grid) + len(arrays.stress)
    ends = rule[1:].reshape(arrays.blocks, 24, 3)[:, -1, 2] / rule[0] * 1990
    there = 2000 * market[start : start + arrays.blocks] / market[0]
    assert ends == pytest.approx(there, rel=0.005), "the deviation of ether's feeds"
    # their heartbeat is an hour: unless the hour's low or high made it answer, the answer at the close is the market's
    assert np.isclose(ends, there, rtol=1e-7).mean() > 0.7


def test_a_rule_row_in_another_numeraire_sees_only_relative_moves(lab, small_parameters) -> None:
    rows = [
        RuleRow(instrument=lab.token("ETH"), numeraire="ETH", price=lab.wad(1)),
        RuleRow(instrument=lab.token("ETH"), numeraire="BTC", price=None),
    ]
    found = build_arrays([], rows, lab.market(), small_parameters)
    same = view32(found.rule.mantissas)[found.rule.keys.index(rule_key(rows[0]))]
    other = view32(found.rule.mantissas)[found.rule.keys.index(rule_key(rows[1]))]
    assert (same == same[0]).all()
    assert not (other == other[0]).all()
    assert found.market.mantissas.shape == (0, 1 + len(found.grid) + len(found.stress) + 4 * found.blocks)


def test_an_oracle_that_says_zero_makes_a_row_of_zeros(lab, small_parameters) -> None:
    row = RuleRow(instrument=lab.token("ETH"), numeraire="USD", price=lab.wad(0))
    found = build_arrays([], [row], lab.market(), small_parameters)
    assert not view32(found.rule.mantissas).any()


def test_an_option_far_out_of_the_money_saturates_and_says_so(lab, small_parameters) -> None:
    item = Option(
        venue="v:1:main",
        market="m",
        underlying="ETH",
        quote="USD",
        right="put",
        strike=lab.wad(40_000),
        expiry=1_700_000_000 + 86_400 * 30,
    )
    found = build_arrays([item, lab.token("ETH")], [], lab.market(), small_parameters)
    marks = dict(zip(found.market.keys, view8(found.market.saturated).tolist(), strict=True))
    assert marks[market_key(item)] == 1
    assert marks[market_key(lab.token("ETH"))] == 0
    assert np.abs(view32(found.market.mantissas)).max() <= 2**30


def test_every_row_and_the_header_are_in_the_digest(lab, small_parameters, arrays) -> None:
    chunks = arrays_digest_chunks(arrays)
    assert len(chunks) == 1 + 3 + 1
    assert chunks[0].startswith(b"plimsoll/arrays/1\x00")
    assert all(chunk.startswith(b"market\x00") for chunk in chunks[1:4])
    moved = build_arrays(
        [lab.token(name) for name in ("USDC", "ETH", "BTC")],
        [RuleRow(instrument=lab.token("ETH"), numeraire="USD", price=lab.wad(1990))],
        lab.market(ETH=2001),
        small_parameters,
    )
    different = [old != new for old, new in zip(chunks, arrays_digest_chunks(moved), strict=True)]
    changed = [json.loads(key)["symbol"] == "ETH" for key in arrays.market.keys]
    assert different[1:4] == changed


def test_factor_terms_carry_what_the_add_ons_need(arrays) -> None:
    terms = {item.factor: item for item in arrays.factors}
    assert list(terms) == ["BTC", "ETH", "USDC"]
    assert terms["ETH"].shortfall > terms["USDC"].shortfall > 0
    assert terms["ETH"].flags == ("history_short",)


def test_cash_is_a_row_of_its_own(lab, small_parameters) -> None:
    found = build_arrays([Cash(factor="USD")], [], lab.market(), small_parameters)
    assert found.market.keys == ('{"kind":"cash","factor":"USD"}',)
    assert view32(found.exposure_factors).tolist() == [[-1, -1, -1, -1]]


def test_columns_survive_the_way_to_bytes_and_back() -> None:
    stored = column(np.array([[1, -2], [3, 4]]), "int32")
    assert view32(stored).tolist() == [[1, -2], [3, 4]]
    assert stored.shape == (2, 2)
