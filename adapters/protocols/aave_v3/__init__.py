"""Aave v3: accounts of one pool, from its addresses provider alone.

Health is `Pool.getUserAccountData` as the pool computes it. Positions are the balances of the interest-bearing and debt
tokens at the pinned block. Layouts: aave-v3-core 1.19, ``DataTypes.sol`` and ``ReserveConfiguration.sol``; e-mode
membership by bitmap since v3.2 (``getEModeCategoryCollateralBitmap``), by reserve configuration before.
"""

from __future__ import annotations

import msgspec

from adapters.places import Place
from adapters.protocols.aave_v3.pool import AaveV3
from riskschema.ports import AssetFactors, ProtocolAdapter
from riskschema.units import Address

PROTOCOL = "aave_v3"


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a market is: its PoolAddressesProvider, which knows the pool and the oracle."""

    addresses_provider: Address


def adapter(deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> ProtocolAdapter:
    """Return the adapter of one deployment."""
    provider = deployment.addresses_provider
    return AaveV3(provider, place=Place(PROTOCOL, chain_id, provider), assets=assets)
