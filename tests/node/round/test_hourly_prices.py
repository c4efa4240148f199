"""The network's own hourly table says where its hours were filled, and for how long."""

import pytest

from attest.hours.hourly import HOUR, FreshPrice, advance
from attest.hours.table import genesis_memory, history_hash
from node.round.hourly_prices import HourlyPrices
from riskschema.buffers import Column
from riskschema.market import HourlyHistory


@pytest.mark.parametrize(("window_hours", "filled"), [(100, ("ETH",)), (3, ("ETH",)), (2, ())])
def test_hours_that_nobody_observed_are_told_while_the_model_looks_at_them(window_hours, filled) -> None:
    flat = Column(dtype="int64", shape=(1, 2), data=(5).to_bytes(8, "little") * 2)
    genesis = HourlyHistory(first_hour=0, factors=("ETH",), close=flat, high=flat, low=flat, simulated=False)
    memory = genesis_memory(genesis)
    for hours in (0, 1, 3, 4, 5):  # no report in the second hour after the genesis
        memory = advance(memory, memory_start(genesis) + hours * HOUR, {"ETH": FreshPrice(price=6, fresh=True)})
    rows = memory.recent
    assert [price.filled for row in rows for price in row.prices] == [False, False, True, False, False]
    table = HourlyPrices(genesis, history_hash(genesis), window_hours)
    table.keep(rows)
    assert table.at(memory).filled == filled


def memory_start(genesis: HourlyHistory) -> int:
    return genesis.first_hour + genesis.hours * HOUR
