"""The local network: everything in its directory has the form that an operator would write, and outlives the chain."""

from pathlib import Path

import pytest

from attest.hours.table import history_hash
from devnet.local_chain import Devnet
from node.committee_file import load_committee, load_history
from node.local.network import FACTORS, HISTORY_HOURS, VENUES
from node.settings import load_settings
from riskschema.units import Address
from tests.node.conftest import Prepare
from tests.node.local_node import LocalNode, chain_time

pytestmark = pytest.mark.chain


def test_the_settings_read_every_venue_and_quote_every_asset(local: LocalNode) -> None:
    (chain,) = local.settings.chains
    assert tuple(table["protocol"] for table in chain.venues) == VENUES
    (source,) = local.settings.market.sources
    assert {feed["factor"] for feed in source["feeds"]} == {factor for factor, _ in FACTORS.values()}
    assert local.settings.market.groups == dict(FACTORS.values())
    assert chain.genesis_hash == local.devnet.deployment.genesis_hash
    assert local.settings == load_settings(local.network.config_file)


def test_the_contract_knows_the_committee_of_the_file(local: LocalNode) -> None:
    committee = load_committee(local.directory / "committee.json")
    (digest,) = local.call("RiskOracle", local.network.oracle, "configDigest")
    (round_number, _) = local.call("RiskOracle", local.network.oracle, "latestRound")
    assert round_number == 0
    assert committee.destinations[0].oracle == local.network.oracle
    assert digest != bytes(32)


def test_the_history_is_the_committees_and_ends_at_the_prices_of_now(local: LocalNode) -> None:
    history = load_history(local.settings.market, local.directory)
    assert history.simulated
    assert history.hours == HISTORY_HOURS
    assert history_hash(history) == load_committee(local.directory / "committee.json").history_hash
    assert history.first_hour + history.hours * 3_600 <= chain_time(local.devnet) + 3_600


def test_the_example_pool_asks_the_oracle(local: LocalNode) -> None:
    (oracle,) = local.call("ExamplePool", local.network.pool, "oracle")
    assert Address(str(oracle)) == local.network.oracle


async def test_a_second_network_in_the_directory_keeps_the_keys_and_the_old_rounds(
    chain: Devnet, tmp_path: Path, prepare: Prepare
) -> None:
    first = prepare(chain, tmp_path)
    await first.run(1)
    keys = (tmp_path / "keys" / "public.json").read_text()
    second = prepare(chain, tmp_path)
    assert second.network.oracle != first.network.oracle
    await second.run(1)
    assert (tmp_path / "keys" / "public.json").read_text() == keys
    with second.database() as database:
        digests = database.execute("SELECT DISTINCT config_digest FROM reports").fetchall()
    assert len(digests) == 2
