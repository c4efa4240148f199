"""Four operators that all publish: the contract gets every report once, with the signatures of a quorum."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contracts.calls import decode_event, event_topic
from node.local.network import LocalNetwork
from tests.node.gossip.running_brokers import require_mosquitto
from tests.soak.committee_watch import accused_in, same_reports, transactions_in
from tests.soak.local_committee import DATABASE, LocalCommittee, local_committee, newest_certified
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.chain, pytest.mark.timeout(7_200), pytest.mark.xdist_group("node")]

PUBLISHERS = 4
ROUNDS = 50
QUORUM = 3


async def test_one_transaction_is_sent_per_report(tmp_path: Path, scale: float, tally: Tally) -> None:
    require_mosquitto()
    wanted = max(round(ROUNDS * scale), 5)
    async with local_committee(tmp_path, nodes=PUBLISHERS) as running:
        network = running.network
        directories = [operator.directory for operator in network.operators]
        for directory in directories:
            await running.start(directory)
        await running.everyone_has(directories, 1)
        while len(accepted(running)) < wanted:
            await running.everyone_has(directories, newest_certified(directories[0]) + 1)
        await running.stop()  # each finishes what it is sending
        bitmaps = accepted(running)
        sent = await asyncio.to_thread(nonces, running)
    databases = [directory / DATABASE for directory in directories]
    signed = transactions_in(databases)
    certified = same_reports(databases)
    tally.count(publishers=PUBLISHERS, certified=len(certified), accepted=len(bitmaps), transactions=sum(sent))
    tally.count(by_operator=" ".join(map(str, sent)), fewest_signers=min(map(int.bit_count, bitmaps.values())))
    assert not any(accused_in(database) for database in databases)
    assert all(bitmap.bit_count() >= QUORUM for bitmap in bitmaps.values())
    twice = [number for number, times in signed.items() if times > 1]
    assert not twice, f"reports of rounds {twice} were signed for by more than one publisher"
    assert sum(sent) == len(bitmaps), "as the chain counts them, one transaction for each report that it has"
    assert sum(count > 0 for count in sent) == PUBLISHERS, "all take turns"


def accepted(running: LocalCommittee) -> dict[int, int]:
    """Return the bitmap of signers, by round, that the contract itself tells of each report it accepted."""
    network, topic = running.network, event_topic("RiskOracle", "ReportAccepted")
    query = {"address": network.oracle, "fromBlock": "0x0", "toBlock": "latest", "topics": [topic]}
    found: dict[int, int] = {}
    for log in running.devnet.anvil.rpc.request("eth_getLogs", query):
        topics = [bytes.fromhex(each[2:]) for each in log["topics"]]
        event = decode_event("RiskOracle", "ReportAccepted", topics=topics, data=bytes.fromhex(log["data"][2:]))
        assert event["round"] not in found
        found[event["round"]] = int(event["bitmap"])
    return found


def nonces(running: LocalCommittee) -> list[int]:
    """Return how many transactions each operator's account has sent, as the chain counts them: failed ones, too."""
    network: LocalNetwork = running.network
    request = running.devnet.anvil.rpc.request
    return [int(request("eth_getTransactionCount", each.keys.transmitter, "latest"), 16) for each in network.operators]
