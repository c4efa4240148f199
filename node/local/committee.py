"""`plimsoll run --devnet` with several operators: their processes, their broker, and what is seen of their rounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import click

from adapters.chains.reader import majority
from attest.agreement.rules import AgreementRules
from attest.agreement.state_format import decode_state
from attest.formats.certificate import decode_certificate, signer_indices
from attest.formats.committee import config_digest
from contracts.calls import decode_event, event_topic
from devnet.local_chain import Devnet
from node.commands.run_node import OnceReport
from node.local.broker import local_broker
from node.local.logs import step_seconds
from node.local.network import LocalNetwork
from node.local.processes import Nodes, node_processes
from node.local.screen import Screen
from node.loop.stopping import Stopping, StopRequest
from node.round.result import RoundResult
from node.settings import Chain, endpoints_of
from riskschema.codec import encode_json
from riskschema.errors import TransientError
from riskschema.ports import PublishedTransaction
from riskschema.rounds import RoundStep, StoredReport
from riskschema.units import Hash32
from storage.store import SqlStore, open_store_to_read

LOOK_SECONDS = 0.25
LONGEST_ONCE = 240.0
"""How long `--once` waits for the first report on the chain."""


class SeenRound:
    """A certified round, with when it was seen and what the chain knows of it."""

    def __init__(self, result: RoundResult, *, leader: int, lateness: float) -> None:
        self.result = result
        self.leader = leader
        self.lateness = lateness

    def __str__(self) -> str:
        """Return by whom it was signed, who led, and how long after the slot began it was there."""
        signers = " ".join(str(index + 1) for index in signer_indices(self.result.certificate))
        return f"signed by {signers}, led by {self.leader + 1}, {self.lateness:.1f} s into its slot"


async def run_committee(
    devnet: Devnet,
    network: LocalNetwork,
    stop: StopRequest,
    *,
    faulty: int,
    once: bool,
    screen: Screen,
    on_round: Callable[[SeenRound], None],
    on_serving: Callable[[str, str], None],
) -> None:
    """Run broker and nodes until a signal, or until one report with a quorum's signatures is on the chain.

    Raises:
        TransientError: a node or the broker ended, or with `once` no report came.
        KeyboardInterrupt: with `once`, if stopped before.
    """
    operators, directory = network.operators, network.operators[0].directory.parent
    try:
        async with local_broker(directory, network.committee, operators, port=network.broker_port) as broker:
            screen.say(f"{broker} on port {network.broker_port}; starting {len(operators)} nodes, each a process")
            async with node_processes(operators, faulty=faulty) as nodes:
                api = network.settings.api
                on_serving(f"http://127.0.0.1:{api.port}", f"http://127.0.0.1:{network.settings.monitoring.port}")
                rounds = _rounds(devnet, network, nodes, stop, until_landed=once)
                named: set[tuple[int, str, str]] = set()
                async for seen in rounds:
                    on_round(seen)
                    for line in await _evidence(network, named):
                        screen.write(line)
                    if once:
                        click.echo(encode_json(await _once_report(network, seen)))
                        return
    except Stopping:
        if once:
            raise KeyboardInterrupt from None
        screen.say("stopped")


async def _rounds(
    devnet: Devnet, network: LocalNetwork, nodes: Nodes, stop: StopRequest, *, until_landed: bool
) -> AsyncIterator[SeenRound]:
    """Yield every round that the first operator has certified, as its database tells."""
    rules = AgreementRules.of(network.committee)
    database = network.operators[0].directory / network.settings.database
    begun, last = time.monotonic(), 0
    while True:
        nodes.check()
        if until_landed and time.monotonic() - begun > LONGEST_ONCE:
            raise TransientError(f"no report within {LONGEST_ONCE:g} s: see the operators' logs", code="deadline")
        await stop.sleep(asyncio.sleep(LOOK_SECONDS))
        with suppress(TransientError):  # the node has not made its database yet
            async with open_store_to_read(database) as store:
                report = await _newest(store, rules)
                if report is None or report.round <= last:
                    continue
                transaction = await asyncio.to_thread(accepted_transaction, devnet, network, report.round)
                if until_landed and transaction is None:
                    continue
                last = report.round
                yield _seen(rules, report, transaction)


async def _evidence(network: LocalNetwork, named: set[tuple[int, str, str]]) -> list[str]:
    """Return a line for each proof that the first operator holds and that is not among `named`; add it there."""
    database = network.operators[0].directory / network.settings.database
    async with open_store_to_read(database) as store:
        found = await store.evidence(Hash32(config_digest(network.committee)))
    lines = []
    for each in found:
        key = (each.round, each.kind, each.sender)
        if key not in named:
            named.add(key)
            lines.append(f"named: operator {int(each.sender) + 1} said two things, {each.kind} of round {each.round}")
    return lines


async def _newest(store: SqlStore, rules: AgreementRules) -> StoredReport | None:
    return await store.latest_certified(Hash32(rules.config_digest))


def _seen(rules: AgreementRules, report: StoredReport, transaction: PublishedTransaction | None) -> SeenRound:
    certificate = decode_certificate(report.certificate or b"")
    pins = decode_state(report.state).pins
    result = RoundResult(
        round=report.round,
        certificate=certificate,
        accounts=certificate.header.account_count,
        pins=tuple((pin.chain_id, pin.number) for pin in pins),
        landing=transaction,
    )
    lateness = time.time() - rules.slot_start(report.round)
    return SeenRound(result, leader=rules.leader(report.round), lateness=lateness)


def accepted_transaction(devnet: Devnet, network: LocalNetwork, round_number: int) -> PublishedTransaction | None:
    """Return the transaction by which the contract accepted a round with a quorum's signatures."""
    quorum = AgreementRules.of(network.committee).certifying
    topics = [event_topic("RiskOracle", "ReportAccepted"), "0x" + round_number.to_bytes(32, "big").hex()]
    query = {"address": network.oracle, "fromBlock": "0x0", "toBlock": "latest", "topics": topics}
    for log in devnet.anvil.rpc.request("eth_getLogs", query):
        given = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        event = decode_event("RiskOracle", "ReportAccepted", topics=given, data=bytes.fromhex(log["data"][2:]))
        if int(event["bitmap"]).bit_count() >= quorum:
            receipt = devnet.anvil.rpc.request("eth_getTransactionReceipt", log["transactionHash"])
            return PublishedTransaction(
                chain_id=devnet.deployment.chain_id,
                hash=Hash32(log["transactionHash"]),
                block_number=int(log["blockNumber"], 16),
                gas_used=int(receipt["gasUsed"], 16),
            )
    return None


async def _once_report(network: LocalNetwork, seen: SeenRound) -> OnceReport:
    """Return what `--once` prints, with the times that an operator tells once its part of the round is over."""
    result, seconds = seen.result, dict[RoundStep, float]()
    for _ in range(int(network.committee.round_interval_seconds / LOOK_SECONDS)):
        seconds = step_seconds(network.operators, result.round)
        if seconds:
            break
        await asyncio.sleep(LOOK_SECONDS)
    transaction = result.transaction
    return OnceReport(
        round=result.round,
        block=result.pins[0][1],
        accounts=result.accounts,
        transaction=None if transaction is None else transaction.hash,
        gas=None if transaction is None else transaction.gas_used,
        signers=len(result.certificate.signatures),
        seconds=seconds,
        agreement={str(chain.chain_id): _agreement(chain) for chain in network.settings.chains},
    )


def _agreement(chain: Chain) -> str:
    endpoints = len(endpoints_of(chain))
    return f"{chain.agreement or majority(endpoints)} of {endpoints}"
