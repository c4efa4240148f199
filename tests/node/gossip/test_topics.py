"""Every operator writes below its own name, and hears what is meant for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.gossip.topics import Topics
from node.gossip.transport import DIRECTED, Channel

NAMES = [f"{index:064x}" for index in range(4)]
NETWORK = "ab" * 8


def topics(me: int) -> Topics:
    return Topics(NETWORK, NAMES, me)


@pytest.mark.parametrize("channel", Channel)
def test_what_one_writes_another_reads_as_its_word(channel: Channel) -> None:
    to = 2 if channel in DIRECTED else None
    written = topics(0).topic(channel, to)
    assert written.split("/")[2] == NAMES[0]
    assert topics(2).read(written) == (0, channel)
    assert topics(1).read(written) == (None if channel in DIRECTED else (0, channel))
    assert topics(0).read(written) == ((0, channel) if channel is Channel.PRESENCE else None)


def test_a_channel_for_all_has_no_recipient_and_one_for_one_has() -> None:
    with pytest.raises(ValueError, match="for all"):
        topics(0).topic(Channel.MESSAGE, 1)
    with pytest.raises(ValueError, match="for one"):
        topics(0).topic(Channel.REQUEST, None)


@given(st.lists(st.sampled_from([*NAMES, NETWORK, "plimsoll", "message", "request", "", "#", "x"]), max_size=7))
def test_no_other_topic_is_read_as_anything(levels: list[str]) -> None:
    known = topics(1).read("/".join(levels))
    if known is not None:
        sender, channel = known
        assert levels == topics(sender).topic(channel, 1 if channel in DIRECTED else None).split("/")
