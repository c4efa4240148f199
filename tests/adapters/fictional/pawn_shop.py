"""A fictional protocol, as small as one can be: one contract that lends one token against another."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from adapters.abi import ContractRefusal, Function, address_topic, ask, event_topic, known
from adapters.places import Place
from adapters.tokens import known_asset, read_tokens
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Touch, Units
from riskschema.instruments import Asset, Claim, Debt, VenueId
from riskschema.portfolio import CollateralTerm, Position, Silo, VenueReading, WeightedCollateral
from riskschema.ports import AssetFactors, PinnedReader, ProtocolAdapter
from riskschema.units import WAD, Address, Amount, Wad

PROTOCOL = "pawn_shop"

_TOKENS = Function("tokens()", "(address,address)")
_PRICES = Function("prices()", "(uint256,uint256)")
_PAWN = Function("pawnOf(address)", "(uint256,uint256)")
_OWED = Function("owed()", "(uint256)")
_PAWNED = event_topic("Pawned(address)")
_THRESHOLD = Wad(8 * WAD // 10)
_LARGEST = 2**127


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shop's address."""

    shop: Address


def adapter(deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> ProtocolAdapter:
    """Return the adapter of one shop."""
    return PawnShop(deployment.shop, Place(PROTOCOL, chain_id, deployment.shop), assets)


class PawnShop:
    """The `ProtocolAdapter` of the shop."""

    def __init__(self, shop: Address, place: Place, assets: AssetFactors) -> None:
        self._shop, self._place, self._assets = shop, place, assets

    @property
    def venue(self) -> VenueId:
        """The deployment's name."""
        return self._place.venue

    def log_query(self, known: Known) -> LogQuery:
        """Ask the shop who pawned."""
        return LogQuery((self._shop,), ((_PAWNED,),))

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        """Take everyone who ever pawned something."""
        return Fold(known, [Touch("pawns", address_topic(log.topics[1]), log.block_number, log.index) for log in logs])

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        """Return the debts, of which the shop tells the sum."""
        [sum_] = await ask(reader, [(_OWED, self._shop, ())])
        if isinstance(sum_, ContractRefusal):
            return (Book(name="pawns", owed=True, refusal=sum_.code),)
        return (Book(name="pawns", owed=True, total=sum_[0], factor="USD", denominator=WAD, numerator=1),)

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        """Return what each owes."""
        answers = await ask(reader, [(_PAWN, self._shop, (holder.account,)) for holder in holders])
        return tuple(None if isinstance(answer, ContractRefusal) else answer[1] for answer in answers)

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
    ) -> VenueReading:
        """Read one silo per account."""
        unique = list(dict.fromkeys(accounts))
        questions = [(_PAWN, self._shop, (each,)) for each in unique]
        pair, prices, *pawns = await ask(reader, [(_TOKENS, self._shop, ()), (_PRICES, self._shop, ()), *questions])
        silos, unread = [], []
        try:
            addresses = known(pair)
            tokens = await read_tokens(reader, addresses, self._assets)
            held, owed = (known_asset(tokens[address]) for address in addresses)
            collateral_price, debt_price = (_within(price, 1) for price in known(prices))
        except ContractRefusal as refusal:
            return self._place.refuse_all(refusal, unique)
        for account, pawn in zip(unique, pawns, strict=True):
            try:
                collateral, debt = (_within(amount, 0) for amount in known(pawn))
                silos += self._silo(account, (held, collateral, collateral_price), (owed, debt, debt_price))
            except ContractRefusal as refusal:
                unread.append(self._place.unread(refusal, account))
        return VenueReading(venue=self.venue, silos=tuple(silos), unread=tuple(unread))

    def _silo(self, account: Address, held: tuple[Asset, int, int], owed: tuple[Asset, int, int]) -> list[Silo]:
        positions, terms = [], []
        for (token, amount, price), kind in ((held, Claim), (owed, Debt)):
            if amount:
                quantity = Amount(amount if kind is Claim else -amount)
                positions.append(Position(instrument=kind(token=token, venue=self.venue), quantity=quantity))
                weight = _THRESHOLD if kind is Claim else Wad(WAD)
                terms.append(CollateralTerm(weight=weight, price=Wad(price)))
        rule = WeightedCollateral(numeraire="USD", terms=tuple(terms))
        health = _health(held, owed) if owed[1] else None
        return [self._place.silo(account, positions=tuple(positions), rule=rule, health=health)] if positions else []


def _within(number: int, least: int) -> int:
    if not least <= number <= _LARGEST:
        raise ContractRefusal("the shop answers an impossible number", code="answer_malformed")
    return number


def _health(held: tuple[Asset, int, int], owed: tuple[Asset, int, int]) -> Wad:
    collateral, debt = (amount * price // 10**token.decimals for token, amount, price in (held, owed))
    if not debt:
        raise ContractRefusal("the shop tells a debt without value", code="answer_malformed")
    return Wad(collateral * _THRESHOLD // debt)
