"""The model's memory as those see it who carry it: bytes in, bytes out, and whether the market is stressed."""

from __future__ import annotations

import pytest

from aggregator.market_memory import remember
from aggregator.scenarios.memory import REGIMES, FactorMemory, MarketMemory, encode_memory
from riskschema.errors import InvalidData
from riskschema.market import Group

GROUPS: dict[str, Group] = {"BTC": "btc", "ETH": "eth"}


def test_a_table_without_new_hours_changes_nothing(lab, parameters) -> None:
    history = lab.history(["BTC", "ETH"], 100)
    first = remember(None, history, GROUPS, parameters)
    assert remember(first.section, history, GROUPS, parameters) == first


@pytest.mark.parametrize("regime", range(len(REGIMES)))
def test_one_stressed_factor_makes_the_market_stressed(lab, parameters, regime: int) -> None:
    history = lab.history(["BTC", "ETH"], 2)
    factors = [
        FactorMemory(factor=factor, variance=1e-5, regime=at, hours_below=0)
        for factor, at in (("BTC", 0), ("ETH", regime))
    ]
    known = encode_memory(MarketMemory(until=history.first_hour + 2 * 3600, factors=tuple(factors)))
    found = remember(known, history, GROUPS, parameters)
    assert found.section == known
    assert found.stressed == (REGIMES[regime] == "stressed")


@pytest.mark.parametrize("known", [b"", b"{}", b"\xff", b"[1]"])
def test_bytes_that_are_no_memory_are_refused(lab, parameters, known: bytes) -> None:
    with pytest.raises(InvalidData, match="market_memory"):
        remember(known, lab.history(["BTC"], 2), GROUPS, parameters)
