"""aiomqtt for brokers that are hostile: nothing is allocated for what they announce, and nothing of theirs hangs.

What aiomqtt 2.5 over paho 2.2 does by itself, and what is done here instead:

- a packet may have 256 MB, and all of it is allocated when its length is announced: a longer one than any of ours ends
  the connection, and reading goes by small pieces;
- packets that no broker owes this node are kept (messages of QoS 2 until they are released, 65,535 of them) or answered
  (pings, while nobody reads the answers): they end the connection;
- packets may come as fast as they like, and each is read and parsed before anybody asks for whose it is: a broker that
  sends more than a whole committee does loses the connection, and the next ones until it has been quiet for a while;
- a handshake may go on for ever, byte by byte, in a thread that a stop waits for: it has an end;
- a socket is watched by the thread that connects, or one turn of the loop late: by then it may be closed, and its
  number another's. Here the loop alone does it, and at once.
"""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Callable
from typing import Any

import aiomqtt

from node.gossip.budgets import PacketBudget
from node.gossip.transport import LARGEST_PAYLOAD_BYTES

MAX_PACKET_BYTES = LARGEST_PAYLOAD_BYTES + 1_024
"""With topic and header."""
READ_BYTES = 65_536
"""Asked of the socket at a time."""
HANDSHAKE_SECONDS = 10.0
CONNACK, PUBLISH, SUBACK, PINGRESP = 0x20, 0x30, 0x90, 0xD0
EXPECTED = frozenset({CONNACK, PUBLISH, SUBACK, PINGRESP})
"""What a broker may send to who publishes and subscribes with QoS 0: upper half of a packet's first byte."""
KIND, QUALITY = 0xF0, 0x06


class CarefulClient(aiomqtt.Client):
    """`aiomqtt.Client` that believes no length, no kind of packet and no socket.

    Args:
        packets: What the broker may still send.
    """

    def __init__(self, *args: Any, packets: PacketBudget, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        paho: Any = self._client
        receive: Callable[[int], bytes] = paho._sock_recv  # noqa: SLF001 - no other way to see a length in time

        def receive_some(size: int) -> bytes:
            first_byte = paho._in_packet["command"]  # noqa: SLF001 - likewise
            _check(first_byte, size)
            received = receive(min(size, READ_BYTES))
            if not first_byte and received and not packets.spend():
                raise ConnectionAbortedError("more packets than a whole committee sends")
            return received

        paho._sock_recv = receive_some  # noqa: SLF001 - likewise

    def _client_connect(self) -> None:
        """Connect, in a thread, which leaves the loop alone until there is a socket."""
        paho: Any = self._client
        paho.on_socket_open = paho.on_socket_close = None
        paho.on_socket_register_write = paho.on_socket_unregister_write = None
        super()._client_connect()
        self._loop.call_soon_threadsafe(self._watch)

    def _watch(self) -> None:
        paho: Any = self._client
        paho.on_socket_open, paho.on_socket_close = self._on_socket_open, self._on_socket_close
        paho.on_socket_register_write = self._on_socket_register_write
        paho.on_socket_unregister_write = self._on_socket_unregister_write
        self._on_socket_open(paho, None, paho.socket())
        if paho.want_write():
            self._on_socket_register_write(paho, None, paho.socket())

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        del userdata

        def write() -> None:
            try:
                client.loop_write()
            except Exception as error:  # noqa: BLE001 - whatever it is ends the connection, as aiomqtt does in reading
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        self._loop.add_writer(sock, write)


class BoundedHandshake(ssl.SSLSocket):
    """A socket whose handshake has an end, however slowly the other side talks."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands.

        Raises:
            TimeoutError: it took longer than `HANDSHAKE_SECONDS`.
            ssl.SSLError: the other side is refused, or refuses.
        """
        del block
        deadline, patience = time.monotonic() + HANDSHAKE_SECONDS, self.gettimeout()
        self.setblocking(False)
        try:
            while not self._shook_hands(deadline):
                pass
        except BaseException:
            self.close()
            raise
        self.settimeout(patience)

    def _shook_hands(self, deadline: float) -> bool:
        """Go on as far as what came allows; wait for more."""
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            self._wait(select.POLLIN, deadline)
        except ssl.SSLWantWriteError:
            self._wait(select.POLLOUT, deadline)
        else:
            return True
        return False

    def _wait(self, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(1_000 * left):
            raise TimeoutError(f"no TLS within {HANDSHAKE_SECONDS:g} s")


def _check(first_byte: int, size: int) -> None:
    """Refuse what no broker owes this node; `first_byte` 0: nothing of the packet was read yet.

    Raises:
        ConnectionAbortedError: which the client takes for the end of the connection.
    """
    if size > MAX_PACKET_BYTES:
        raise ConnectionAbortedError(f"a packet of {size} bytes")
    if first_byte and (first_byte & KIND not in EXPECTED or (first_byte & KIND == PUBLISH and first_byte & QUALITY)):
        raise ConnectionAbortedError(f"a packet that nobody asked for ({first_byte:#04x})")
