"""What others say, taken to where it belongs; what is refused changes nothing and is counted against who said it."""

from __future__ import annotations

from attest.agreement.effects import Effects
from attest.wire.envelope import Envelope, check_scope, check_signature, open_body, open_message, read_envelope
from attest.wire.messages import Answer, Body, MessageKind, Observation, Request, Share
from node.gossip.transport import Arrival, Channel
from node.round.exchange.catch_up import answer_request, take_answer
from node.round.failing import ROUND
from node.round.node import Node
from riskschema.errors import FatalError, InvalidData, ProtocolViolation, TransientError
from riskschema.rounds import StoredMessage


async def hear(node: Node, arrival: Arrival) -> Effects:
    """Take a payload that came in; return what the machine asks for."""
    try:
        match arrival.channel:
            case Channel.MESSAGE:
                return await _hear_message(node, arrival)
            case Channel.CERTIFICATE:
                return node.machine.on_certificate(arrival.payload)
            case Channel.PRESENCE:
                _hear_presence(node, arrival)
                return ()
            case _:
                return await _hear_directed(node, arrival)
    except (ProtocolViolation, InvalidData) as error:
        node.peers.refused(arrival.sender, error.code)
        return ()
    except TransientError as error:  # the store: a question stays unanswered, and is asked again
        node.status.fail(ROUND, error.code, at=node.clock.now(), detail=error.message)
        return ()


def _hear_presence(node: Node, arrival: Arrival) -> None:
    """Stop where this key said something that this machine did not; the presences of peers are for those who listen.

    Brokers keep the last sign of life, so that a machine whose guard is whole but no longer the newest, one that was
    moved away from and is switched on again, usually learns of the other one before it says anything.

    Raises:
        FatalError: (``key_in_use``) another machine speaks with the key.
        ProtocolViolation: malformed, foreign (a peer's among them), stale or forged.
    """
    if arrival.sender != node.me:
        return
    envelope = read_envelope(arrival.payload)
    current = node.machine.current_round
    if envelope.kind is not MessageKind.OBSERVATION or not node.first_round <= envelope.round <= current + 1:
        return
    if node.guard.has_said(node.rules.config_digest, envelope.kind, envelope.round, envelope.digest):
        return
    check_scope(envelope, node.rules, first_round=max(current - 1, 0), last_round=current + 1)
    if envelope.sender != node.me:  # a peer's, put under this node's name by a broker: topics are only claims
        raise ProtocolViolation(f"a message of operator {envelope.sender} by another", code="foreign")
    check_signature(envelope, node.rules)
    raise FatalError(
        f"another machine observed round {envelope.round} with the key of operator {node.me}: stop one of them",
        code="key_in_use",
    )


async def _hear_message(node: Node, arrival: Arrival) -> Effects:
    """Let a message of an open round count; a proposal is kept, so that a restart can go on from it."""
    effects = node.machine.on_message(arrival.payload)
    envelope = read_envelope(arrival.payload)
    _note(node, envelope)
    if envelope.kind is MessageKind.PROPOSAL:
        message = StoredMessage(
            round=envelope.round, kind="proposal", sender=str(envelope.sender), payload=arrival.payload
        )
        try:
            await node.store.put_message(node.config_digest, message)
        except TransientError as error:  # only a restart would miss it; this round goes on as far as the disk lets it
            node.status.fail(ROUND, error.code, at=node.clock.now(), detail=error.message)
    return effects


def _note(node: Node, envelope: Envelope) -> None:
    """Note for people what an operator said, when, and what time it is there."""
    now = int(1_000 * node.clock.now())
    node.peers.said(envelope.sender, envelope.round, at_ms=now)
    if envelope.kind is MessageKind.PROPOSAL:
        return
    body = open_body(envelope)
    if isinstance(body, Observation):
        node.peers.observed(envelope.sender, envelope.round, body, at_ms=now)
    elif isinstance(body, Share):
        node.peers.shared(envelope.sender, envelope.round, body.report_hash)


async def _hear_directed(node: Node, arrival: Arrival) -> Effects:
    body = _opened(node, arrival)
    if isinstance(body, Request):
        await answer_request(node, arrival.sender, body)
        return ()
    return await take_answer(node, arrival.sender, body)


def _opened(node: Node, arrival: Arrival) -> Request | Answer:
    """Return a question to this node, or an answer.

    Raises:
        ProtocolViolation: it is neither, or not by whom it says.
    """
    envelope = open_message(arrival.payload, node.rules, current=node.machine.current_round)
    if envelope.sender != arrival.sender:
        raise ProtocolViolation(f"a message of operator {envelope.sender} by another", code="foreign")
    body: Body = open_body(envelope)
    if not isinstance(body, Request | Answer) or body.recipient != node.me:
        raise ProtocolViolation("no question to this node, and no answer", code="foreign")
    return body
