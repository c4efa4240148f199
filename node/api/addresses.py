"""What one address may ask for, so that a crowd at one place leaves room for the others.

Addresses of version 6 count by their /64, which is what one subscriber gets. A trusted address is a proxy of ours, or a
program on this machine: it is not limited itself, and who it asks for is limited by the address that it names.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

MAX_ADDRESSES = 16_384
"""Whose requests are remembered; beyond it the longest silent are forgotten."""
BURST_SECONDS = 4.0
"""An address that was silent may ask for so many seconds at once: a page asks for everything when it opens."""
LONGEST_ADDRESS = 45


class AddressLimits:
    """Counts connections and requests by address.

    Args:
        connections: At a time, of one address.
        requests_per_second: Of one address, on average.
        trusted: Networks of proxies.
    """

    def __init__(self, *, connections: int, requests_per_second: float, trusted: Sequence[Network] = ()) -> None:
        self._most = connections
        self._rate = requests_per_second
        self._trusted = tuple(trusted)
        self._connections: Counter[str] = Counter()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def connect(self, peer: str | None) -> str | None:
        """Count a connection; return what `disconnect` takes.

        Raises:
            TooMany: the address has as many as it may.
        """
        name = self._name(peer)
        if name is None:
            return None
        if self._connections[name] >= self._most:
            raise TooMany
        self._connections[name] += 1
        return name

    def disconnect(self, name: str | None) -> None:
        """Count a connection less."""
        if name is None:
            return
        self._connections[name] -= 1
        if self._connections[name] <= 0:
            del self._connections[name]

    def ask(self, peer: str | None, forwarded_for: str | None, now: float) -> None:
        """Count a request.

        Args:
            peer: Who is connected.
            forwarded_for: What the request says in ``X-Forwarded-For``, all its lines joined by commas; believed of
                trusted peers only.
            now: Seconds of a clock that never goes back.

        Raises:
            TooMany: the address asked too often of late.
        """
        name = self._asker(peer, forwarded_for)
        if name is None:
            return
        most = self._rate * BURST_SECONDS
        left, since = self._left.pop(name, (most, now))
        left = min(left + (now - since) * self._rate, most)
        allowed = left >= 1.0
        self._left[name] = (left - 1.0 if allowed else left, now)
        if len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        if not allowed:
            raise TooMany

    def _asker(self, peer: str | None, forwarded_for: str | None) -> str | None:
        """Return whom a request counts for: the nearest on its way who is no proxy of ours.

        Each proxy adds at the end whom it saw, so only the words of those behind a trusted one count.
        """
        named = [] if forwarded_for is None else forwarded_for.split(",")
        for text in (peer, *reversed(named)):
            if _parse(text) is None:
                return None
            name = self._name(text)
            if name is not None:
                return name
        return None

    def _name(self, peer: str | None) -> str | None:
        """Return under which name an address counts; None where it is trusted or none."""
        address = _parse(peer)
        if address is None or any(address in network for network in self._trusted):
            return None
        return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))


class TooMany(Exception):
    """An address asks for more than it may have."""


def _parse(peer: str | None) -> IPv4Address | IPv6Address | None:
    text = "" if peer is None else peer.strip()
    if not text or len(text) > LONGEST_ADDRESS:
        return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
