"""Anyone who holds the published arrays recomputes a margin: here in about twenty lines of plain Python."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from aggregator.assess import assess


def ints(column):
    letter = {"int32": "i", "int64": "q"}[column.dtype]
    return struct.unpack(f"<{len(column.data) // (4 if letter == 'i' else 8)}{letter}", column.data)


def recompute(batch, account: int) -> tuple[int, int]:
    """Equity and siloed base requirement of one account, in 10^-8 USD."""
    arrays, table = batch.arrays, batch.positions
    width, blocks = arrays.market.mantissas.shape[1], arrays.blocks
    mantissas, exponent = ints(arrays.market.mantissas), ints(table.account_coarseness)[account]
    places, exposures = ints(arrays.exposure_factors), ints(arrays.exposures)
    rows, lots, starts = ints(table.rows), ints(table.lots), ints(table.silo_positions)
    equity, siloed = 0, 0
    for silo in range(*ints(table.account_silos)[account : account + 2]):
        held = range(starts[silo], starts[silo + 1])
        value = [sum(lots[p] * mantissas[rows[p] * width + c] for p in held) >> 24 for c in range(width)]
        first = 1 + len(arrays.grid)
        stress = max([0] + [value[0] - v for v in value[first : first + len(arrays.stress)]])
        tails = []
        for start in range(first + len(arrays.stress), width, blocks):
            losses = sorted((value[0] - v for v in value[start : start + blocks]), reverse=True)
            tails.append(max(sum(losses[: blocks // 100]) / (blocks // 100), 0))
        net: dict[Any, Any] = {}
        gross = 0
        for p, slot in [(p, 2 * rows[p] + side) for p in held for side in (0, 1)]:
            if places[slot] >= 0:
                net[places[slot]] = net.get(places[slot], 0) + lots[p] * exposures[slot] / 2**24
                gross += abs(lots[p] * exposures[slot] / 2**24)
        floor = sum(0.02 * abs(d) for d in net.values()) + 0.01 * (gross - sum(abs(d) for d in net.values()))
        worst = max([value[0] - v for v in value[1:first]])
        equity += value[0]
        siloed += max([0.75 * tail + 0.25 * stress for tail in tails[:3]] + [worst, floor, 0.75 * tails[3]])
    unit = 10**8 * 2.0 ** (exponent - 29)
    return int(equity * unit // 1), int(siloed * unit // 1)


@pytest.mark.parametrize("account", [0, 1])
def test_a_margin_is_recomputed_from_the_published_arrays(lab, parameters, account: int) -> None:
    portfolios = [
        lab.portfolio(lab.lending({"ETH": 10, "USDC": -13_000}), lab.wallet({"BTC": 0.05, "DAI": 100})),
        lab.portfolio(
            lab.lending({"BTC": 1, "ETH": -3}), lab.lending({"CRV": 5000, "DAI": -100}, protocol="x"), number=5
        ),
    ]
    batch = assess(portfolios, lab.market(), parameters)
    found = batch.assessments[account]
    equity, siloed = recompute(batch, account)
    add_ons = sum(line.amount for line in found.explanation if line.kind in ("liquidity", "concentration", "oracle"))
    gross = [36_100, 66_500][account]  # dollars held and owed: the arrays' lots are good to 10^-8 of it
    assert found.equity == pytest.approx(equity, abs=gross)
    assert found.siloed_margin - add_ons == pytest.approx(siloed, abs=10)
