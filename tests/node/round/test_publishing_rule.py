"""With a heartbeat the contract gets a report when it is due or a price moved; each round is certified all the same."""

from __future__ import annotations

import msgspec
import pytest

from devnet.prices import read_prices, set_prices
from node.publishing.transmitter import NotDue
from riskschema.errors import InvalidData
from riskschema.ports import PublishedTransaction
from tests.node.local_node import LocalNode

pytestmark = pytest.mark.chain


def with_rule(local: LocalNode, *, heartbeat: int, deviation_ppm: int = 5_000) -> None:
    assert local.settings.publish is not None
    publish = msgspec.structs.replace(local.settings.publish, heartbeat=heartbeat, deviation_ppm=deviation_ppm)
    local.settings = msgspec.structs.replace(local.settings, publish=publish)


async def test_a_report_is_published_when_it_is_due_or_a_price_moved(local: LocalNode) -> None:
    with_rule(local, heartbeat=1_000)
    first, second, third = (result.landing for result in await local.run(3))
    assert isinstance(first, PublishedTransaction), "the contract has none yet"
    assert isinstance(second, NotDue)
    assert isinstance(third, NotDue)
    prices = read_prices(local.devnet)
    set_prices(local.devnet, prices | {"WETH": prices["WETH"] * 1_004 // 1_000}, arbitrage=False)
    (fourth,) = await local.run(1)
    assert isinstance(fourth.landing, NotDue), "after a restart, too, and a small move is none"
    set_prices(local.devnet, prices | {"WETH": prices["WETH"] * 1_006 // 1_000}, arbitrage=False)
    (fifth,) = await local.run(1)
    assert isinstance(fifth.landing, PublishedTransaction)
    assert len(local.accepted()) == 2


async def test_a_heartbeat_that_lets_reports_expire_is_refused(local: LocalNode) -> None:
    with_rule(local, heartbeat=local.network.committee.report_life_seconds // 2 + 1)
    with pytest.raises(InvalidData, match=r"publish\.heartbeat"):
        async with local.open():
            pass
