"""The adapter of one position manager."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.abi import ContractRefusal, Function, address_topic, ask, event_topic
from adapters.places import Place
from adapters.protocols.uniswap_v3.contents import read_contents
from adapters.protocols.uniswap_v3.nfts import BOOK, COUNT, Lists, read_positions
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Touch, Units
from riskschema.instruments import Instrument, VenueId
from riskschema.portfolio import Aside, NoLiquidation, Position, Silo, Unread, VenueReading
from riskschema.ports import AssetFactors, PinnedReader
from riskschema.units import Address, Amount, Hash32

_FACTORY = Function("factory()", "(address)")
_TOTAL = Function("totalSupply()", "(uint256)")
_TRANSFER_EVENT = event_topic("Transfer(address,address,uint256)")
_NOBODY = Hash32(bytes(32))


class UniswapV3:
    """The `ProtocolAdapter` of one position manager."""

    def __init__(self, manager: Address, *, max_positions: int, place: Place, assets: AssetFactors) -> None:
        self._npm = manager
        self._max_positions = max_positions
        self._place = place
        self._assets = assets
        self._lists = Lists(manager, longest=max_positions, venue=place.venue)

    @property
    def venue(self) -> VenueId:
        """The deployment's name."""
        return self._place.venue

    def log_query(self, known: Known) -> LogQuery:
        """Ask the position manager for transfers of NFTs."""
        return LogQuery((self._npm,), ((_TRANSFER_EVENT,),))

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        """Take both sides of every transfer; the zero address, which cannot own an NFT, stands for mint and burn."""
        return Fold(
            known,
            [
                Touch(BOOK, address_topic(topic), log.block_number, log.index)
                for log in logs
                if len(log.topics) == 4
                for topic in log.topics[1:3]
                if topic != _NOBODY
            ],
        )

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        """Return the one book, in NFTs, which are worth what only their reading tells."""
        [total] = await ask(reader, [(_TOTAL, self._npm, ())])
        if isinstance(total, ContractRefusal):
            return (Book(name=BOOK, refusal=total.code),)
        return (Book(name=BOOK, total=total[0]),)

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        """Return how many NFTs each account has."""
        answers = await ask(reader, [(COUNT, self._npm, (holder.account,)) for holder in holders])
        return tuple(None if isinstance(answer, ContractRefusal) else answer[0] for answer in answers)

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
    ) -> VenueReading:
        """Read one silo per account that holds liquidity or uncollected tokens; refusals are `unread`, per NFT."""
        unique = list(dict.fromkeys(accounts))
        [factory] = await ask(reader, [(_FACTORY, self._npm, ())])
        if isinstance(factory, ContractRefusal):
            return self._place.refuse_all(factory, unique)
        missing: list[Unread] = []
        aside: list[Aside] = []
        counts, slots = await self._lists.read(reader, unique, indexed or {})
        for account, count in counts.items():
            if isinstance(count, ContractRefusal):
                missing.append(self._place.unread(count, account))
            elif count > self._max_positions:
                many = f"{account} holds {min(count, 10**9)} positions, {self._max_positions} are read"
                aside.append(self._place.aside(ContractRefusal(many, code="too_many_positions"), account))
        missing += [
            self._place.unread(id_, account) for (account, _), id_ in slots.items() if isinstance(id_, ContractRefusal)
        ]
        ids = {slot: id_ for slot, id_ in slots.items() if not isinstance(id_, ContractRefusal)}
        positions = list(zip(ids.values(), await read_positions(reader, self._npm, ids), strict=True))
        contents = await read_contents(reader, self._npm, factory[0], positions, self._assets)
        held: dict[Address, dict[Instrument, int]] = {account: {} for account in unique}
        for ((account, _), id_), content in zip(ids.items(), contents, strict=True):
            if isinstance(content, ContractRefusal):  # anyone can send anybody an NFT of tokens that do anything
                aside.append(self._place.at(str(id_)).aside(content, account))
                continue
            for instrument, quantity in content:
                held[account][instrument] = held[account].get(instrument, 0) + quantity
        silos = [self._silo(account, quantities) for account, quantities in held.items() if quantities]
        return VenueReading(venue=self.venue, silos=tuple(silos), unread=tuple(missing), aside=tuple(aside))

    def _silo(self, account: Address, quantities: dict[Instrument, int]) -> Silo:
        positions = tuple(
            Position(instrument=instrument, quantity=Amount(quantity)) for instrument, quantity in quantities.items()
        )
        return self._place.silo(account, positions=positions, rule=NoLiquidation(), health=None)
