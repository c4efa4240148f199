"""A node that reads, or prices, something else than the others: it learns what differs, and nobody follows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from devnet.local_chain import Devnet
from node.round.node import Node
from riskschema.market import MarketReading
from riskschema.portfolio import VenueReading
from riskschema.ports import MarketSource, PinnedReader, ProtocolAdapter
from riskschema.units import Address, Amount, Wad
from tests.node.council import NODES, council
from tests.patience import eventually

pytestmark = pytest.mark.chain

ODD = 2
"""The operator that is not like the others."""


class OffByOne:
    """An adapter that adds one base unit to the first position of an account."""

    def __init__(self, adapter: ProtocolAdapter, account: Address) -> None:
        self._adapter = adapter
        self._account = account

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    async def read(self, reader: PinnedReader, accounts: Sequence[Address], *more: Any) -> VenueReading:
        reading = await self._adapter.read(reader, accounts, *more)
        silos = list(reading.silos)
        for place, silo in enumerate(silos):
            if silo.account == self._account:
                first, *rest = silo.positions
                wrong = msgspec.structs.replace(first, quantity=Amount(first.quantity + 1))
                silos[place] = msgspec.structs.replace(silo, positions=(wrong, *rest))
        return msgspec.structs.replace(reading, silos=tuple(silos))


class Dearer:
    """A market source whose ether costs a tenth more."""

    def __init__(self, source: MarketSource) -> None:
        self.name = source.name
        self.factors = source.factors
        self._source = source

    async def read(self) -> MarketReading:
        reading = await self._source.read()
        quotes = tuple(
            msgspec.structs.replace(quote, price=Wad(quote.price * 11 // 10)) if quote.factor == "ETH" else quote
            for quote in reading.quotes
        )
        return msgspec.structs.replace(reading, quotes=quotes)


async def test_a_node_with_another_adapter_names_the_row_the_source_and_the_block(
    chain: Devnet, tmp_path: Path
) -> None:
    user = Address(chain.deployment.user("saver").address)

    def change(index: int, node: Node) -> Node:
        if index != ODD:
            return node
        first, *rest = node.venues
        wrong = msgspec.structs.replace(first, adapter=OffByOne(first.adapter, user))
        return dataclasses.replace(node, venues=(wrong, *rest))

    with capture_logs() as logged:
        async with council(chain, tmp_path, change) as running:
            explained = await eventually(lambda: found(logged, "disagreement explained"))
            await eventually(lambda: running.certified(0, 1))
            venue = running.nodes[0].venues[0].venue
            assert running.nodes[ODD].metrics.registry.get_sample_value("plimsoll_disagreements_total")
            own, certified = int(explained["own"].strip('"')), int(explained["certified"].strip('"'))
    assert explained["account"] == user
    assert explained["source"] == venue
    assert "quantity of" in explained["row"]
    assert own == certified + 1
    assert explained["proved"]
    number, block = explained["block"].split()
    assert chain.anvil.rpc.request("eth_getBlockByNumber", hex(int(number)), False)["hash"] == block
    disagreed = await found(logged, "another report was certified")
    assert {"accounts_root"} <= set(disagreed["fields"])
    signers = {
        index for result in running.results[0] for index in range(NODES) if result.certificate.bitmap >> index & 1
    }
    assert ODD not in signers


async def test_a_node_with_other_market_data_is_outvoted_counted_and_shown(chain: Devnet, tmp_path: Path) -> None:
    def change(index: int, node: Node) -> Node:
        return dataclasses.replace(node, sources=tuple(map(Dearer, node.sources))) if index == ODD else node

    with capture_logs() as logged:
        async with council(chain, tmp_path, change) as running:
            told = await eventually(lambda: found(logged, "price outvoted"))
            await eventually(lambda: running.certified(ODD, 2))
            registry = running.nodes[ODD].metrics.registry
            assert registry.get_sample_value("plimsoll_outvoted", {"factor": "ETH"}) == 1
            others = [node for index, node in enumerate(running.nodes) if index != ODD]
            assert all(node.peers.documents()[ODD].outvoted for node in others), "the others count it, too"
            assert not any(node.peers.documents()[other].outvoted for node in others for other in (0, 1, 3))
            assert not registry.get_sample_value("plimsoll_disagreements_total"), "its reports are like the others'"
    assert told["factor"] == "ETH"
    assert told["own"] != told["agreed"]
    assert len([each for each in logged if each["event"] == "price outvoted"]) == 1, "said once while it lasts"
    assert running.results[ODD]


async def found(logged: list[Any], event: str) -> Any:
    return next((each for each in logged if each["event"] == event), None)
