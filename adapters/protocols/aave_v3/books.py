"""Who has tokens of the pool: what logs name, and what the tokens say of all holders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, Question, address_topic, ask, event_topic
from adapters.abi import known as told
from adapters.protocols.aave_v3.market import GET_POOL, MAX_RESERVES, RESERVE_DATA, RESERVES
from adapters.tokens import read_tokens
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Touch
from riskschema.instruments import Asset
from riskschema.ports import AssetFactors, PinnedReader
from riskschema.units import ZERO_ADDRESS, Address, Hash32

_SCALED_TOTAL = Function("scaledTotalSupply()", "(uint256)")
_SCALED_BALANCE = Function("scaledBalanceOf(address)", "(uint256)")
_PRINCIPAL = Function("principalBalanceOf(address)", "(uint256)")
INCOME = Function("getReserveNormalizedIncome(address)", "(uint256)")
OWED = Function("getReserveNormalizedVariableDebt(address)", "(uint256)")
_PROXY_EVENT = event_topic("ProxyCreated(bytes32,address,address)")
_RESERVE_EVENT = event_topic("ReserveInitialized(address,address,address,address,address)")
_TRANSFER_EVENT = event_topic("Transfer(address,address,uint256)")
_PLEDGED_EVENT = event_topic("ReserveUsedAsCollateralEnabled(address,address)")
_UNPLEDGED_EVENT = event_topic("ReserveUsedAsCollateralDisabled(address,address)")
_EMODE_EVENT = event_topic("UserEModeSet(address,uint8)")
_NAMING_TOPICS = ((_PROXY_EVENT, _RESERVE_EVENT),)
_TOPICS = ((*_NAMING_TOPICS[0], _TRANSFER_EVENT, _PLEDGED_EVENT, _UNPLEDGED_EVENT, _EMODE_EVENT),)
USER_CONFIGURATION = Function("getUserConfiguration(address)", "(uint256)")
USER_EMODE = Function("getUserEMode(address)", "(uint256)")
_POOL, _CONFIGURATOR = "pool", "configurator"
_PROXIES = {
    Hash32(b"POOL".ljust(32, b"\0")): _POOL,
    Hash32(b"POOL_CONFIGURATOR".ljust(32, b"\0")): _CONFIGURATOR,
}
SUPPLY, VARIABLE, STABLE = "supply", "debt", "stable_debt"
"""Kinds of books: a book is called by its kind and the token that keeps it, ``supply:0x…``."""
CONFIGURATION, EMODE = "configuration", "emode"
"""Books that the pool keeps of all accounts: which reserves they use, and their e-mode."""


def log_query(provider: Address, known: Known) -> LogQuery:
    """Ask the provider for the pool and its configurator, that for the reserves, and their tokens for transfers."""
    named = [address for name, address in known.items() if name in (_POOL, _CONFIGURATOR)]
    tokens = [Address(name.partition(":")[2]) for name in known if ":" in name]
    naming = LogQuery(tuple(dict.fromkeys([provider, *named])), _NAMING_TOPICS)
    return LogQuery(tuple(dict.fromkeys([*naming.addresses, *tokens])), _TOPICS, naming)


def fold(provider: Address, known: Known, logs: Sequence[Log]) -> Fold:
    """Take tokens from what the provider and the configurator say, and holders from every transfer.

    Which reserves an account uses changes with the pool's own events and with those of debt (``UserConfiguration``).
    """
    found, touches = dict(known), list[Touch]()
    books = {name.partition(":")[2]: name for name in found if ":" in name}
    for log in logs:
        if log.address in books:
            if log.topics[0] == _TRANSFER_EVENT and len(log.topics) == 3:
                touches += _transferred(books[log.address], log)
        elif log.address == provider:
            found.update(_proxy(log))
        elif log.address == found.get(_POOL):
            touches += _set_up(log)
        elif log.address == found.get(_CONFIGURATOR) and log.topics[0] == _RESERVE_EVENT:
            tokens = _reserve_tokens(log)
            found.update(tokens)
            books.update({name.partition(":")[2]: name for name in tokens})
    return Fold(found, touches)


def _transferred(book: str, log: Log) -> Iterable[Touch]:
    """Return whom a transfer touches; minting and burning debt also touches which reserves the debtor uses."""
    for topic in log.topics[1:]:
        account = address_topic(topic)
        yield Touch(book, account, log.block_number, log.index)
        if account != ZERO_ADDRESS and not book.startswith(f"{SUPPLY}:"):
            yield Touch(CONFIGURATION, account, log.block_number, log.index)


def _set_up(log: Log) -> Iterable[Touch]:
    """Return whose settings an event of the pool touches."""
    if log.topics[0] in (_PLEDGED_EVENT, _UNPLEDGED_EVENT) and len(log.topics) == 3:
        yield Touch(CONFIGURATION, address_topic(log.topics[2]), log.block_number, log.index)
    elif log.topics[0] == _EMODE_EVENT and len(log.topics) == 2:
        yield Touch(EMODE, address_topic(log.topics[1]), log.block_number, log.index)


async def read_books(reader: PinnedReader, provider: Address, known: Known, assets: AssetFactors) -> tuple[Book, ...]:
    """Return one book per interest-bearing and debt token; only stable debt has no total of what is held.

    Tokens of reserves that the pool lists and no log named have a book too: their holders are missing.
    """
    settings = [Book(name=name, amounts=False) for name in (CONFIGURATION, EMODE) if _POOL in known]
    known = await _with_listed(reader, provider, known)
    pool = known.get(_POOL, ZERO_ADDRESS)
    kept = [(name, Address(name.partition(":")[2]), asset) for name, asset in sorted(known.items()) if ":" in name]
    scaled = [token for name, token, _ in kept if not name.startswith(f"{STABLE}:")]
    questions: list[Question] = [(_SCALED_TOTAL, token, ()) for token in scaled]
    questions += [(_index(name), pool, (asset,)) for name, _, asset in kept]
    answers = await ask(reader, questions)
    totals, indexes = dict(zip(scaled, answers, strict=False)), answers[len(scaled) :]
    tokens = await read_tokens(reader, [asset for _, _, asset in kept], assets, listed=True)
    tokens_books = (
        _book(name, totals.get(token), index, tokens[asset])
        for (name, token, asset), index in zip(kept, indexes, strict=True)
    )
    return *tokens_books, *settings


async def _with_listed(reader: PinnedReader, provider: Address, known: Known) -> Known:
    """Return what is known, with the reserves that the pool lists besides; as it is where the pool refuses."""
    named = {asset for name, asset in known.items() if name.startswith(f"{SUPPLY}:")}
    try:
        [pool] = await ask(reader, [(GET_POOL, provider, ())])
        [listed] = await ask(reader, [(RESERVES, told(pool)[0], ())])
        missing = [asset for asset in told(listed)[0][:MAX_RESERVES] if asset not in named]
        data = await ask(reader, [(RESERVE_DATA, told(pool)[0], (asset,)) for asset in missing])
        tokens = {asset: told(each)[8:11] for asset, each in zip(missing, data, strict=True)}
    except ContractRefusal:
        return known
    found = {_POOL: told(pool)[0], **known}
    for asset, (supply, stable, variable) in tokens.items():
        for kind, token in ((SUPPLY, supply), (STABLE, stable), (VARIABLE, variable)):
            if token != ZERO_ADDRESS:
                found[f"{kind}:{token}"] = asset
    return found


async def read_units(reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
    """Return scaled balances; of stable debt what was borrowed, interest up to the last change included.

    Of the pool's own books: the bitmap of reserves (``UserConfigurationMap``), and the category.
    """
    answers = await ask(reader, [_question(known, holder) for holder in holders])
    return tuple(None if isinstance(answer, ContractRefusal) else answer[0] for answer in answers)


def _question(known: Known, holder: Holder) -> Question:
    kind, _, token = holder.book.partition(":")
    if kind in (CONFIGURATION, EMODE):
        return USER_CONFIGURATION if kind == CONFIGURATION else USER_EMODE, known[_POOL], (holder.account,)
    return _PRINCIPAL if kind == STABLE else _SCALED_BALANCE, Address(token), (holder.account,)


def _proxy(log: Log) -> dict[str, Address]:
    """Return the pool or its configurator, where the provider says that it made one."""
    if log.topics[0] != _PROXY_EVENT or len(log.topics) != 4 or log.topics[1] not in _PROXIES:
        return {}
    return {_PROXIES[log.topics[1]]: address_topic(log.topics[2])}


def _reserve_tokens(log: Log) -> dict[str, Address]:
    """Return the books of a new reserve (``ReserveInitialized``), each with the asset."""
    if len(log.topics) != 3 or len(log.data) < 64:
        return {}
    asset = address_topic(log.topics[1])
    stable, variable = (Address("0x" + log.data[at + 12 : at + 32].hex()) for at in (0, 32))
    tokens = {SUPPLY: address_topic(log.topics[2]), VARIABLE: variable, STABLE: stable}
    return {f"{kind}:{token}": asset for kind, token in tokens.items() if token != ZERO_ADDRESS}


def _index(book: str) -> Function:
    return INCOME if book.startswith(f"{SUPPLY}:") else OWED


def _book(name: str, total: Answer | None, index: Answer, token: Asset | ContractRefusal) -> Book:
    """Return a book: scaled units grow with the index of their reserve (ray); stable debt has no scaled total."""
    kind = name.partition(":")[0]
    book = Book(name=name, owed=kind != SUPPLY)
    if kind != STABLE and total is not None:
        told = {"refusal": total.code} if isinstance(total, ContractRefusal) else {"total": total[0]}
        book = msgspec.structs.replace(book, **told)
    if isinstance(index, ContractRefusal) or isinstance(token, ContractRefusal):
        return book
    return msgspec.structs.replace(
        book,
        factor=token.factor,
        numerator=10**27 if kind == STABLE else index[0],
        denominator=10 ** (27 + token.decimals),
    )
