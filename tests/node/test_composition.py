"""Opening a node: settings that contradict committee, keys or chain are refused by name, and nothing is written."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from attest.keys.keystore import create_identity, create_keystore
from node.committee_file import load_committee, write_committee
from node.key_files import ATTESTATION, IDENTITY, PASSWORD, read_public_keys
from node.settings import Chain
from riskschema.errors import FatalError, InvalidData, PlimsollError, TransientError
from riskschema.units import Address, Hash32
from tests.node.local_node import CHEAP_SCRYPT, LocalNode, certified_rounds

pytestmark = pytest.mark.chain

STRANGE_HASH = Hash32("0x" + "ab" * 32)
STRANGER = Address("0x" + "cd" * 20)


async def refusal(local: LocalNode) -> PlimsollError:
    """Open the node, which must fail and leave no database behind."""
    with pytest.raises(PlimsollError) as refused:
        async with local.open():
            pass
    assert not list(local.directory.glob("*.sqlite*"))
    return refused.value


def change(local: LocalNode, **fields: Any) -> None:
    local.settings = msgspec.structs.replace(local.settings, **fields)


def change_chain(local: LocalNode, **fields: Any) -> None:
    chain: Chain = msgspec.structs.replace(local.settings.chains[0], **fields)
    change(local, chains=(chain,))


async def test_what_the_local_network_writes_opens(local: LocalNode) -> None:
    async with local.open() as node:
        assert node.first_round == 1
        assert node.me == 0


@pytest.mark.parametrize("table", ["keys", "committee_file"])
async def test_a_missing_table_is_named(local: LocalNode, table: str) -> None:
    change(local, **{table: None})
    assert table in (await refusal(local)).message


async def test_a_missing_history_is_named(local: LocalNode) -> None:
    change(local, market=msgspec.structs.replace(local.settings.market, history_file=None))
    assert "market.history_file" in (await refusal(local)).message


async def test_a_group_that_contradicts_the_factor_list_is_named(local: LocalNode) -> None:
    groups = {**local.settings.market.groups, "BTC": "large"}
    change(local, market=msgspec.structs.replace(local.settings.market, groups=groups))
    assert (await refusal(local)).message == "market.groups.BTC: the factor list says btc, not large"


async def test_a_venue_that_the_committee_does_not_read_is_named(local: LocalNode) -> None:
    change_chain(local, venues=local.settings.chains[0].venues[:3])
    error = await refusal(local)
    assert isinstance(error, InvalidData)
    assert "wallet:31337" in error.message
    assert "[[chains.venues]]" in error.message


async def test_venues_in_another_order_are_refused_for_each_has_its_bit(local: LocalNode) -> None:
    change_chain(local, venues=tuple(reversed(local.settings.chains[0].venues)))
    assert "in the same order" in (await refusal(local)).message


async def test_another_start_block_is_refused_for_it_finds_other_accounts(local: LocalNode) -> None:
    venues = [dict(venue) for venue in local.settings.chains[0].venues]
    venues[1]["start_block"] = 7
    change_chain(local, venues=tuple(venues))
    singleton = Address(local.devnet.deployment.morpho.singleton)
    assert f"('morpho_blue:31337:{singleton}', 31337, 7)" in (await refusal(local)).message


async def test_a_chain_of_another_genesis_is_named(local: LocalNode) -> None:
    change_chain(local, genesis_hash=STRANGE_HASH)
    error = await refusal(local)
    assert f"genesis {local.network.settings.chains[0].genesis_hash}" in error.message


async def test_an_endpoint_of_another_chain_is_a_matter_for_a_person(local: LocalNode) -> None:
    committee = load_committee(local.directory / "committee.json")
    chains = (msgspec.structs.replace(committee.chains[0], genesis_hash=STRANGE_HASH.to_bytes()),)
    write_committee(local.directory / "committee.json", msgspec.structs.replace(committee, chains=chains))
    change_chain(local, genesis_hash=STRANGE_HASH)
    error = await refusal(local)
    assert isinstance(error, FatalError)
    assert error.code == "wrong_chain"


async def test_an_endpoint_that_does_not_answer_is_named(local: LocalNode) -> None:
    change_chain(local, rpc_url="http://127.0.0.1:9/secret-key", timeout=0.3)
    error = await refusal(local)
    assert isinstance(error, TransientError)
    assert "http://127.0.0.1:9" in error.message
    assert "secret" not in error.message


async def test_a_destination_that_the_signatures_do_not_count_for_is_named(local: LocalNode) -> None:
    assert local.settings.publish is not None
    change(local, publish=msgspec.structs.replace(local.settings.publish, oracle=STRANGER))
    assert str(STRANGER) in (await refusal(local)).message


async def test_a_destination_without_a_contract_is_refused_before_a_round(local: LocalNode) -> None:
    path = local.directory / "committee.json"
    committee = load_committee(path)
    destinations = (msgspec.structs.replace(committee.destinations[0], oracle=STRANGER),)
    write_committee(path, msgspec.structs.replace(committee, destinations=destinations))
    assert local.settings.publish is not None
    change(local, publish=msgspec.structs.replace(local.settings.publish, oracle=STRANGER))
    with pytest.raises(InvalidData, match=f"no contract at {STRANGER} on chain 31337: make one with `plimsoll deploy`"):
        async with local.open():
            pass


async def test_a_node_that_does_not_publish_certifies_and_says_so(local: LocalNode) -> None:
    sent = transactions(local)
    change(local, publish=None)
    with capture_logs() as logged:
        results = await local.run(2)
    assert [result.landing for result in results] == [None, None]
    assert transactions(local) == sent == 0
    assert local.accepted() == {}
    with closing(local.database()) as database:
        certified = database.execute("SELECT round FROM reports WHERE certificate IS NOT NULL").fetchall()
    assert sorted(number for (number,) in certified) == [result.round for result in results]
    assert [event["log_level"] for event in logged if event["event"] == "not publishing"] == ["info"]


async def test_an_account_without_coin_is_told_at_the_start_and_costs_no_round(local: LocalNode) -> None:
    account = read_public_keys(local.directory / "keys").transmitter
    had = int(local.devnet.anvil.rpc.request("eth_getBalance", account, "latest"), 16)
    local.devnet.anvil.set_balance(account, 0)
    with capture_logs() as logged:
        async with local.open() as node:
            assert "transmitter_unfunded" in node.status.ready(node.clock.now())
            (first,) = await certified_rounds(node, 1)
            assert isinstance(first.landing, TransientError)
            assert first.landing.code == "transmitter_unfunded"
            local.devnet.anvil.set_balance(account, had)
            (second,) = await certified_rounds(node, 1)
            assert "transmitter_unfunded" not in node.status.ready(node.clock.now())
    assert local.accepted().keys() == {first.round, second.round}, "what could not be paid was kept"
    (failure,) = [event for event in logged if event["event"] == "failed"]
    assert f"{account} on chain 31337 has nothing to pay with: send it some" in failure["detail"]


def transactions(local: LocalNode) -> int:
    """Return how many transactions of the transmitter are in the chain."""
    account = read_public_keys(local.directory / "keys").transmitter
    return int(local.devnet.anvil.rpc.request("eth_getTransactionCount", account, "latest"), 16)


@pytest.mark.parametrize("rounds", [0, 1])
async def test_another_history_than_the_committees_is_refused_with_both_hashes(local: LocalNode, rounds: int) -> None:
    for _ in range(rounds):
        await local.run(1)
    path = local.directory / "history.json"
    path.write_text(path.read_text().replace('"simulated":true', '"simulated":false'))
    committee = load_committee(local.directory / "committee.json")
    with pytest.raises(InvalidData, match=committee.history_hash.hex()):
        async with local.open():
            pass


@pytest.mark.parametrize(("name", "code"), [(ATTESTATION, "key_unreadable"), (IDENTITY, "key_unreadable")])
async def test_a_key_that_the_committee_does_not_name_is_refused(local: LocalNode, name: str, code: str) -> None:
    keys = local.directory / "keys"
    (keys / name).unlink()
    (keys / f"{name}.guard").unlink(missing_ok=True)
    if name == ATTESTATION:
        create_keystore(keys / name, keys / PASSWORD, scrypt_cost=CHEAP_SCRYPT)
    else:
        create_identity(keys / name, keys / PASSWORD)
    error = await refusal(local)
    assert isinstance(error, FatalError)
    assert error.code == code
    assert "committee" in error.message


async def test_two_processes_do_not_sign_with_one_key(local: LocalNode, tmp_path: Path) -> None:
    async with local.open():
        with pytest.raises(FatalError, match="held by another process"):
            async with local.open():
                pass


async def test_a_guard_that_was_lost_keeps_the_node_from_signing_near_the_present(local: LocalNode) -> None:
    (first,) = await local.run(1)
    (local.directory / "keys" / f"{ATTESTATION}.guard").unlink()
    async with local.open() as node:
        assert node.first_round >= first.round + 2


async def test_a_database_that_was_lost_costs_no_safety(local: LocalNode) -> None:
    (first,) = await local.run(1)
    for file in local.directory.glob("*.sqlite*"):
        file.unlink()
    results = await local.run(1)
    assert results[0].round > first.round
    assert all(len(reports) == 1 for reports in local.signed().values())
