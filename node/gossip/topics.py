"""MQTT topics: ``plimsoll/<network>/<sender>/<channel>``, and the recipient's name below that where there is one.

An operator's name is its identity key in hexadecimal, also as MQTT user and client id, so that a broker can keep each
writing below its own name. A network's name is the beginning of its config digest: two committees may share a broker.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attest.formats.committee import Committee, config_digest
from node.gossip.transport import DIRECTED, Channel

ROOT = "plimsoll"
NETWORK_DIGITS = 16
CHANNELS = {channel.value: channel for channel in Channel}


class Topics:
    """The topics of one committee.

    Args:
        network: Its name (`network_name`).
        operators: The operators' names, in the committee's order.
        me: This node's index.
    """

    def __init__(self, network: str, operators: Sequence[str], me: int) -> None:
        self._network = network
        self._names = tuple(operators)
        self._index = {name: index for index, name in enumerate(operators)}
        self._me = me

    @property
    def me(self) -> str:
        """This node's name."""
        return self._names[self._me]

    def subscriptions(self, muted: Collection[int] = ()) -> tuple[str, ...]:
        """Return the filters of all that this node has to hear: by sender, for it hears of itself its presence only.

        Args:
            muted: Indices of others that are not listened to.
        """
        others = [name for index, name in enumerate(self._names) if name != self.me and index not in muted]
        prefix = f"{ROOT}/{self._network}"
        for_all = [f"{prefix}/{name}/{channel}" for name in others for channel in Channel if channel not in DIRECTED]
        askers = others if muted else ["+"]
        for_me = [
            f"{prefix}/{name}/{channel}/{self.me}" for name in askers for channel in Channel if channel in DIRECTED
        ]
        return (f"{prefix}/{self.me}/{Channel.PRESENCE}", *for_all, *for_me)

    def topic(self, channel: Channel, to: int | None) -> str:
        """Return where this node publishes."""
        if (to is not None) != (channel in DIRECTED):
            raise ValueError(f"a {channel} is {'for one operator' if channel in DIRECTED else 'for all'}")
        recipient = "" if to is None else f"/{self._names[to]}"
        return f"{ROOT}/{self._network}/{self.me}/{channel}{recipient}"

    def read(self, topic: str) -> tuple[int, Channel] | None:
        """Return sender and channel; None for what is not this committee's, or this node's own (but its presence)."""
        levels = topic.split("/")
        if len(levels) not in (4, 5) or levels[:2] != [ROOT, self._network]:
            return None
        sender, channel = self._index.get(levels[2]), CHANNELS.get(levels[3])
        if sender is None or channel is None or (sender == self._me and channel is not Channel.PRESENCE):
            return None
        recipient = levels[4:]
        return (sender, channel) if recipient == ([self.me] if channel in DIRECTED else []) else None


def operator_name(identity: bytes) -> str:
    """Return an operator's MQTT name: its identity key (32 bytes) in hexadecimal."""
    return identity.hex()


def network_name(committee: Committee) -> str:
    """Return a committee's MQTT name.

    Raises:
        InvalidData: it is no valid committee.
    """
    return config_digest(committee).hex()[:NETWORK_DIGITS]


def topics_of(committee: Committee, me: int) -> Topics:
    """Return the topics of a committee, as operator `me` uses them.

    Raises:
        InvalidData: it is no valid committee.
    """
    names = [operator_name(operator.identity) for operator in committee.operators]
    return Topics(network_name(committee), names, me)
