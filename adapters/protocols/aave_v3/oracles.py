"""What the pool's oracle follows for each reserve: the sources it names, and what those contracts tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from adapters.abi import ContractRefusal, Function, ask
from adapters.oracles.following import venue_oracle
from adapters.oracles.sources import Source, read_sources
from adapters.protocols.aave_v3.emodes import EMode, EModes
from adapters.protocols.aave_v3.holdings import Use
from adapters.protocols.aave_v3.market import Market, Reserve
from riskschema.portfolio import VenueOracle
from riskschema.ports import CALL_GAS, PinnedReader
from riskschema.units import Address

_SOURCE = Function("getSourceOfAsset(address)", "(address)")


class Oracles(msgspec.Struct, frozen=True):
    """Sources by what the pool asks its oracle for: an asset, or what a category names instead."""

    sources: Mapping[Address, Source]
    timestamp: int

    def of(self, reserve: Reserve, member: EMode | None) -> VenueOracle | None:
        """Return what is known of the oracle behind a reserve's price."""
        if isinstance(reserve.token, ContractRefusal):
            return None
        return venue_oracle(self.sources.get(_priced(reserve, member)), reserve.token, timestamp=self.timestamp)


async def read_oracles(reader: PinnedReader, market: Market, uses: Iterable[Use], emodes: EModes) -> Oracles:
    """Read the sources of all that accounts of such uses hold or owe.

    Governance lists them, so they need not be asked one by one with little gas.

    Raises:
        TransientError: the endpoint failed.
    """
    wanted: dict[Address, None] = {}
    for use in uses:
        category = emodes.get(use.emode)
        emode = category if isinstance(category, EMode) else None
        for reserve in market.reserves:
            if use.supplies(reserve) or use.owes(reserve):
                member = emode if emode is not None and reserve.index in emode.members else None
                wanted[_priced(reserve, member)] = None
    answers = await ask(reader, [(_SOURCE, market.oracle, (asset,)) for asset in wanted])
    named = {
        asset: answer[0]
        for asset, answer in zip(wanted, answers, strict=True)
        if not isinstance(answer, ContractRefusal)
    }
    sources = await read_sources(reader, named.values(), gas=CALL_GAS)
    return Oracles({asset: sources[at] for asset, at in named.items() if at in sources}, reader.block.timestamp)


def _priced(reserve: Reserve, member: EMode | None) -> Address:
    return member.source if member is not None and member.price else reserve.asset
