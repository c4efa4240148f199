"""A market of a venue: what its silos are called, and how its refusals are reported."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from adapters.abi import ContractRefusal
from riskschema.instruments import ChainId, MarketId, VenueId, venue_id
from riskschema.portfolio import Aside, LiquidationRule, Position, Restriction, Silo, Unread, VenueReading
from riskschema.units import Address, Wad


class Place(msgspec.Struct, frozen=True):
    """One market of a deployment; `market` is empty where the deployment is one market."""

    protocol: str
    chain_id: ChainId
    deployment: str
    market: MarketId = ""

    @property
    def venue(self) -> VenueId:
        """The deployment's name."""
        return venue_id(self.protocol, self.chain_id, self.deployment)

    def at(self, market: MarketId) -> Place:
        """Return one market of the same deployment."""
        return Place(self.protocol, self.chain_id, self.deployment, market)

    def silo(
        self,
        account: Address,
        *,
        positions: tuple[Position, ...],
        rule: LiquidationRule,
        health: Wad | None,
        part: str = "",
        restrictions: tuple[Restriction, ...] = (),
    ) -> Silo:
        """Return a silo of an account here; `part` tells several of one market apart."""
        return Silo(
            id=":".join(filter(None, (self.venue, self.market, account, part))),
            venue=self.venue,
            chain_id=self.chain_id,
            market=self.market,
            account=account,
            health=health,
            rule=rule,
            positions=positions,
            restrictions=restrictions,
        )

    def unread(self, refusal: ContractRefusal, account: Address) -> Unread:
        """Return a refusal as a fact about one account: unknown, never zero."""
        return Unread(
            chain_id=self.chain_id,
            venue=self.venue,
            market=self.market,
            account=account,
            code=refusal.code,
            detail=refusal.message[:500],
        )

    def aside(self, refusal: ContractRefusal, account: Address) -> Aside:
        """Return a holding whose worth is unknown and that backs no debt."""
        unread = self.unread(refusal, account)
        return Aside(**{name: getattr(unread, name) for name in Aside.__struct_fields__})

    def refuse_all(self, refusal: ContractRefusal, accounts: Iterable[Address]) -> VenueReading:
        """Return the reading of a venue that cannot be read for any account."""
        missing = tuple(self.unread(refusal, account) for account in dict.fromkeys(accounts))
        return VenueReading(venue=self.venue, silos=(), unread=missing)
