"""A key whose guard may have forgotten listens: used on two machines it stops one of them; peers are no threat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from attest.agreement.rules import AgreementRules
from attest.formats.committee import Committee
from attest.keys.keystore import open_identity
from node.clock import SystemClock
from node.gossip.brokers import open_brokers
from node.gossip.topics import topics_of
from node.gossip.transport import Channel
from node.loop.listening import listen
from node.status import NodeStatus
from riskschema.errors import FatalError
from tests.node.gossip.running_brokers import PASSWORD, Member, RunningBroker, connected, embedded_for, make_members
from tests.node.gossip.test_brokers import heard


@pytest.fixture
def council(tmp_path: Path) -> tuple[Committee, Sequence[Member]]:
    return make_members(tmp_path, genesis_time=int(time.time()) - 100, round_interval_seconds=1)


async def taken_up(broker: RunningBroker, rules: AgreementRules, index: int) -> int:
    """Connect as an operator and listen; return the slot in which that began."""
    status, identity = NodeStatus(round_interval=1), open_identity(broker.members[index].key, lambda: PASSWORD)
    opened = open_brokers(
        [broker.address(index)], topics_of(rules.committee, index), interval=1, status=status, clock=SystemClock()
    )
    async with opened as transport:
        return await listen(rules, me=index, sign=identity.sign, transport=transport, clock=SystemClock())


async def test_a_whole_committee_that_starts_at_once_waits_for_nobody(
    council: tuple[Committee, Sequence[Member]],
) -> None:
    rules = AgreementRules.of(council[0])
    async with embedded_for(*council) as broker:
        began = await asyncio.gather(*(taken_up(broker, rules, index) for index in range(4)))
    assert min(began) > 0


async def test_a_crash_while_listening_keeps_nobody_from_starting_again(
    council: tuple[Committee, Sequence[Member]],
) -> None:
    rules = AgreementRules.of(council[0])
    async with embedded_for(*council) as broker:
        crashing = asyncio.ensure_future(taken_up(broker, rules, 0))
        async with connected(broker, 1) as other:
            assert (await heard(other))[:2] == (0, Channel.PRESENCE)
            crashing.cancel()
            await asyncio.gather(crashing, return_exceptions=True)
        async with connected(broker, 1) as later:
            assert (await heard(later))[:2] == (0, Channel.PRESENCE), "the broker kept it"
        assert await taken_up(broker, rules, 0) > 0


async def test_the_same_key_on_two_machines_is_noticed_though_each_connection_ends_the_others(
    council: tuple[Committee, Sequence[Member]],
) -> None:
    rules = AgreementRules.of(council[0])
    async with embedded_for(*council) as broker:
        ends = await asyncio.gather(*(taken_up(broker, rules, 0) for _ in range(2)), return_exceptions=True)
    stopped = [end for end in ends if isinstance(end, FatalError)]
    assert [end.code for end in stopped] == ["key_in_use"] * len(stopped)
    assert stopped
