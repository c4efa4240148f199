"""Uniswap v3: positions held as NFTs, with uncollected fees.

Amounts and fees are exact: what `decreaseLiquidity` and `collect` of the position manager would pay at the pinned
block.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from adapters.places import Place
from adapters.protocols.uniswap_v3.manager import UniswapV3
from riskschema.ports import AssetFactors, ProtocolAdapter
from riskschema.units import Address

PROTOCOL = "uniswap_v3"


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The NonfungiblePositionManager, and how many positions of one account are read at most."""

    position_manager: Address
    max_positions: Annotated[int, Meta(ge=1, le=10_000)] = 200


def adapter(deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> ProtocolAdapter:
    """Return the adapter of one deployment."""
    manager = deployment.position_manager
    place = Place(PROTOCOL, chain_id, manager)
    return UniswapV3(manager, max_positions=deployment.max_positions, place=place, assets=assets)
