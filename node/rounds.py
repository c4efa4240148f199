"""The round: the main function of the program, its steps in order.

The round machine (`attest.rounds`) decides, this module does what it asks for: reads, computes, stores and signs. Every
message is stored whole before it counts; whatever happens between two lines here, a restart goes on from the store.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from attest.certificate import Certificate, encode_certificate
from attest.effects import Abstain, CertificateReady, Effects, Observe, OutcomeReady, Send, SignShare
from attest.header import encode_header
from attest.outcome import Outcome
from attest.state import AgreedState, step
from attest.state_format import encode_state
from contracts.calls import publish_call
from node.assessing import assess_round, market_state
from node.node import Node
from node.observing import observe
from node.reading import Reading, discover_accounts, read_portfolios
from node.report import Report, build_report
from riskschema.errors import TransientError
from riskschema.ports import PinnedReader, PublishedTransaction
from riskschema.rounds import RoundStep, StoredMessage, StoredReport
from riskschema.units import Hash32

E = TypeVar("E")


class RoundResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished round did."""

    round: int
    certificate: Certificate
    accounts: int
    pins: tuple[tuple[int, int], ...]
    """(chain id, block number)."""
    transaction: PublishedTransaction | None


async def run_round(node: Node, effects: Effects) -> RoundResult:
    """Run the round that the machine's effects begin, from observation to transaction.

    Args:
        node: Everything opened.
        effects: Of the tick (or restart) that entered the slot.

    Raises:
        TransientError: this node abstains; the reason is the error's code.
        InvalidData: a source or contract answered what cannot be right.
    """
    ready = _find(effects, OutcomeReady) or await _agree(node, effects)
    outcome = ready.outcome

    async with node.step(RoundStep.READ, outcome.round):
        reading = await _read(node, outcome)
    state = step(ready.parent_state, outcome)
    history = node.hourly_prices.at(state.hours, node.rules.committee.history_hash)
    market = market_state(outcome, history, node.groups)
    assessed = await assess_round(node, reading, market)

    async with node.step(RoundStep.REPORT, outcome.round):
        report = build_report(
            config_digest=node.rules.config_digest,
            outcome=outcome,
            state=state,
            reading=reading,
            assessments=assessed.assessments,
            array_rows=assessed.array_rows,
            model=node.model,
        )
        await _keep_report(node, report, state)

    async with node.step(RoundStep.SIGN, outcome.round):
        effects = node.machine.on_report_ready(report.header, state)
        effects = await _share(node, effects)

    async with node.step(RoundStep.CERTIFY, outcome.round):
        certificate = await _certify(node, effects)

    async with node.step(RoundStep.PUBLISH, outcome.round):
        transaction = await publish(node, certificate)

    node.metrics.reported(accounts=len(reading.portfolios), coverage_ppm=reading.coverage_ppm)
    return RoundResult(
        round=outcome.round,
        certificate=certificate,
        accounts=len(reading.portfolios),
        pins=tuple((pin.chain_id, pin.number) for pin in outcome.pins),
        transaction=transaction,
    )


async def publish(node: Node, certificate: Certificate) -> PublishedTransaction | None:
    """Send a certified report to the destination contract; None where this node does not transmit."""
    if node.publisher is None or node.destination is None:
        return None
    published = await node.publisher.publish(
        round_number=certificate.header.round,
        to=node.destination.oracle,
        data=publish_call(certificate),
    )
    node.metrics.published(chain_id=published.chain_id, gas_used=published.gas_used)
    return published


async def _agree(node: Node, effects: Effects) -> OutcomeReady:
    """Observe and propose until the outcome is there."""
    send = _find(effects, Send)
    asked = _find(effects, Observe)
    if asked is not None:
        async with node.step(RoundStep.OBSERVE, asked.round):
            observation = await observe(node, asked)
            send = _the(node.machine.on_observation(asked.round, observation), Send)
            effects = await _keep(node, send)
            send = _find(effects, Send)
    if send is None:
        raise TransientError("the round has neither observation nor outcome", code="round_missing")
    async with node.step(RoundStep.PROPOSE, send.round):
        payload = await _store(node, send)
    async with node.step(RoundStep.OUTCOME, send.round):
        return _the(node.machine.on_message(payload), OutcomeReady)


async def _read(node: Node, outcome: Outcome) -> Reading:
    readers: dict[int, PinnedReader] = {pin.chain_id: await node.chains[pin.chain_id].pin(pin) for pin in outcome.pins}
    found = await discover_accounts(node.venues, readers, limit=node.rules.committee.account_cap)
    requested = [request.address for request in outcome.on_demand]
    return await read_portfolios(node.venues, readers, tuple(sorted({*found, *requested})))


async def _keep_report(node: Node, report: Report, state: AgreedState) -> None:
    stored = StoredReport(
        config_digest=node.network,
        round=report.header.round,
        report_hash=Hash32(report.hash),
        header=encode_header(report.header),
        state=encode_state(state),
        certificate=None,
    )
    await node.store.put_report(stored, report.leaves)


async def _share(node: Node, effects: Effects) -> Effects:
    """Sign through the guard and store the share; the machine may know a certificate already."""
    asked = _find(effects, SignShare)
    if asked is None:
        return effects
    signature = node.guard.sign_once(
        node.rules.config_digest, asked.header.round, asked.report_hash, lambda: node.signer.sign(asked.digest)
    )
    return await _keep(node, _the(node.machine.on_signature(asked.header.round, signature), Send))


async def _certify(node: Node, effects: Effects) -> Certificate:
    ready = _the(effects, CertificateReady)
    header = ready.certificate.header
    await node.store.certify(node.network, header.round, encode_certificate(ready.certificate))
    node.hourly_prices.add(ready.state.hours)
    node.status.certify(header.round, at=node.clock.now())
    return ready.certificate


async def _keep(node: Node, send: Send) -> Effects:
    """Store a message whole, then let it count."""
    return node.machine.on_message(await _store(node, send))


async def _store(node: Node, send: Send) -> bytes:
    kept = await node.store.put_message(
        node.network,
        StoredMessage(round=send.round, kind=send.kind.name.lower(), sender=str(node.me), payload=send.payload),
    )
    return kept.payload


def _find(effects: Effects, kind: type[E]) -> E | None:
    return next((effect for effect in effects if isinstance(effect, kind)), None)


def _the(effects: Effects, kind: type[E]) -> E:
    """Return the effect that a step must have; an abstention carries its own reason.

    Raises:
        TransientError: the machine ended the round without it.
    """
    effect = _find(effects, kind)
    if effect is not None:
        return effect
    ended = _find(effects, Abstain)
    code = "deadline" if ended is None else ended.code
    raise TransientError(f"the round ended before {kind.__name__}", code=code)
