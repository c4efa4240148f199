"""From pinned blocks to portfolios: every configured venue read for every account, merged by subject."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from adapters.parallel import in_parallel
from adapters.protocols import discover_protocols
from node.index.following import VenueHolders, VenueIndex
from node.index.opening import IndexedVenue
from node.named_oracles import NamedOracle, with_named_oracles
from node.round.confirming import read_confirmed
from node.settings import Chain, Oracle
from riskschema.codec import from_builtins
from riskschema.errors import InvalidData
from riskschema.holders import Units
from riskschema.instruments import VenueId, chain_of
from riskschema.portfolio import Aside, Portfolio, Silo, Unread, VenueReading
from riskschema.ports import ChainReader, PinnedReader, ProtocolAdapter
from riskschema.units import Address


class ConfiguredVenue(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment of one protocol on one chain."""

    chain_id: int
    start_block: int
    adapter: ProtocolAdapter
    table: dict[str, Any] = {}
    """The settings that the adapter was made of."""
    deployment: msgspec.Struct | None = None
    """The same as the adapter took it, with its defaults."""
    oracles: tuple[NamedOracle, ...] = ()
    """What the settings say of its oracles."""

    @property
    def venue(self) -> VenueId:
        """Its name, in the committee too."""
        return self.adapter.venue


def configured_venues(chain: Chain) -> tuple[ConfiguredVenue, ...]:
    """Make the adapters that a chain's settings name, in their order.

    Raises:
        InvalidData: unknown protocol, a deployment field that is missing, unknown or wrong, or one venue twice.
    """
    protocols = discover_protocols()
    factors = {asset.address: asset.follows for asset in chain.assets}
    venues: list[ConfiguredVenue] = []
    for index, table in enumerate(chain.venues):
        where = f"chain {chain.chain_id}: venues[{index}]"
        protocol, start_block, named, own = _split(table, where)
        if protocol not in protocols:
            raise InvalidData(
                f"{where}: unknown protocol {protocol!r}; known: {', '.join(sorted(protocols))}",
                code="invalid_settings",
            )
        module = protocols[protocol]
        deployment = from_builtins(own, module.Deployment, what=f"{where} ({protocol})")
        venues.append(
            ConfiguredVenue(
                chain_id=chain.chain_id,
                start_block=start_block,
                adapter=module.adapter(deployment, chain_id=chain.chain_id, assets=factors),
                table=own,
                deployment=deployment,
                oracles=_named_oracles(named, chain, deployment, where),
            )
        )
    _refuse_doubled(venues, chain.chain_id)
    return tuple(venues)


def _named_oracles(tables: object, chain: Chain, deployment: msgspec.Struct, where: str) -> tuple[NamedOracle, ...]:
    """Return what is said of a venue's oracles; an asset or market that nothing else names is a slip of the pen."""
    oracles = from_builtins(tables, tuple[Oracle, ...], what=f"{where}: oracles")
    factors = {asset.address: asset.factor for asset in chain.assets}
    markets = getattr(deployment, "markets", ())
    for index, each in enumerate(oracles):
        told = f"{where}: oracles[{index}]"
        if each.asset not in factors:
            raise InvalidData(f"{told}: no [[chains.assets]] table maps asset {each.asset}", code="invalid_settings")
        if each.market and each.market not in markets:
            raise InvalidData(f"{told}: market {each.market} is none of the venue's", code="invalid_settings")
        if any((each.asset, each.market) == (other.asset, other.market) for other in oracles[:index]):
            raise InvalidData(f"{told}: asset {each.asset} is named before", code="invalid_settings")
    return tuple(
        NamedOracle(asset=each.asset, factor=factors[each.asset], market=each.market, oracle=each.named)
        for each in oracles
    )


def _refuse_doubled(venues: Sequence[ConfiguredVenue], chain_id: int) -> None:
    """Refuse two tables of one venue: an account would seem to hold everything twice."""
    for second, venue in enumerate(venues):
        for first in range(second):
            if venues[first].venue == venue.venue:
                raise InvalidData(
                    f"chain {chain_id}: venues[{first}] and venues[{second}] both read {venue.venue}: "
                    "put all of it into one table",
                    code="invalid_settings",
                )


def _split(table: dict[str, Any], where: str) -> tuple[str, int, object, dict[str, Any]]:
    """Return a venue's protocol, start block and oracles, and what is the adapter's."""
    deployment = dict(table)
    protocol = deployment.pop("protocol", None)
    start_block = deployment.pop("start_block", 0)
    oracles = deployment.pop("oracles", [])
    if not isinstance(protocol, str):
        raise InvalidData(f"{where}: protocol is missing", code="invalid_settings")
    if not isinstance(start_block, int) or isinstance(start_block, bool) or start_block < 0:
        raise InvalidData(f"{where}: start_block must be a block number", code="invalid_settings")
    return protocol, start_block, oracles, deployment


def indexed_venues(venues: Iterable[ConfiguredVenue]) -> tuple[IndexedVenue, ...]:
    """Return the venues whose logs name accounts, in their order."""
    return tuple(
        IndexedVenue(adapter=venue.adapter, start_block=venue.start_block, table=venue.table)
        for venue in venues
        if venue.adapter.log_query({}).addresses
    )


async def venue_holders(
    indexes: Sequence[VenueIndex], chains: Mapping[int, ChainReader], readers: Mapping[int, PinnedReader]
) -> tuple[VenueHolders, ...]:
    """Bring every index to the pin of its chain; a venue whose chain has no reader names nobody.

    Raises:
        TransientError: an index is behind or incomplete, or an endpoint failed: this node abstains.
    """
    found = ((index, chain_of(index.venue)) for index in indexes)
    return await in_parallel(
        index.holders(chains[chain_id], readers[chain_id]) for index, chain_id in found if chain_id in readers
    )


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """All portfolios of a round, and which venues were read for each."""

    portfolios: tuple[Portfolio, ...]
    coverage: tuple[int, ...]
    """Per portfolio: bit i is set where venue i (in the order of the settings) was read completely."""
    venues: int
    readable: int
    """How many of the venues are on a chain that takes part in the round."""

    @property
    def coverage_ppm(self) -> int:
        """Share of (account, venue) reads that succeeded, in parts per million, rounded down.

        Without accounts, the share of venues that could have named some.
        """
        asked, read = self.venues * len(self.portfolios), sum(bits.bit_count() for bits in self.coverage)
        if not asked:
            asked, read = self.venues, self.readable
        return read * 1_000_000 // asked if asked else 1_000_000


async def read_portfolios(
    venues: Sequence[ConfiguredVenue],
    readers: Mapping[int, PinnedReader],
    accounts: Sequence[Address],
    indexed: Mapping[VenueId, Units] | None = None,
) -> Reading:
    """Read every venue at the pins; one portfolio per account, in the order given.

    A venue whose chain has no reader is unread for everyone: the round agreed on no block of it. What the indexes
    proved at the pins need not be asked again.

    Raises:
        TransientError: an endpoint failed: this node cannot tell what others see, and abstains.
    """
    readings = await in_parallel(
        _read_venue(venue, readers.get(venue.chain_id), accounts, (indexed or {}).get(venue.venue)) for venue in venues
    )
    silos: dict[Address, list[Silo]] = defaultdict(list)
    unread: dict[Address, list[Unread]] = defaultdict(list)
    aside: dict[Address, list[Aside]] = defaultdict(list)
    missing: dict[Address, int] = defaultdict(int)
    for index, reading in enumerate(readings):
        for silo in reading.silos:
            silos[silo.account].append(silo)
        for spare in reading.aside:
            aside[spare.account].append(spare)
        for item in reading.unread:
            unread[item.account].append(item)
            missing[item.account] |= 1 << index
    blocks = tuple(readers[chain_id].block for chain_id in sorted(readers))
    everything = (1 << len(venues)) - 1
    return Reading(
        portfolios=tuple(
            Portfolio(
                subject=account,
                blocks=blocks,
                silos=tuple(sorted(silos[account], key=lambda silo: silo.id)),
                unread=tuple(sorted(unread[account], key=lambda item: (item.chain_id, item.venue, item.market))),
                aside=tuple(
                    sorted(aside[account], key=lambda item: (item.chain_id, item.venue, item.market, item.detail))
                ),
            )
            for account in accounts
        ),
        coverage=tuple(everything & ~missing[account] for account in accounts),
        venues=len(venues),
        readable=sum(venue.chain_id in readers for venue in venues),
    )


async def _read_venue(
    venue: ConfiguredVenue, reader: PinnedReader | None, accounts: Sequence[Address], indexed: Units | None
) -> VenueReading:
    if reader is not None:
        reading = await read_confirmed(venue.adapter, reader, accounts, indexed)
        return with_named_oracles(reading, venue.oracles)
    return VenueReading(
        venue=venue.venue,
        silos=(),
        unread=tuple(
            Unread(
                chain_id=venue.chain_id,
                venue=venue.venue,
                market="",
                account=account,
                code="chain_out",
                detail="the round agreed on no block of the chain",
            )
            for account in accounts
        ),
    )
