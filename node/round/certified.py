"""What follows from a certificate: the state and its hours are kept, the report is published, old rounds make room."""

from __future__ import annotations

from functools import partial

from attest.agreement.effects import CertificateReady
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState
from attest.agreement.state_format import decode_state, encode_state
from attest.formats.certificate import Certificate, encode_certificate, signer_indices
from attest.formats.header import ReportHeader, decode_header, encode_header
from node.publishing.rules import Published, is_due
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
        patience = _patience(node, header.round)
        landing = await hand_on(node, ready.certificate, ready.state, patience=patience)
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


async def hand_on(node: Node, certificate: Certificate, state: AgreedState, *, patience: float | None) -> Landing:
    """Publish a certified report where it is due, once those had their turn who come before this operator.

    Args:
        node: Which may have no transmitter.
        certificate: Of the report.
        state: After it.
        patience: Seconds to wait for its transaction; None: until it lands.
    """
    if node.transmitter is None:
        return None
    wait = stage(node.rules, node.me, certificate.header.round) * node.stage_seconds
    rule = None if node.rule.publishes_all else partial(_is_due, node, _published(certificate.header, state))
    return await node.transmitter.send(certificate, patience=patience, wait=wait, is_due=rule)


def stage(rules: AgreementRules, me: int, round_number: int) -> int:
    """Return how many operators try before one to bring a round's report to the contract: its leader is first."""
    return (rules.leaders.index(me) - round_number) % rules.n


def _patience(node: Node, round_number: int) -> float | None:
    """Return the seconds until the next slot; a clock that went back must not hold up the rounds."""
    interval = float(node.rules.committee.round_interval_seconds)
    remaining = min(max(0.0, node.rules.slot_start(round_number + 1) - node.clock.now()), interval)
    return None if node.work.until_landed else remaining


async def _is_due(node: Node, report: Published, landed: int) -> bool:
    """Say whether a report is to be published; where this node does not know what the contract has, it is."""
    kept = await node.store.report(node.config_digest, landed) if landed else None
    before = None
    if kept is not None and kept.certificate is not None:
        before = _published(decode_header(kept.header), decode_state(kept.state))
    return is_due(node.rule, report, before)


def _published(header: ReportHeader, state: AgreedState) -> Published:
    return Published(observed_at=header.observed_at, values={each.factor: each.value for each in state.values})


async def _make_room(node: Node, round_number: int) -> None:
    """Delete what is not kept any more; where that fails it is told, and the report is published all the same."""
    try:
        node.metrics.stored(await make_room(node.store, node.config_digest, node.retention, round_number))
    except TransientError as error:
        node.status.fail(RETENTION, error.code, at=node.clock.now(), detail=error.message)
    else:
        node.status.recover(RETENTION, at=node.clock.now())
