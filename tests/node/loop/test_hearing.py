"""What a peer says while this node's disk is full is heard all the same; what the own key says elsewhere ends it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attest.agreement.effects import Observe, Send
from attest.keys.guard import create_guard, open_guard
from attest.wire.envelope import read_envelope, seal
from attest.wire.messages import MessageKind
from node.gossip.transport import Arrival, Channel
from node.loop.hearing import hear
from riskschema.errors import FatalError, TransientError
from riskschema.units import Address, Hash32
from tests.attest.agreement.round_kit import GENESIS, INTERVAL, Operators, identity, observation

NOW = GENESIS + INTERVAL + 1
ROUND = 1
ADDRESS = Address("0x" + "11" * 20)


def proposal(operators: Operators) -> bytes:
    """Let all observe, and return what the leader proposes."""
    machines = operators.machines
    observed: list[bytes] = []
    for machine in machines.values():
        for effect in machine.on_tick(1_000 * NOW):
            if isinstance(effect, Observe):
                said = machine.on_observation(effect.round, observation(NOW))
                observed += [each.payload for each in said if isinstance(each, Send)]
    leader = machines[operators.rules.leader(ROUND)]
    proposed = [each for payload in observed for each in leader.on_message(payload) if isinstance(each, Send)]
    return proposed[0].payload


async def test_a_proposal_that_cannot_be_stored_is_heard_and_the_failure_is_told() -> None:
    operators = Operators(4)
    payload = proposal(operators)
    leader = operators.rules.leader(ROUND)
    failed: list[str] = []

    async def full(*_: Any) -> None:
        raise TransientError("database: disk is full", code="store_failed")

    node: Any = SimpleNamespace(
        machine=operators.machines[(leader + 1) % 4],
        peers=SimpleNamespace(said=lambda *_, **__: None),
        clock=SimpleNamespace(now=lambda: float(NOW)),
        store=SimpleNamespace(put_message=full),
        status=SimpleNamespace(fail=lambda _, code, **__: failed.append(code)),
        config_digest=Hash32(operators.rules.config_digest),
    )
    effects = await hear(node, Arrival(sender=leader, channel=Channel.MESSAGE, payload=payload))
    assert effects, "the round goes on"
    assert failed == ["store_failed"]


def speaker(tmp_path: Path, operators: Operators, first_round: int = 1) -> Any:
    """A node as far as its key goes: it observed round 1."""
    (tmp_path / "keys").mkdir(mode=0o700)
    create_guard(tmp_path / "keys" / "guard", ADDRESS)
    guard = open_guard(tmp_path / "keys" / "guard", ADDRESS)
    digest = operators.rules.config_digest
    guard.enter(digest, ROUND)
    machine = operators.machines[0]
    machine.on_tick(1_000 * NOW)
    said = next(each for each in machine.on_observation(ROUND, observation(NOW)) if isinstance(each, Send))
    guard.say_once(digest, MessageKind.OBSERVATION, ROUND, read_envelope(said.payload).digest)
    refused: list[str] = []
    return SimpleNamespace(
        me=0,
        machine=machine,
        rules=operators.rules,
        guard=guard,
        first_round=first_round,
        peers=SimpleNamespace(refused=lambda _, code: refused.append(code)),
        refused=refused,
        said=said.payload,
    )


def presence(operators: Operators, round_number: int, seconds: int, sender: int = 0) -> Arrival:
    """What another machine says in a round with the key of an operator, below the name of the first one."""
    payload = seal(
        observation(NOW + seconds),
        config_digest=operators.rules.config_digest,
        round_number=round_number,
        sender=sender,
        sign=identity(sender).sign,
    )
    return Arrival(sender=0, channel=Channel.PRESENCE, payload=payload)


async def test_an_observation_of_the_own_key_that_was_not_made_here_ends_the_node(tmp_path: Path) -> None:
    operators = Operators(4)
    node = speaker(tmp_path, operators)
    with node.guard:
        assert await hear(node, Arrival(sender=0, channel=Channel.PRESENCE, payload=node.said)) == ()
        for number in (ROUND, ROUND + 1):
            with pytest.raises(FatalError, check=lambda error: error.code == "key_in_use"):
                await hear(node, presence(operators, number, 1))
    assert node.refused == []


async def test_what_the_key_may_have_said_before_this_start_a_replay_or_a_forgery_ends_nothing(tmp_path: Path) -> None:
    operators = Operators(4)
    node = speaker(tmp_path, operators, first_round=ROUND + 1)
    with node.guard:
        assert await hear(node, presence(operators, ROUND, 1)) == (), "of before"
        forged = presence(operators, ROUND + 1, 1).payload[:-1] + b"?"
        assert await hear(node, Arrival(sender=0, channel=Channel.PRESENCE, payload=forged)) == ()
        node.machine.on_tick(1_000 * (NOW + 9 * INTERVAL))
        assert await hear(node, presence(operators, ROUND + 1, 1)) == (), "a replay: who lives speaks in every slot"
    assert node.refused == ["forged", "stale"]


async def test_a_peers_observation_that_a_broker_puts_below_the_own_name_ends_nothing(tmp_path: Path) -> None:
    operators = Operators(4)
    node = speaker(tmp_path, operators)
    with node.guard:
        for number in (ROUND, ROUND + 1):
            assert await hear(node, presence(operators, number, 1, sender=3)) == ()
    assert node.refused == ["foreign", "foreign"]


@pytest.mark.parametrize("round_number", [ROUND + 2, 2**63, 2**64 - 1])
async def test_an_observation_of_the_own_name_in_a_round_that_is_far_off_ends_nothing(
    tmp_path: Path, round_number: int
) -> None:
    operators = Operators(4)
    node = speaker(tmp_path, operators)
    with node.guard:
        assert await hear(node, presence(operators, round_number, 1)) == ()
        assert await hear(node, presence(operators, round_number, 1, sender=3)) == ()
