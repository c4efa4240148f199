"""Whether a port can be listened on, asked before the work of starting."""

from __future__ import annotations

from node.api.server import open_listener


def require_free_port(host: str, port: int, *, setting: str = "--port") -> None:
    """Refuse a port before the work of starting rather than after it.

    Raises:
        InvalidData: something else listens there, or the address is not this machine's.
    """
    open_listener(host, port, setting=setting).close()
