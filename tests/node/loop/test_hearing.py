"""What a peer says while this node's disk is full is heard all the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from attest.agreement.effects import Observe, Send
from node.gossip.transport import Arrival, Channel
from node.loop.hearing import hear
from riskschema.errors import TransientError
from riskschema.units import Hash32
from tests.attest.agreement.round_kit import GENESIS, INTERVAL, Operators, observation

NOW = GENESIS + INTERVAL + 1
ROUND = 1


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
