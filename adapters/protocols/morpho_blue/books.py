"""Who has shares or collateral: what logs name, and the totals of each market."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, address_topic, ask, event_topic
from adapters.protocols.morpho_blue.interest import VIRTUAL_ASSETS, VIRTUAL_SHARES
from adapters.protocols.morpho_blue.markets import MARKET, Market, read_markets
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Touch
from riskschema.ports import AssetFactors, PinnedReader
from riskschema.units import Address, Hash32

_SUPPLY, _BORROW, _COLLATERAL = KINDS = ("supply", "borrow", "collateral")
"""Kinds of books, in the order of the answer of ``position``: a book is called by its kind and its market's id."""
POSITION = Function("position(bytes32,address)", "(uint256,uint256,uint256)")
_RECIPIENT = "fee_recipient"
_TOUCHED: dict[Hash32, tuple[int, tuple[str, ...]]] = {
    event_topic("Supply(bytes32,address,address,uint256,uint256)"): (3, (_SUPPLY,)),
    event_topic("Withdraw(bytes32,address,address,address,uint256,uint256)"): (2, (_SUPPLY,)),
    event_topic("Borrow(bytes32,address,address,address,uint256,uint256)"): (2, (_BORROW,)),
    event_topic("Repay(bytes32,address,address,uint256,uint256)"): (3, (_BORROW,)),
    event_topic("SupplyCollateral(bytes32,address,address,uint256)"): (3, (_COLLATERAL,)),
    event_topic("WithdrawCollateral(bytes32,address,address,address,uint256)"): (2, (_COLLATERAL,)),
    event_topic("Liquidate(bytes32,address,address,uint256,uint256,uint256,uint256,uint256)"): (
        3,
        (_BORROW, _COLLATERAL),
    ),
}
_ACCRUE_EVENT = event_topic("AccrueInterest(bytes32,uint256,uint256,uint256)")
_RECIPIENT_EVENT = event_topic("SetFeeRecipient(address)")


def log_query(singleton: Address) -> LogQuery:
    """Ask for all markets: the fee recipient, whose shares arise in each, is named by a log of none."""
    naming = LogQuery((singleton,), ((_RECIPIENT_EVENT,),))
    return LogQuery((singleton,), ((*_TOUCHED, _ACCRUE_EVENT, _RECIPIENT_EVENT),), naming)


def fold(ids: Sequence[Hash32], known: Known, logs: Sequence[Log]) -> Fold:
    """Take holders from every change of a position, and the fee recipient from accruals that give shares."""
    found, touches = dict(known), list[Touch]()
    markets = frozenset(ids)
    for log in logs:
        if log.topics[0] == _RECIPIENT_EVENT and len(log.topics) == 2:
            found[_RECIPIENT] = address_topic(log.topics[1])
        elif len(log.topics) > 1 and log.topics[1] in markets:
            for kind, account in _concerned(log, found.get(_RECIPIENT)):
                touches.append(Touch(f"{kind}:{log.topics[1]}", account, log.block_number, log.index))
    return Fold(found, touches)


async def read_books(
    reader: PinnedReader, singleton: Address, ids: Sequence[Hash32], assets: AssetFactors
) -> tuple[Book, ...]:
    """Return three books per market: supply and borrow shares, and collateral, of which there is no total."""
    states = await ask(reader, [(MARKET, singleton, (id_.to_bytes(),)) for id_ in ids])
    markets = await read_markets(reader, singleton, ids, assets)
    return tuple(
        book
        for (id_, market), state in zip(markets.items(), states, strict=True)
        for book in _books(id_, market, state)
    )


async def read_units(reader: PinnedReader, singleton: Address, holders: Sequence[Holder]) -> tuple[int | None, ...]:
    """Return shares and collateral as the singleton stores them."""
    where = [(holder.book.partition(":")[2], holder.account) for holder in holders]
    asked = list(dict.fromkeys(where))
    answers = await ask(reader, [(POSITION, singleton, (Hash32(id_).to_bytes(), account)) for id_, account in asked])
    stored = dict(zip(asked, answers, strict=True))
    units: list[int | None] = []
    for holder, place in zip(holders, where, strict=True):
        answer = stored[place]
        kind = KINDS.index(holder.book.partition(":")[0])
        units.append(None if isinstance(answer, ContractRefusal) else answer[kind])
    return tuple(units)


def _concerned(log: Log, recipient: Address | None) -> list[tuple[str, Address]]:
    """Return the books of its market that a log touches, and whose line in them."""
    event = log.topics[0]
    if event == _ACCRUE_EVENT:
        earns = recipient is not None and any(log.data[64:96])
        return [(_SUPPLY, recipient)] if earns and recipient is not None else []
    place, kinds = _TOUCHED.get(event, (0, ()))
    return [(kind, address_topic(log.topics[place])) for kind in kinds] if len(log.topics) == 4 else []


def _books(id_: Hash32, market: Market | ContractRefusal, state: Answer) -> tuple[Book, ...]:
    """Return the books of a market; shares are worth what accrual to the pinned block makes of them."""
    supply, borrow, collateral = (
        Book(name=f"{kind}:{id_}", owed=kind == _BORROW) for kind in (_SUPPLY, _BORROW, _COLLATERAL)
    )
    replace = msgspec.structs.replace
    if isinstance(state, ContractRefusal):
        supply, borrow = (replace(book, refusal=state.code) for book in (supply, borrow))
    else:
        supply, borrow = replace(supply, total=state[1]), replace(borrow, total=state[3])
    if isinstance(market, ContractRefusal):
        return supply, borrow, collateral
    totals, unit = market.totals, 10**market.loan.decimals
    sums = ((totals.supply_assets, totals.supply_shares), (totals.borrow_assets, totals.borrow_shares))
    supply, borrow = (
        replace(
            book,
            factor=market.loan.factor,
            numerator=assets + VIRTUAL_ASSETS,
            denominator=(shares + VIRTUAL_SHARES) * unit,
        )
        for book, (assets, shares) in zip((supply, borrow), sums, strict=True)
    )
    if not isinstance(market.collateral, ContractRefusal):
        pledged = market.collateral
        collateral = replace(collateral, factor=pledged.factor, numerator=1, denominator=10**pledged.decimals)
    return supply, borrow, collateral
