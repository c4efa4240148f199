"""Current prices, one file per source; a new file here is all a new source needs (docs/adding-a-market-source.md)."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from riskschema.errors import InvalidData
from riskschema.ports import ChainReader, MarketSource


class SourceModule(Protocol):
    """What a file of this package offers."""

    SOURCE: str
    """The file's own name: `source` of a settings table."""

    @property
    def Settings(self) -> type[Any]:  # noqa: N802 - a class
        """The frozen struct that the rest of the settings table decodes into."""
        ...

    def source(self, settings: Any, *, chains: Mapping[int, ChainReader]) -> MarketSource:
        """Return the source that one table configures.

        Raises:
            InvalidData: the table asks for a chain that is not configured.
        """
        ...


def source_names() -> tuple[str, ...]:
    """Return the names of all sources without importing any, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_source(name: str) -> SourceModule:
    """Import one source by name.

    Raises:
        InvalidData: there is no such source; the message lists those there are.
    """
    if name not in source_names():
        known = ", ".join(source_names())
        raise InvalidData(f"unknown market source {name[:64]!r}; known: {known}", code="invalid_settings")
    return cast("SourceModule", import_module(f"{__name__}.{name}"))
