"""Wallets: an account's own coin and the ERC-20 tokens of a list. Nothing here can be liquidated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from adapters.abi import ContractRefusal, Function, ask
from adapters.places import Place
from adapters.tokens import factor_of, read_tokens
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Units
from riskschema.instruments import Asset, Symbol, Token, VenueId
from riskschema.portfolio import Aside, NoLiquidation, Position, Silo, Unread, VenueReading
from riskschema.ports import AssetFactors, PinnedReader, ProtocolAdapter
from riskschema.units import ZERO_ADDRESS, Address, Amount

PROTOCOL = "wallet"

_DEPLOYMENT = "balances"
_BALANCE = Function("balanceOf(address)", "(uint256)")


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to look for: ERC-20 tokens, and how the chain's own coin is called."""

    tokens: Annotated[tuple[Address, ...], Meta(max_length=512)] = ()
    native_symbol: Symbol = "ETH"


def adapter(deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> ProtocolAdapter:
    """Return the adapter of one list of tokens."""
    return Wallet(deployment, chain_id=chain_id, assets=assets)


class Wallet:
    """The `ProtocolAdapter` of plain balances."""

    def __init__(self, deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> None:
        self._tokens = tuple(dict.fromkeys(deployment.tokens))
        self._place = Place(PROTOCOL, chain_id, _DEPLOYMENT)
        self._assets = assets
        self._coin = Token(
            chain_id=chain_id,
            address=ZERO_ADDRESS,
            symbol=deployment.native_symbol,
            decimals=18,
            factor=factor_of(ZERO_ADDRESS, chain_id, assets),
        )

    @property
    def venue(self) -> VenueId:
        """The deployment's name."""
        return self._place.venue

    def log_query(self, known: Known) -> LogQuery:
        """Ask for nothing: everyone has a wallet, so it is no reason to look at an account."""
        return LogQuery(())

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        """Name nobody."""
        return Fold(known)

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        """Return none."""
        return ()

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        """Tell nothing about holders that no book of this venue has."""
        return (None,) * len(holders)

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
    ) -> VenueReading:
        """Read one silo per account that holds anything; a token that refuses is `unread`, the others are kept."""
        unique = list(dict.fromkeys(accounts))
        coins = await reader.native_balances(unique)
        tokens = await read_tokens(reader, self._tokens, self._assets, listed=True)
        balances = await ask(reader, [(_BALANCE, token, (account,)) for account in unique for token in self._tokens])
        width = len(self._tokens)
        silos: list[Silo] = []
        missing: list[Unread] = []
        aside: list[Aside] = []
        for at, (account, coin) in enumerate(zip(unique, coins, strict=True)):
            held = [_position(self._coin, coin)]
            for token, balance in zip(self._tokens, balances[at * width : (at + 1) * width], strict=True):
                place = self._place.at(token)
                if isinstance(balance, ContractRefusal):
                    missing.append(place.unread(balance, account))
                elif not balance[0]:
                    continue
                else:
                    told = tokens[token]
                    if isinstance(told, ContractRefusal):  # anyone can send it
                        aside.append(place.aside(told, account))
                    else:
                        held.append(_position(told, balance[0]))
            positions = tuple(position for position in held if position.quantity)
            if positions:
                silos.append(self._place.silo(account, positions=positions, rule=NoLiquidation(), health=None))
        return VenueReading(venue=self.venue, silos=tuple(silos), unread=tuple(missing), aside=tuple(aside))


def _position(token: Asset, quantity: int) -> Position:
    return Position(instrument=token, quantity=Amount(quantity))
