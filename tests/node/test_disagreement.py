"""A node that reads, or prices, something else than the others: it learns what differs, and nobody follows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

import aggregator
from attest.formats.certificate import signer_indices
from devnet.local_chain import Devnet
from node.round.node import Node
from node.settings import Settings
from riskschema.market import MarketReading
from riskschema.portfolio import VenueReading
from riskschema.ports import MarketSource, PinnedReader, ProtocolAdapter
from riskschema.rounds import StoredReport
from riskschema.units import Address, Amount, Wad
from tests.node.council import NODES, council
from tests.patience import eventually

pytestmark = pytest.mark.chain

ODD = 2
"""The operator that is not like the others."""
STRANGE = 3
"""Another one, of which that is so, too."""
PARAMETERS = Path(aggregator.__file__).with_name("parameters.toml")


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


async def test_other_market_data_are_outvoted_and_counted_and_other_parameters_abstain_and_are_named(
    chain: Devnet, tmp_path: Path
) -> None:
    parameters = PARAMETERS.read_text().replace("breaks = [-0.13, -0.05, 0.02]", "breaks = [-0.43, -0.05, 0.02]")
    (tmp_path / "other.toml").write_text(parameters)

    def configure(index: int, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, parameters_file="../other.toml") if index == STRANGE else settings

    def change(index: int, node: Node) -> Node:
        return dataclasses.replace(node, sources=tuple(map(Dearer, node.sources))) if index == ODD else node

    with capture_logs() as logged:
        async with council(chain, tmp_path, change, configure=configure) as running:
            told = await eventually(lambda: found(logged, "price outvoted"))
            explained = await eventually(lambda: found(logged, "disagreement explained"))
            await eventually(lambda: running.certified(ODD, 2))
            strange = running.nodes[STRANGE]
            adopted = await eventually(lambda: adopted_by(strange, running.results[ODD][1].round))
            registry = running.nodes[ODD].metrics.registry
            assert registry.get_sample_value("plimsoll_outvoted", {"factor": "ETH"}) == 1
            others = [node for index, node in enumerate(running.nodes) if index != ODD]
            assert all(node.peers.documents()[ODD].outvoted for node in others), "the others count it, too"
            assert not any(node.peers.documents()[other].outvoted for node in others for other in (0, 1, STRANGE))
            assert strange.metrics.registry.get_sample_value("plimsoll_disagreements_total")
            assert not registry.get_sample_value("plimsoll_disagreements_total"), "its reports are like the others'"
    assert told["factor"] == "ETH"
    assert told["own"] != told["agreed"]
    assert len([each for each in logged if each["event"] == "price outvoted"]) == 1, "said once while it lasts"
    signers = {each for result in running.results[ODD] for each in signer_indices(result.certificate)}
    assert signers == set(range(NODES)) - {STRANGE}
    disagreed = await found(logged, "another report was certified")
    assert {"parameters_hash", "accounts_root"} <= set(disagreed["fields"])
    assert explained["account"]
    assert explained["detail"] == "the same was read, and assessed otherwise"
    assert adopted is not None, "its store took over what was certified, and it went on"


async def adopted_by(node: Node, round_number: int) -> StoredReport | None:
    """Return the certified report that a node's store goes on from, once it is of a round or a later one."""
    kept = await node.store.latest_adopted(node.config_digest)
    return kept if kept is not None and kept.round >= round_number else None


async def found(logged: list[Any], event: str) -> Any:
    return next((each for each in logged if each["event"] == event), None)
