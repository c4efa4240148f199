"""Deployment of the real protocol contracts, one module each, named like the adapter; each says where it is.

A module's `settings_table` is what a ``[[chains.venues]]`` table needs besides protocol and start block: the
node of `./run` reads the protocol with it, and the contract test of all adapters runs over it.
"""

import pkgutil
from importlib import import_module
from typing import Any

from devnet.deployment import Deployment


def deployed_protocols() -> tuple[str, ...]:
    """Return the names of the protocols of the local chain, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def settings_table(protocol: str, deployment: Deployment) -> dict[str, Any]:
    """Return the addresses of one protocol of `deployed_protocols` as its settings name them."""
    table: dict[str, Any] = import_module(f"{__name__}.{protocol}").settings_table(deployment)
    return table
