"""Seven real nodes on a local chain, two of which lie, for hundreds of rounds over a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest

from aggregator.parameters import load_parameters
from aggregator.warm_up import enter_every_kernel
from attest.agreement.rules import AgreementRules
from attest.agreement.state_format import decode_state
from attest.keys.keystore import open_identity, open_keystore
from devnet.launch import start_devnet
from devnet.local_chain import Devnet
from devnet.prices import answer_again
from node.clock import SystemClock
from node.gossip.brokers import open_brokers
from node.gossip.opening import broker_address
from node.gossip.topics import topics_of
from node.local.broker import local_broker
from node.local.network import BEHIND_THE_HEAD, LocalNetwork, prepare_local_network, simulated_factors
from node.local.operators import LocalOperator
from node.local.processes import node_processes
from node.settings import load_settings
from node.status import NodeStatus
from riskschema.units import Hash32
from storage.store import open_store_to_read
from tests.network.lying_operator import KINDS, LyingOperator
from tests.node.gossip.running_brokers import require_mosquitto
from tests.soak.committee_watch import accused_in, measured, same_reports, tell, transactions_in
from tests.soak.rows import Tally

pytestmark = [
    pytest.mark.soak,
    pytest.mark.chain,
    pytest.mark.timeout(7_200),
    pytest.mark.xdist_group("node"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc: processor time of other processes"),
]

SEED = 7
NODES, LYING = 7, (1, 4)
ROUNDS, SLOT_SECONDS = 200, 5


@pytest.mark.parametrize("broker", ["mosquitto", "embedded"])
async def test_every_round_that_a_correct_operator_leads_is_certified_and_none_is_wrong(
    broker: str, tmp_path: Path, scale: float, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broker == "mosquitto":
        require_mosquitto()
    else:
        monkeypatch.setattr("node.local.broker.find_mosquitto", lambda: None)
    monkeypatch.setattr("node.local.network.round_seconds", lambda _nodes: SLOT_SECONDS)
    await asyncio.to_thread(tmp_path.chmod, 0o700)
    wanted = max(round(ROUNDS * scale), 2 * len(KINDS))
    await asyncio.to_thread(enter_every_kernel, load_parameters())  # compiled once for all nodes
    async with start_devnet() as devnet:
        now = int(time.time()) + SLOT_SECONDS
        prepare = partial(prepare_local_network, now=now, nodes=NODES, confirmations=BEHIND_THE_HEAD)
        network = await asyncio.to_thread(prepare, devnet, tmp_path, port=0)
        correct = [operator for index, operator in enumerate(network.operators) if index not in LYING]
        rules = AgreementRules.of(network.committee)
        serving = local_broker(tmp_path, network.committee, network.operators, port=network.broker_port)
        async with serving, liars(network) as lying, node_processes(correct) as nodes:
            delivered = lying[0].delivered

            async def in_between() -> None:
                nodes.check()
                await asyncio.to_thread(answer_again, devnet)

            pids = [process.pid for _, process in nodes._running]
            slots, cost = await measured(delivered, wanted, pids, in_between)
        await judge(devnet, network, rules, correct)
    signed = transactions_in(operator.directory / network.settings.database for operator in correct)
    seconds = {each: delivered[each] - rules.slot_start(each) if each in delivered else None for each in slots}
    tally.seeds = str(SEED)
    tally.count(broker=broker, operators=NODES, liars=len(LYING), ways_to_lie=len(KINDS))
    tell(tally, rules, seconds, cost, LYING)
    tally.count(reports_published=len(signed), transactions=signed.total())
    tally.table = "rounds with liars"
    missing = [each for each, taken in seconds.items() if taken is None and rules.leader(each) not in LYING]
    assert not missing, f"rounds {missing} have correct leaders and no certificate"
    twice = [number for number, times in signed.items() if times > 1]
    assert not twice, f"reports of rounds {twice} were sent by more than one publisher"


async def judge(devnet: Devnet, network: LocalNetwork, rules: AgreementRules, correct: Sequence[LocalOperator]) -> None:
    """All correct nodes have the same reports, of the feeds' own prices; evidence is against liars only."""
    databases = [operator.directory / network.settings.database for operator in correct]
    certified = same_reports(databases)
    true = {each.factor: each.price for each in simulated_factors(devnet)}
    for database in databases:
        assert accused_in(database) <= set(LYING)
        async with open_store_to_read(database) as store:
            for number, certificate in certified.items():
                digest, report = Hash32(rules.config_digest), Hash32(certificate.report_hash)
                kept = await store.report_of(digest, number, report)
                values = {} if kept is None else {each.factor: each.value for each in decode_state(kept.state).values}
                assert values in ({}, true), f"round {number}"
    assert any(accused_in(database) for database in databases), "who contradicts itself is found out"


@asynccontextmanager
async def liars(network: LocalNetwork) -> AsyncIterator[list[LyingOperator]]:
    """Let some operators lie, each over its own connection."""
    rules = AgreementRules.of(network.committee)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(liar(rules, network.operators[index], index)) for index in LYING]


@asynccontextmanager
async def liar(rules: AgreementRules, operator: LocalOperator, me: int) -> AsyncIterator[LyingOperator]:
    settings = load_settings(operator.config_file)
    assert settings.keys is not None
    password = operator.directory / settings.keys.password_file
    address = broker_address(settings.network.brokers[0], settings.keys, operator.directory)
    interval, topics = float(rules.committee.round_interval_seconds), topics_of(rules.committee, me)
    status = NodeStatus(round_interval=interval)
    async with open_brokers([address], topics, interval=interval, status=status, clock=SystemClock()) as transport:
        lying = LyingOperator(
            rules,
            me=me,
            partners=frozenset(LYING),
            sign=open_identity(operator.directory / settings.keys.identity, password).sign,
            sign_digest=open_keystore(operator.directory / settings.keys.attestation, password).sign,
            transport=transport,
            random=Random(f"{SEED}/{me}"),
        )
        running = asyncio.create_task(lying.run())
        try:
            yield lying
            if running.done():
                running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
