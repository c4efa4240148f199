"""Morpho Blue: positions in isolated markets, interest accrued to the pinned block as `_accrueInterest` would.

The borrower's side of a market (collateral and debt) is one silo, the lender's side another that nothing liquidates.
Formulas and roundings: morpho-blue 1.0.0, ``Morpho.sol``, ``MathLib.sol``, ``SharesMathLib.sol``.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from adapters.places import Place
from adapters.protocols.morpho_blue.singleton import MorphoBlue
from riskschema.ports import AssetFactors, ProtocolAdapter
from riskschema.units import Address, Hash32

PROTOCOL = "morpho_blue"


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The singleton, and the ids of the markets to read (``keccak256(abi.encode(marketParams))``)."""

    singleton: Address
    markets: Annotated[tuple[Hash32, ...], Meta(min_length=1, max_length=1024)]


def adapter(deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> ProtocolAdapter:
    """Return the adapter of one deployment."""
    singleton = deployment.singleton
    return MorphoBlue(singleton, deployment.markets, place=Place(PROTOCOL, chain_id, singleton), assets=assets)
