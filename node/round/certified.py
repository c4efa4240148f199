"""What follows from a certificate: the state and its hours are kept, the report is published, old rounds make room."""

from __future__ import annotations

from attest.agreement.effects import CertificateReady
from attest.agreement.state_format import encode_state
from attest.formats.certificate import Certificate, encode_certificate, signer_indices
from attest.formats.header import encode_header
from node.publishing.transmitter import Landing
from node.round.hourly_prices import encode_hours
from node.round.node import Node
from node.round.result import RoundResult
from node.round.retention import make_room
from node.round.work import Brought, nothing
from riskschema.errors import TransientError
from riskschema.rounds import RoundStep, StoredReport
from riskschema.units import Hash32

RETENTION = "retention"
"""The component that fails where old rounds cannot be deleted."""


async def keep_certified(node: Node, ready: CertificateReady) -> None:
    """Keep the hours, then the certificate: a certified state whose hours are lost could not be continued."""
    certificate, state = ready.certificate, ready.state
    header = certificate.header
    hours = node.hourly_prices.completed_by(state.hours)
    if hours:
        await node.store.put_hours(node.config_digest, encode_hours(hours))
    stored = StoredReport(
        config_digest=node.config_digest,
        round=header.round,
        report_hash=Hash32(certificate.report_hash),
        header=encode_header(header),
        state=encode_state(state),
        certificate=encode_certificate(certificate),
    )
    await node.store.certify(stored)
    node.hourly_prices.keep(hours)
    node.status.certify(header.round, at=node.clock.now())
    node.metrics.reported(accounts=header.account_count, coverage_ppm=header.coverage_ppm)
    node.peers.certified(header.round, certificate.report_hash, signer_indices(certificate))


async def publish(node: Node, ready: CertificateReady) -> Brought:
    """Bring the report to the contract when it is this node's turn, and make room in the store."""
    header = ready.certificate.header
    seconds = dict(node.seconds)  # the next round may begin while this one waits for its transaction
    async with node.step(RoundStep.PUBLISH, header.round):
        await _make_room(node, header.round)
        landing = await _hand_on(node, ready.certificate)
    result = RoundResult(
        round=header.round,
        certificate=ready.certificate,
        accounts=header.account_count,
        pins=tuple((pin.chain_id, pin.number) for pin in ready.state.pins),
        seconds=seconds | {RoundStep.PUBLISH: node.seconds[RoundStep.PUBLISH]},
        landing=landing,
    )
    node.ended.append(result)
    return nothing


async def _hand_on(node: Node, certificate: Certificate) -> Landing:
    if node.transmitter is None:
        return None
    round_number = certificate.header.round
    interval = float(node.rules.committee.round_interval_seconds)  # a clock that went back must not hold up the rounds
    remaining = min(max(0.0, node.rules.slot_start(round_number + 1) - node.clock.now()), interval)
    patience = None if node.work.until_landed else remaining
    return await node.transmitter.send(certificate, patience=patience, stage=stage(node, round_number))


def stage(node: Node, round_number: int) -> int:
    """Return how many operators try before this one to bring a round's report to the contract: its leader is first."""
    order = node.rules.leaders
    return (order.index(node.me) - round_number) % node.rules.n


async def _make_room(node: Node, round_number: int) -> None:
    """Delete what is not kept any more; where that fails it is told, and the report is published all the same."""
    try:
        node.metrics.stored(await make_room(node.store, node.config_digest, node.retention, round_number))
    except TransientError as error:
        node.status.fail(RETENTION, error.code, at=node.clock.now(), detail=error.message)
    else:
        node.status.recover(RETENTION, at=node.clock.now())
