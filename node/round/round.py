"""The round: the main function of the program, its steps in order.

The round machine (`attest.agreement.machine`) decides, this module does what it asks for: reads, computes, stores and
signs. Every message is stored whole before it counts; whatever happens between two lines here, a restart goes on from
the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from aggregator.market_memory import SECTION, remember
from attest.agreement.effects import CertificateReady, Effects, Observe, OutcomeReady, Send, SignShare
from attest.agreement.outcome import Outcome
from attest.agreement.state import AgreedState, next_state, with_sections
from attest.agreement.state_format import encode_state
from attest.formats.certificate import Certificate, encode_certificate
from attest.formats.header import ReportHeader, decode_header, encode_header
from attest.hours.hourly import HourRow
from attest.reports.report import build_report
from attest.wire.envelope import read_envelope
from attest.wire.messages import MessageKind
from node.index.choosing import Chosen, choose
from node.publishing.transmitter import Landing
from node.round.assessing import AssessedRound, agreed_market, assess_round, known_memory, market_state
from node.round.effects import find, required
from node.round.hourly_prices import completed_hours, encode_hours
from node.round.node import Node
from node.round.observing import observe
from node.round.parallel import in_parallel
from node.round.reading import Reading, read_portfolios, venue_holders
from node.round.retention import make_room
from riskschema.codec import encode_json
from riskschema.errors import TransientError
from riskschema.ports import PublishedTransaction
from riskschema.rounds import RoundStep, StoredMessage, StoredReport
from riskschema.units import Hash32

FEW_ACCOUNTS = 16
"""So many may leave at once however few there are."""
RETENTION = "retention"
"""The component that fails where old rounds cannot be deleted."""


class RoundResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished round did."""

    round: int
    certificate: Certificate
    accounts: int
    pins: tuple[tuple[int, int], ...]
    """(chain id, block number)."""
    landing: Landing
    """How publishing ended; None: under way still, or not this node's business."""

    @property
    def transaction(self) -> PublishedTransaction | None:
        """The transaction, where it landed while the round waited for it."""
        return self.landing if isinstance(self.landing, PublishedTransaction) else None


async def run_round(node: Node, effects: Effects, *, until_landed: bool = False) -> RoundResult:
    """Run the round that the machine's effects begin, from observation to transaction.

    Args:
        node: Everything opened.
        effects: Of the tick (or restart) that entered the slot.
        until_landed: Wait for the transaction until the publisher gives up; otherwise until the next slot begins.

    Raises:
        TransientError: this node abstains; the reason is the error's code.
        InvalidData: a source or contract answered what cannot be right.
        ProtocolViolation: what this node observed is no valid observation.
    """
    node.seconds.clear()
    ready = find(effects, OutcomeReady) or await _agree(node, effects)
    outcome = ready.outcome
    hours = completed_hours(ready.parent_state.hours, outcome)
    state = next_state(ready.parent_state, outcome)
    history = node.hourly_prices.at(state.hours, hours)
    known = known_memory(ready.parent_state)
    memory = await node.executor.run(remember, known, history, node.groups, node.parameters)
    state = with_sections(state, {SECTION: memory.section})

    header = await _kept_report(node, outcome.round)
    if header is None:
        async with node.step(RoundStep.READ, outcome.round):
            chosen, reading = await _read(node, outcome, ready.parent_state)
            node.metrics.chosen(small=chosen.small, beyond_caps=chosen.beyond_caps, unproved=chosen.unproved)
        async with node.step(RoundStep.ASSESS, outcome.round):
            market = market_state(outcome, history, node.groups)
            assessed = await assess_round(node, reading, market, stressed=memory.stressed)
        async with node.step(RoundStep.REPORT, outcome.round):
            header = await _report(node, outcome, state, reading, assessed)

    async with node.step(RoundStep.SIGN, outcome.round):
        effects = await _share(node, node.machine.on_report_ready(header, state))

    async with node.step(RoundStep.CERTIFY, outcome.round):
        certificate = await _certify(node, effects, hours)

    async with node.step(RoundStep.PUBLISH, outcome.round):
        landing = await _publish(node, certificate, until_landed=until_landed)

    return RoundResult(
        round=outcome.round,
        certificate=certificate,
        accounts=header.account_count,
        pins=tuple((pin.chain_id, pin.number) for pin in outcome.pins),
        landing=landing,
    )


async def _agree(node: Node, effects: Effects) -> OutcomeReady:
    """Observe and propose until the outcome is there."""
    asked = find(effects, Observe)
    if asked is not None:
        async with node.step(RoundStep.OBSERVE, asked.round):
            observation = await observe(node, asked)
            sealed = required(node.machine.on_observation(asked.round, observation), Send)
            effects = node.machine.on_message(await _store(node, sealed))
    proposal = required(effects, Send)
    async with node.step(RoundStep.PROPOSE, proposal.round):
        payload = await _store(node, proposal)
    async with node.step(RoundStep.OUTCOME, proposal.round):
        return required(node.machine.on_message(payload), OutcomeReady)


async def _kept_report(node: Node, round_number: int) -> ReportHeader | None:
    """Return the report that this node computed before a restart: it may be signed, so no other is computed."""
    kept = await node.store.report(node.config_digest, round_number)
    return None if kept is None else decode_header(kept.header)


async def _read(node: Node, outcome: Outcome, parent: AgreedState) -> tuple[Chosen, Reading]:
    if not outcome.pins:
        raise TransientError("no chain has a block recent enough to be pinned", code="chain_out")
    pinned = await in_parallel(node.chains[pin.chain_id].pin(pin) for pin in outcome.pins)
    readers = {reader.block.chain_id: reader for reader in pinned}
    chosen = choose(
        await venue_holders(node.indexes, node.chains, readers),
        {value.factor: value.value for value in outcome.values},
        requested=[request.address for request in outcome.on_demand],
        caps={rule.venue: rule.account_cap for rule in node.rules.committee.venues},
        limit=node.rules.committee.account_cap,
        smallest=node.rules.parameters.smallest_account_usd,
    )
    await _refuse_shrunken(node, outcome, parent, chosen)
    return chosen, await read_portfolios(node.venues, readers, chosen.accounts)


async def _refuse_shrunken(node: Node, outcome: Outcome, parent: AgreedState, chosen: Chosen) -> None:
    """Refuse a set of found accounts far smaller than the parent report's: a function of what all agreed on.

    Raises:
        TransientError: it is.
    """
    report = await node.store.report(node.config_digest, outcome.parent.round)
    if report is None:
        return
    before = decode_header(report.header).account_count - len(parent.on_demand)
    now = len(chosen.accounts) - len(outcome.on_demand)
    if before - now > max(FEW_ACCOUNTS, before * node.rules.parameters.max_shrink_ppm // 1_000_000):
        raise TransientError(
            f"{now} accounts are found, {before} were in round {outcome.parent.round}", code="holders_shrank"
        )


async def _report(
    node: Node, outcome: Outcome, state: AgreedState, reading: Reading, assessed: AssessedRound
) -> ReportHeader:
    """Build the report and store it, before anything of it is signed."""
    build = partial(
        build_report,
        config_digest=node.rules.config_digest,
        outcome=outcome,
        state=state,
        portfolios=reading.portfolios,
        coverage=reading.coverage,
        coverage_ppm=reading.coverage_ppm,
        assessments=assessed.assessments,
        array_rows=assessed.array_rows,
        model=node.model,
        breakers=assessed.breakers,
    )
    report = await node.executor.run(build)
    stored = StoredReport(
        config_digest=node.config_digest,
        round=report.header.round,
        report_hash=Hash32(report.hash),
        header=encode_header(report.header),
        state=encode_state(state),
        certificate=None,
    )
    market = agreed_market(outcome, node.groups, node.recent_sources)
    await node.store.put_report(stored, report.accounts, encode_json(market))
    return report.header


async def _share(node: Node, effects: Effects) -> Effects:
    """Sign through the guard and store the share; the machine may know a certificate already."""
    asked = find(effects, SignShare)
    if asked is None:
        return effects
    signature = node.guard.sign_once(
        node.rules.config_digest,
        asked.header.round,
        asked.report_hash,
        lambda: node.signer.sign(asked.digest),
        parent_round=asked.parent_round,
    )
    sealed = required(node.machine.on_signature(asked.header.round, signature), Send)
    return node.machine.on_message(await _store(node, sealed))


async def _certify(node: Node, effects: Effects, hours: Sequence[HourRow]) -> Certificate:
    """Keep the hours, then the certificate: a certified state whose hours are lost could not be continued."""
    certificate = required(effects, CertificateReady).certificate
    header = certificate.header
    if hours:
        await node.store.put_hours(node.config_digest, encode_hours(hours))
    await node.store.certify(node.config_digest, header.round, encode_certificate(certificate))
    node.hourly_prices.keep(hours)
    node.status.certify(header.round, at=node.clock.now())
    node.metrics.reported(accounts=header.account_count, coverage_ppm=header.coverage_ppm)
    return certificate


async def _publish(node: Node, certificate: Certificate, *, until_landed: bool) -> Landing:
    """Hand the report on to the contract, and make room in the store."""
    round_number = certificate.header.round
    await _make_room(node, round_number)
    if node.transmitter is None:
        return None
    interval = float(node.rules.committee.round_interval_seconds)  # a clock that went back must not hold up the rounds
    remaining = min(max(0.0, node.rules.slot_start(round_number + 1) - node.clock.now()), interval)
    return await node.transmitter.send(certificate, patience=None if until_landed else remaining)


async def _make_room(node: Node, round_number: int) -> None:
    """Delete what is not kept any more; where that fails it is told, and the report is published all the same."""
    try:
        node.metrics.stored(await make_room(node.store, node.config_digest, node.retention, round_number))
    except TransientError as error:
        node.status.fail(RETENTION, error.code, at=node.clock.now(), detail=error.message)
    else:
        node.status.recover(RETENTION, at=node.clock.now())


async def _store(node: Node, send: Send) -> bytes:
    """Store a message whole and return what is kept: that is what counts."""
    kept = await node.store.put_message(
        node.config_digest,
        StoredMessage(round=send.round, kind=send.kind.name.lower(), sender=str(node.me), payload=send.payload),
    )
    if send.kind is not MessageKind.SHARE:  # what it carries went through the guard
        digest = read_envelope(kept.payload).digest
        node.guard.say_once(node.rules.config_digest, send.kind, send.round, digest)
    return kept.payload
