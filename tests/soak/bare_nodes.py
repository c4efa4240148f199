"""Nodes without chains: the real loop, guard, store, keys and gossip; what they read and assess is made up alike.

    python -m tests.soak.bare_nodes FOLDER URL INDEX...

runs those operators of the committee in FOLDER until standard input ends. Prints every round and the Unix time at which
the broker delivered its first certificate to one of them. (`tests/soak/test_many_operators.py` starts it.)
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from unittest.mock import patch

from aggregator.parameters import load_parameters
from attest.agreement.effects import Observe, OutcomeReady
from attest.agreement.machine import RoundMachine
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState, genesis_state
from attest.agreement.state_format import encode_state
from attest.encoding.keccak import keccak256
from attest.formats.certificate import decode_certificate
from attest.formats.committee import Committee, ObservedChain, round_at
from attest.formats.eip712 import sign_digest
from attest.formats.header import ReportHeader, encode_header, report_hash
from attest.formats.parameters import AgreementParameters
from attest.hours.table import history_hash
from attest.keys.guard import create_guard, open_guard
from attest.keys.keystore import open_identity
from attest.reports.report import Model
from attest.wire.messages import Observation
from node.clock import SystemClock
from node.committee_file import load_committee, write_committee
from node.gossip.brokers import BrokerTransport, open_brokers
from node.gossip.topics import topics_of
from node.gossip.transport import Channel
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest
from node.peers import Peers
from node.publishing.rules import PublishingRule
from node.round.exchange.fetching import CatchUp
from node.round.hourly_prices import HourlyPrices, completed_hours
from node.round.node import Node, thread_executor
from node.round.retention import retention
from node.status import NodeStatus
from node.telemetry import Metrics, configure_logging
from riskschema.buffers import Column
from riskschema.market import HourlyHistory
from riskschema.rounds import StoredReport
from riskschema.units import Hash32
from storage.store import open_store
from tests.attest.agreement.round_kit import CHAIN, observation, report
from tests.builders.reports import signer_of
from tests.node.gossip.running_brokers import PASSWORD, Member, RunningBroker, make_members

COMMITTEE = "committee.json"
TRUSTED = "broker.pem"
"""Name of the broker's certificate, where it has one."""
FIRST_ROUND_IN = 8.0
"""Seconds until the genesis: time to start."""


class PlainSigner:
    """An attestation key whose secret everybody knows."""

    def __init__(self, index: int) -> None:
        self._key = keccak256(bytes([index]))
        self.address = signer_of(self._key)

    def sign(self, digest: bytes) -> bytes:
        return sign_digest(digest, self._key)


def found(folder: Path, n: int, *, interval: int) -> tuple[Committee, tuple[Member, ...]]:
    """Make keys, and the committee file of nodes without chains."""
    genesis = int(time.time() + FIRST_ROUND_IN)
    council, members = make_members(
        folder,
        n,
        chains=(ObservedChain(chain_id=CHAIN, genesis_hash=keccak256(b"genesis")),),
        history_hash=history_hash(history(genesis)),
        genesis_time=genesis,
        round_interval_seconds=interval,
        parameters=AgreementParameters(factors=("BTC", "ETH")),
    )
    write_committee(folder / COMMITTEE, council)
    return council, members


def history(genesis: int) -> HourlyHistory:
    """Three hours of two factors before the genesis."""
    closes = [10**12 * price for price in (50_000, 50_100, 50_200, 3_000, 3_010, 3_020)]
    column = Column(dtype="int64", shape=(2, 3), data=b"".join(price.to_bytes(8, "little") for price in closes))
    first = genesis - genesis % 3_600 - 3 * 3_600
    return HourlyHistory(
        first_hour=first, factors=("BTC", "ETH"), close=column, high=column, low=column, simulated=True
    )


async def look(node: Node, asked: Observe) -> Observation:
    """See a block a second, and prices that stand still."""
    now = int(node.clock.now())
    return observation(now, head=now, highest=asked.highest_certified)


async def make_bare_report(node: Node, ready: OutcomeReady) -> tuple[ReportHeader, AgreedState]:
    """Report no accounts; kept as a real report is."""
    hours = completed_hours(ready.parent_state.hours, ready.outcome)
    header, state = report(node.rules, ready.outcome, ready.parent_state)
    stored = StoredReport(
        config_digest=node.config_digest,
        round=header.round,
        report_hash=Hash32(report_hash(header)),
        header=encode_header(header),
        state=encode_state(state),
        certificate=None,
    )
    await node.store.put_report(stored, (), b"{}")
    node.hourly_prices.expect(state.hours, hours)
    return header, state


@asynccontextmanager
async def bare_node(folder: Path, broker: RunningBroker, index: int) -> AsyncIterator[Node]:
    """Open one, with files of its own below the folder."""
    council = broker.council
    rules, genesis = AgreementRules.of(council), history(council.genesis_time)
    own = folder / f"node{index}"
    own.mkdir(mode=0o700, exist_ok=True)
    signer, identity = PlainSigner(index), open_identity(broker.members[index].key, lambda: PASSWORD)
    status, parameters = NodeStatus(round_interval=council.round_interval_seconds), load_parameters()
    clock, metrics = SystemClock(), Metrics(status)
    async with AsyncExitStack() as stack:
        if not (own / "guard").exists():
            create_guard(own / "guard", signer.address)
        guard = stack.enter_context(open_guard(own / "guard", signer.address))
        store = await stack.enter_async_context(open_store(own / "plimsoll.sqlite"))
        last = await store.latest_adopted(Hash32(rules.config_digest))
        assert last is None, "a bare node starts once"
        state = genesis_state(rules, genesis)
        topics, interval = topics_of(council, index), float(council.round_interval_seconds)
        opened = open_brokers([broker.address(index)], topics, interval=interval, status=status, clock=clock)
        transport = await stack.enter_async_context(opened)
        slot = round_at(council, max(int(clock.now()), council.genesis_time))
        first_round = max(guard.enter(rules.config_digest, slot, parent_round=0), 1)
        machine = RoundMachine(rules, me=index, sign=identity.sign, state=state, sign_from=first_round)
        transport.repeat_on_connecting(machine.own_messages)
        yield Node(
            rules=rules,
            me=index,
            first_round=first_round,
            machine=machine,
            sign=identity.sign,
            clock=clock,
            chains={},
            venues=(),
            indexes=(),
            sources=(),
            groups={},
            hourly_prices=HourlyPrices(genesis, council.history_hash, parameters.history_window_hours),
            transport=transport,
            catch_up=CatchUp(),
            peers=Peers(rules.n, rules.slot_start_ms, metrics.registry),
            parameters=parameters,
            model=Model(parameters_hash=Hash32(bytes(32)), version=1),
            executor=stack.enter_context(thread_executor()),
            store=store,
            guard=guard,
            signer=signer,
            destination=None,
            transmitter=None,
            rule=PublishingRule(heartbeat=0, deviation_ppm=0),
            stage_seconds=0.0,
            retention=retention(rounds=1_000, days=None, megabytes=1_000, interval_seconds=int(interval)),
            status=status,
            metrics=metrics,
        )


def tell_deliveries() -> Callable[[BrokerTransport, str, str, bytes], None]:
    """Return a way for transports to take what brokers bring, which prints the first certificate of every round."""
    take, told = BrokerTransport._take, set[int]()

    def take_and_tell(transport: BrokerTransport, broker: str, topic: str, payload: bytes) -> None:
        if topic.endswith(f"/{Channel.CERTIFICATE}"):
            number = decode_certificate(payload).header.round
            if number not in told:
                told.add(number)
                print(number, time.time(), flush=True)
        take(transport, broker, topic, payload)

    return take_and_tell


async def main(folder: Path, url: str, indices: list[int]) -> None:
    """Run operators until standard input ends."""
    council = load_committee(folder / COMMITTEE)
    members = [
        Member(index=each, name="", certificate=folder / f"identity{each}.crt", key=folder / f"identity{each}.pem")
        for each in range(len(council.operators))
    ]
    trusted = folder / TRUSTED if url.startswith("mqtts") else None
    broker, stop = RunningBroker(council, members, url, trusted), StopRequest()

    asyncio.get_running_loop().add_reader(sys.stdin, stop.ask)
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(bare_node(folder, broker, index)) for index in indices]
        await asyncio.gather(*(run_rounds(node, stop) for node in opened))


if __name__ == "__main__":
    configure_logging(level="ERROR")
    with (
        patch("node.round.round.observe", look),
        patch("node.round.round.make_report", make_bare_report),
        patch.object(BrokerTransport, "_take", tell_deliveries()),
    ):
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2], [int(each) for each in sys.argv[3:]]))
