"""One file or folder per protocol; a new one here is all a new protocol needs."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any, Protocol, cast

from riskschema.errors import InvalidData
from riskschema.ports import AssetFactors, ProtocolAdapter


class ProtocolModule(Protocol):
    """What a file (or the ``__init__`` of a folder) of this package offers."""

    PROTOCOL: str
    """Its own name, and the first part of its venues' names."""

    @property
    def Deployment(self) -> type[Any]:  # noqa: N802 - a class
        """The frozen struct of addresses that a settings table decodes into."""
        ...

    def adapter(self, deployment: Any, *, chain_id: int, assets: AssetFactors) -> ProtocolAdapter:
        """Return the adapter of one deployment."""
        ...


def protocol_names() -> tuple[str, ...]:
    """Return the names of all protocols without importing any, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_protocol(name: str) -> ProtocolModule:
    """Import one protocol by name.

    Raises:
        InvalidData: there is no such protocol; the message lists those there are.
    """
    if name not in protocol_names():
        known = ", ".join(protocol_names())
        raise InvalidData(f"unknown protocol {name[:64]!r}; known: {known}", code="invalid_settings")
    return cast("ProtocolModule", import_module(f"{__name__}.{name}"))


def discover_protocols() -> dict[str, ProtocolModule]:
    """Import and return every protocol by name."""
    return {name: load_protocol(name) for name in protocol_names()}
