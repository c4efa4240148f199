"""Position tables: lots rounded against the account, within the stated bound, whatever its size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.exact.buffers import view32, view64
from aggregator.exact.sums import column_values
from aggregator.exact.units import value_unit
from aggregator.valuation.arrays import build_arrays
from aggregator.valuation.positions import (
    needed_instruments,
    needed_rule_rows,
    position_table,
    read_accounts,
)


@given(
    units=st.lists(st.floats(1e-6, 1e15), min_size=2, max_size=6),
    debt=st.floats(1e-6, 1e15),
)
@settings(max_examples=40)
def test_equity_is_within_1e_8_of_gross_for_dust_and_for_giants(lab, small_parameters, units, debt) -> None:
    names = list(lab.assets)[: len(units)]
    ledger = dict(zip(names[:-1], units, strict=False)) | {names[-1]: -debt}
    portfolio = lab.portfolio(lab.lending(ledger, health=2))
    accounts = read_accounts([portfolio], lab.known())
    arrays = build_arrays(needed_instruments(accounts), needed_rule_rows(accounts), lab.market(), small_parameters)
    table = position_table(accounts, arrays)
    width = arrays.market.mantissas.shape[1]
    values, low = np.empty(width, dtype=np.int64), np.empty(width, dtype=np.int64)
    column_values(view32(table.rows), view64(table.lots), view32(arrays.market.mantissas), values, low)
    found = float(values[0]) * float(value_unit(view32(table.account_coarseness))[0])
    worth = [
        int(p.quantity) * lab.assets[p.instrument.token.symbol][2] / 10**p.instrument.token.decimals
        for p in portfolio.silos[0].positions
    ]
    gross = sum(abs(value) for value in worth)
    assert found == pytest.approx(sum(worth), abs=1e-8 * gross + 2.0**-44)


def test_silos_are_ordered_by_chain_venue_group_and_id(lab, small_parameters) -> None:
    silos = [
        lab.lending({"ETH": 1}, protocol="morpho_blue", ident="e", cross_margin_group="shared"),
        lab.lending({"ETH": 1}, protocol="morpho_blue", ident="d", cross_margin_group="shared"),
        lab.lending({"ETH": 1}, protocol="morpho_blue", ident="b"),
        lab.lending({"ETH": 1}, protocol="aave_v3", chain_id=10, ident="c"),
        lab.lending({"ETH": 1}, protocol="morpho_blue", ident="a"),
        lab.lending({"ETH": 1}, protocol="aave_v3", ident="z"),
    ]
    accounts = read_accounts([lab.portfolio(*silos)], lab.known())
    arrays = build_arrays(needed_instruments(accounts), needed_rule_rows(accounts), lab.market(), small_parameters)
    table = position_table(accounts, arrays)
    assert [item.silo.id for item in accounts[0].silos] == ["z", "a", "b", "d", "e", "c"]
    assert view32(table.silo_groups).tolist() == [0, 1, 2, 3, 3, 4]
    assert view32(table.silo_chains).tolist() == [0, 0, 0, 0, 0, 1]
