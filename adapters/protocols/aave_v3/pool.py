"""The adapter of one pool."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from adapters.abi import ContractRefusal, known
from adapters.places import Place
from adapters.protocols.aave_v3.books import fold, log_query, read_books, read_units
from adapters.protocols.aave_v3.conditions import read_conditions
from adapters.protocols.aave_v3.deducing import Comparison, Setup, due, setups
from adapters.protocols.aave_v3.emodes import EModes, read_emodes
from adapters.protocols.aave_v3.holdings import Holdings, known_balances, read_holdings
from adapters.protocols.aave_v3.market import Market, read_market
from adapters.protocols.aave_v3.oracles import read_oracles
from adapters.protocols.aave_v3.silos import account_silo, check_account
from adapters.protocols.aave_v3.terms import Terms, set_aside
from adapters.protocols.aave_v3.uses import Counting
from adapters.sampling import Trust
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Units
from riskschema.instruments import VenueId
from riskschema.portfolio import Aside, Silo, Unread, VenueReading
from riskschema.ports import AssetFactors, PinnedReader
from riskschema.units import Address


class AaveV3:
    """The `ProtocolAdapter` of one pool."""

    def __init__(self, provider: Address, *, place: Place, assets: AssetFactors) -> None:
        self._provider = provider
        self._place = place
        self._assets = assets
        # accounts as they were when the pool last told of them what follows from the index: what is asked depends on
        # it, what is answered does not
        self._compared: dict[Address, Setup] = {}
        self._trust = Trust(place.venue)

    @property
    def venue(self) -> VenueId:
        """The deployment's name."""
        return self._place.venue

    def log_query(self, known: Known) -> LogQuery:
        """Ask the provider for the pool and its configurator, that for the reserves, and their tokens for transfers."""
        return log_query(self._provider, known)

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        """Take tokens from what the provider and the configurator say, and holders from every transfer."""
        return fold(self._provider, known, logs)

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        """Return one book per interest-bearing and debt token; only stable debt has no total of what is held."""
        return await read_books(reader, self._provider, known, self._assets)

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        """Return scaled balances; of stable debt what was borrowed, interest up to the last change included."""
        return await read_units(reader, known, holders)

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
    ) -> VenueReading:
        """Read one silo per account that holds or owes anything; what the contracts refuse is in `unread`."""
        try:
            market = await read_market(reader, self._provider, self._assets)
        except ContractRefusal as refusal:
            return self._place.refuse_all(refusal, accounts)
        holdings, emodes, asked = await self._holdings(reader, market, list(dict.fromkeys(accounts)), indexed or {})
        uses = dict.fromkeys(held.use for held in holdings.values() if isinstance(held, Holdings))
        used = {index for use in uses for index in (*use.supplied, *use.variable, *use.stable)}
        terms = Terms(
            market=market,
            counting=Counting(market, emodes),
            conditions=await read_conditions(reader, self._provider, market, used),
            oracles=await read_oracles(reader, market, uses, emodes),
        )
        silos: list[Silo] = []
        missing: list[Unread] = []
        aside: list[Aside] = []
        for account, held in holdings.items():
            try:
                if account in asked:
                    check_account(reader, terms, account, known(held))
                aside += [self._place.aside(reason, account) for reason in set_aside(terms, known(held))]
                if silo := account_silo(self._place, terms, account, known(held)):
                    silos.append(silo)
            except ContractRefusal as refusal:
                missing.append(self._place.unread(refusal, account))
        return VenueReading(venue=self.venue, silos=tuple(silos), unread=tuple(missing), aside=tuple(aside))

    async def _holdings(
        self, reader: PinnedReader, market: Market, accounts: Sequence[Address], indexed: Units
    ) -> tuple[dict[Address, Holdings | ContractRefusal], EModes, Collection[Address]]:
        """Return what accounts have, the e-modes they use, and of which the pool was asked."""
        scaled = await known_balances(reader, market, indexed)
        setups_ = setups(market, accounts, indexed, scaled)
        changed = (each for each in accounts if each not in setups_ or self._compared.get(each) != setups_[each])
        asked = due(accounts, setups_, reader.block).union(changed)
        told = await read_holdings(reader, market, [account for account in accounts if account in asked], scaled)
        emodes = await self._emodes(reader, market, {}, told, setups_)
        comparison = Comparison(market, emodes, setups_, told)
        if setups_:
            self._trust.note(comparison.contradicted)
        rest = [account for account in accounts if account not in asked]
        deduced: dict[Address, Holdings | ContractRefusal] = {**await comparison.deduce(reader, rest, scaled)}
        told |= await read_holdings(reader, market, [account for account in rest if account not in deduced], scaled)
        emodes = await self._emodes(reader, market, emodes, told, {})
        kept = {account: self._compared[account] for account in deduced}
        self._compared = kept | comparison.agreeing
        found = told | deduced
        return {account: found[account] for account in accounts}, emodes, told.keys()

    async def _emodes(
        self,
        reader: PinnedReader,
        market: Market,
        known_: EModes,
        told: Mapping[Address, Holdings | ContractRefusal],
        setups_: Mapping[Address, Setup],
    ) -> EModes:
        """Return the e-modes in use, with those that are known."""
        used = {held.emode for held in told.values() if isinstance(held, Holdings)}
        used |= {setup.emode for setup in setups_.values()}
        return known_ | await read_emodes(reader, market, used - known_.keys() - {0})
