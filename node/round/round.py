"""A round: what this node does when the round machine asks for it, one function for each thing it may ask.

The machine (`attest.agreement.machine`) decides; here things are read, computed, stored, signed and sent. The loop
(`node.loop.rounds`) feeds the machine and calls `perform` with what it asks. Every message is stored whole before it
counts; whatever happens between two lines here, a restart goes on from the store. In the order of a round:

    observe ─► send the observation ─► lead: send the proposal ─► report: read, assess, build ─► sign
            ─► send the share ─► keep the certificate, pass it on ─► publish
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from attest.agreement.effects import (
    Abstain,
    CertificateLearned,
    CertificateNeeded,
    CertificateReady,
    Disagreement,
    Effect,
    Effects,
    Equivocation,
    Observe,
    OutcomeReady,
    Resend,
    Send,
    SignShare,
    StateNeeded,
)
from attest.wire.envelope import read_envelope
from attest.wire.messages import MessageKind
from node.gossip.transport import Channel
from node.round.certified import keep_certified, publish
from node.round.exchange.catch_up import ask_for_certificate, ask_for_state
from node.round.exchange.explaining import note_disagreement
from node.round.failing import ROUND, abstain, fail, guarded
from node.round.node import Node
from node.round.observing import observe
from node.round.outvoted import note_outvoted
from node.round.reporting import make_report
from node.round.work import Brought
from riskschema.errors import FatalError, PlimsollError
from riskschema.rounds import RoundStep, StoredEvidence, StoredMessage

_log = structlog.get_logger("node.round")


async def perform(node: Node, effect: Effect) -> Effects:
    """Do what the machine asks for; return what it asks for next.

    Raises:
        FatalError: a person must act.
    """
    function: Callable[[Node, Any], Awaitable[Effects]] = _FUNCTIONS[type(effect)]
    try:
        return await function(node, effect)
    except FatalError:
        raise
    except PlimsollError as error:
        return fail(node, _round_of(effect), error)


async def _observe(node: Node, asked: Observe) -> Effects:
    """Look at chains and markets, beside the loop."""

    async def work() -> Brought:
        async with node.step(RoundStep.OBSERVE, asked.round):
            observation = await observe(node, asked)
        return lambda: node.machine.on_observation(asked.round, observation)

    node.seconds.clear()
    node.work.begin(asked.round, guarded(node, asked.round, work))
    return ()


async def _report(node: Node, ready: OutcomeReady) -> Effects:
    """Read and assess, beside the loop."""
    note_outvoted(node, ready.outcome)

    async def work() -> Brought:
        header, state = await make_report(node, ready)
        return lambda: node.machine.on_report_ready(header, state)

    node.work.begin(ready.outcome.round, guarded(node, ready.outcome.round, work))
    return ()


async def _send(node: Node, message: Send) -> Effects:
    """Store a message of this node, let it count, send it, in that order; an observation is a sign of life, too."""
    if message.kind is not MessageKind.PROPOSAL:
        payload = await _store(node, message)
        if message.kind is MessageKind.OBSERVATION:
            node.transport.send(Channel.PRESENCE, payload)
        return _say(node, payload)
    async with node.step(RoundStep.PROPOSE, message.round):
        payload = await _store(node, message)
    async with node.step(RoundStep.OUTCOME, message.round):
        return _say(node, payload)


async def _store(node: Node, message: Send) -> bytes:
    """Mark a message in the guard, store it whole, and return what is kept: that is what counts.

    In this order: what the guard refuses must not be in the store, or it would be sent after a restart.
    """
    kept = await _kept_message(node, message)
    if kept is None:
        if message.kind is not MessageKind.SHARE:  # what it carries went through the guard
            digest = read_envelope(message.payload).digest
            node.guard.say_once(node.rules.config_digest, message.kind, message.round, digest)
        stored = StoredMessage(
            round=message.round, kind=message.kind.name.lower(), sender=str(node.me), payload=message.payload
        )
        kept = await node.store.put_message(node.config_digest, stored)
    return kept.payload


async def _kept_message(node: Node, message: Send) -> StoredMessage | None:
    """Return the message of this kind that was stored before a restart, and so passed the guard."""
    kept = await node.store.messages(node.config_digest, message.round)
    own = (each for each in kept if (each.kind, each.sender) == (message.kind.name.lower(), str(node.me)))
    return next(own, None)


def _say(node: Node, payload: bytes) -> Effects:
    effects = node.machine.on_message(payload)
    node.transport.send(Channel.MESSAGE, payload)
    return effects


async def _resend(node: Node, asked: Resend) -> Effects:
    for payload in asked.payloads:
        node.transport.send(Channel.MESSAGE, payload)
    return ()


async def _sign(node: Node, asked: SignShare) -> Effects:
    """Sign through the guard."""
    async with node.step(RoundStep.SIGN, asked.header.round):
        signature = node.guard.sign_once(
            node.rules.config_digest,
            asked.header.round,
            asked.report_hash,
            lambda: node.signer.sign(asked.digest),
            parent_round=asked.parent_round,
        )
    return node.machine.on_signature(asked.header.round, signature)


async def _certify(node: Node, ready: CertificateReady) -> Effects:
    """Keep what is certified, and publish it beside the loop."""
    round_number = ready.certificate.header.round
    async with node.step(RoundStep.CERTIFY, round_number):
        await keep_certified(node, ready)
    node.metrics.round_ended("certified")
    node.status.recover(ROUND, at=node.clock.now())
    node.work.begin(round_number, publish(node, ready))
    return ()


async def _pass_on(node: Node, learned: CertificateLearned) -> Effects:
    node.transport.send(Channel.CERTIFICATE, learned.payload)
    return ()


async def _note_evidence(node: Node, found: Equivocation) -> Effects:
    """Keep both messages: each is signed, and together they prove that the operator lied."""
    evidence = StoredEvidence(
        round=found.round,
        kind=found.kind.name.lower(),
        sender=str(found.sender),
        first=found.first,
        second=found.second,
    )
    await node.store.put_evidence(node.config_digest, evidence)
    node.peers.equivocated(found.sender)
    _log.warning("an operator said two things", operator=found.sender, round=found.round, kind=evidence.kind)
    return ()


async def _note_disagreement(node: Node, found: Disagreement) -> Effects:
    """Say where this node's report differs from the one that was certified, and ask why."""
    await note_disagreement(node, found)
    return ()


def _round_of(effect: Effect) -> int:
    """Return the round of an effect that may fail in this node's own hands."""
    match effect:
        case OutcomeReady():
            return effect.outcome.round
        case SignShare():
            return effect.header.round
        case CertificateReady():
            return effect.certificate.header.round
    return int(getattr(effect, "round", 0))


_FUNCTIONS: dict[type[Effect], Callable[[Node, Any], Awaitable[Effects]]] = {
    Observe: _observe,
    Send: _send,
    Resend: _resend,
    OutcomeReady: _report,
    SignShare: _sign,
    CertificateReady: _certify,
    CertificateLearned: _pass_on,
    CertificateNeeded: ask_for_certificate,
    StateNeeded: ask_for_state,
    Disagreement: _note_disagreement,
    Equivocation: _note_evidence,
    Abstain: abstain,
}
