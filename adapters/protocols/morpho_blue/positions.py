"""What accounts have in markets: told by the index where it knows, held against the singleton on a sample.

Shares and collateral change only with logs, after which the index asks the singleton. So a round asks about positions
that are new or changed since this node last compared them, and about some others drawn by the pinned block's hash.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from adapters.abi import Answer, ContractRefusal, ask
from adapters.crosschecks import contradiction
from adapters.protocols.morpho_blue.books import KINDS, POSITION
from adapters.sampling import Trust, drawn
from riskschema.holders import Units
from riskschema.instruments import VenueId
from riskschema.ports import PinnedReader
from riskschema.units import Address, Hash32

Place = tuple[Hash32, Address]
"""A market and an account."""
Stored = tuple[int, int, int]
"""Supply shares, borrow shares and collateral."""
NOTHING: Stored = (0, 0, 0)


class Positions:
    """Reads positions of one singleton; what it remembers decides what is asked, never what is answered."""

    def __init__(self, singleton: Address, *, venue: VenueId) -> None:
        self._singleton = singleton
        self._compared: dict[Place, Stored] = {}
        self._trust = Trust(venue)

    async def read(self, reader: PinnedReader, places: Sequence[Place], indexed: Units) -> dict[Place, Answer]:
        """Return what is stored at each place, in their order.

        Raises:
            TransientError: the endpoint failed, or alone contradicts the index.
        """
        known = _known(places, indexed)
        told = await self._ask(reader, [place for place in places if place not in known or self._is_due(place, known)])
        told |= await self._ask(reader, [place for place in _drawn(known, reader) if place not in told])
        wrong = [place for place, answer in told.items() if place in known and answer != known[place]]
        for place in wrong:
            contradiction(reader, _difference(place, told[place], known[place]))
        if known:
            self._trust.note(bool(wrong))
        if wrong:
            known = {}
            told |= await self._ask(reader, [place for place in places if place not in told])
        self._compared = {place: stored for place, stored in known.items() if stored != NOTHING}
        return {place: told[place] if place in told else known[place] for place in places}

    def _is_due(self, place: Place, known: Mapping[Place, Stored]) -> bool:
        return known[place] not in (NOTHING, self._compared.get(place))

    async def _ask(self, reader: PinnedReader, places: Collection[Place]) -> dict[Place, Answer]:
        answers = await ask(reader, [(POSITION, self._singleton, (id_.to_bytes(), account)) for id_, account in places])
        return dict(zip(places, answers, strict=True))


def _known(places: Iterable[Place], indexed: Units) -> dict[Place, Stored]:
    """Return what the index says, of markets of which it has all three books."""
    found = {}
    for id_ in dict.fromkeys(id_ for id_, _ in places):
        books = [indexed.get(f"{kind}:{id_}") for kind in KINDS]
        if None not in books:
            found[id_] = [book for book in books if book is not None]
    return {
        (id_, account): (supply.get(account, 0), borrow.get(account, 0), collateral.get(account, 0))
        for id_, account in places
        if id_ in found
        for supply, borrow, collateral in [found[id_]]
    }


def _drawn(known: Mapping[Place, Stored], reader: PinnedReader) -> Iterable[Place]:
    """Return whose turn it is, of debtors, of others who have something, and some of those who have nothing."""
    debtors = [place for place, stored in known.items() if stored[1]]
    others = [place for place, stored in known.items() if stored != NOTHING and not stored[1]]
    rest = [place for place, stored in known.items() if stored == NOTHING]
    yield from drawn(debtors, reader.block)
    yield from drawn(others, reader.block)
    yield from drawn(rest, reader.block, rounds=max(1, len(rest)))


def _difference(place: Place, told: Answer, known: Stored) -> str:
    id_, account = place
    said = told.message if isinstance(told, ContractRefusal) else f"shares and collateral of {told}"
    return f"{account} has {said} in market {id_}, by the index of all holders {known}"
