"""The adapter of a list of markets."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.abi import Answer, ContractRefusal, Function, ask, known
from adapters.places import Place
from adapters.protocols.morpho_blue.books import fold, log_query, read_books, read_units
from adapters.protocols.morpho_blue.markets import read_markets, with_oracles
from adapters.protocols.morpho_blue.positions import Positions
from adapters.protocols.morpho_blue.silos import account_silos, check_shares
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Units
from riskschema.instruments import VenueId
from riskschema.portfolio import (
    Aside,
    Silo,
    Unread,
    VenueReading,
)
from riskschema.ports import AssetFactors, PinnedReader
from riskschema.units import Address, Hash32

_FEE_RECIPIENT = Function("feeRecipient()", "(address)")


class MorphoBlue:
    """The `ProtocolAdapter` of a list of markets."""

    def __init__(self, singleton: Address, markets: Sequence[Hash32], *, place: Place, assets: AssetFactors) -> None:
        self._singleton = singleton
        self._markets = tuple(dict.fromkeys(markets))
        self._place = place
        self._assets = assets
        self._positions = Positions(singleton, venue=place.venue)

    @property
    def venue(self) -> VenueId:
        """The deployment's name."""
        return self._place.venue

    def log_query(self, known: Known) -> LogQuery:
        """Ask for all markets: the fee recipient, whose shares arise in each, is named by a log of none."""
        return log_query(self._singleton)

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        """Take holders from every change of a position, and the fee recipient from accruals that give shares."""
        return fold(self._markets, known, logs)

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        """Return three books per market: supply and borrow shares, and collateral, of which there is no total."""
        return await read_books(reader, self._singleton, self._markets, self._assets)

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        """Return shares and collateral as the singleton stores them."""
        return await read_units(reader, self._singleton, holders)

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
    ) -> VenueReading:
        """Read up to two silos per account and market; what the contracts refuse is in `unread`."""
        unique = list(dict.fromkeys(accounts))
        markets = await read_markets(reader, self._singleton, self._markets, self._assets)
        [recipient] = await ask(reader, [(_FEE_RECIPIENT, self._singleton, ())])
        places = [(id_, account) for id_ in self._markets for account in unique]
        positions = await self._positions.read(reader, places, indexed or {})
        used = {id_ for (id_, _), answer in positions.items() if _needs_oracle(answer)}
        markets = await with_oracles(reader, markets, used)
        silos: list[Silo] = []
        missing: list[Unread] = []
        aside: list[Aside] = []
        for id_, market in markets.items():
            place = self._place.at(id_)
            for account in unique:
                answer = positions[id_, account]
                check_shares(reader, id_, market, account, answer)
                try:
                    found = account_silos(place, market, account, known(answer), fees=account == known(recipient)[0])
                except ContractRefusal as refusal:
                    missing.append(place.unread(refusal, account))
                    continue
                silos += [each for each in found if isinstance(each, Silo)]
                aside += [each for each in found if isinstance(each, Aside)]
        return VenueReading(venue=self.venue, silos=tuple(silos), unread=tuple(missing), aside=tuple(aside))


def _needs_oracle(position: Answer) -> bool:
    """Tell whether a market's oracle decides about a position."""
    return not isinstance(position, ContractRefusal) and any(position[1:])
