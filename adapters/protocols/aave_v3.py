"""Aave v3: accounts of one pool, from its addresses provider alone.

Health is `Pool.getUserAccountData` as the pool computes it. Positions are the balances of the interest-bearing and debt
tokens at the pinned block. Layouts: aave-v3-core 1.19, ``DataTypes.sol`` and ``ReserveConfiguration.sol``; e-mode
membership by bitmap since v3.2 (``getEModeCategoryCollateralBitmap``), by reserve configuration before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, Question, address_topic, ask, event_topic, known
from adapters.abi import known as told
from adapters.crosschecks import AccountTotals, Line, account_fault, contradiction
from adapters.places import Place
from adapters.scaled_balances import Scaled, read_balances
from adapters.tokens import factor_of, known_asset, read_tokens
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Touch, Units
from riskschema.instruments import Asset, Claim, Debt, VenueId
from riskschema.portfolio import USD, Aside, CollateralTerm, Position, Silo, Unread, VenueReading, WeightedCollateral
from riskschema.ports import AssetFactors, PinnedReader, ProtocolAdapter
from riskschema.units import WAD, ZERO_ADDRESS, Address, Amount, Hash32, Wad

PROTOCOL = "aave_v3"

MAX_RESERVES = 128
"""A user's configuration is a bitmap of two bits per reserve in one word."""

CLOSE_FACTOR = Wad(WAD // 2)
CLOSE_FACTOR_THRESHOLD = 95 * WAD // 100
"""``LiquidationLogic``: half of a debt may be repaid, all of it from a health factor of 0.95 down (since v3.3 also all
of it where the pair is worth less than 2,000 USD, which is not modelled)."""

_RAY_PER_WAD = 10**9
_BPS_AS_WAD = 10**14
_NO_DEBT = 2**256 - 1

_GET_POOL = Function("getPool()", "(address)")
_GET_ORACLE = Function("getPriceOracle()", "(address)")
_RESERVES = Function("getReservesList()", "(address[])")
_RESERVE_DATA = Function(
    "getReserveData(address)",
    "(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,address,address,address,address)",
)
_PRICE = Function("getAssetPrice(address)", "(uint256)")
_BASE_CURRENCY = Function("BASE_CURRENCY()", "(address)")
_BASE_UNIT = Function("BASE_CURRENCY_UNIT()", "(uint256)")
_USER_CONFIGURATION = Function("getUserConfiguration(address)", "(uint256)")
_USER_DATA = Function("getUserAccountData(address)", "(uint256,uint256,uint256,uint256,uint256,uint256)")
_USER_EMODE = Function("getUserEMode(address)", "(uint256)")
_EMODE = Function("getEModeCategoryData(uint8)", "((uint16,uint16,uint16,address,string))")
_EMODE_BITMAP = Function("getEModeCategoryCollateralBitmap(uint8)", "(uint256)")
_STABLE_BALANCE = Function("balanceOf(address)", "(uint256)")
_SCALED_TOTAL = Function("scaledTotalSupply()", "(uint256)")
_SCALED_BALANCE = Function("scaledBalanceOf(address)", "(uint256)")
_PRINCIPAL = Function("principalBalanceOf(address)", "(uint256)")
_INCOME = Function("getReserveNormalizedIncome(address)", "(uint256)")
_OWED = Function("getReserveNormalizedVariableDebt(address)", "(uint256)")

_PROXY_EVENT = event_topic("ProxyCreated(bytes32,address,address)")
_RESERVE_EVENT = event_topic("ReserveInitialized(address,address,address,address,address)")
_TRANSFER_EVENT = event_topic("Transfer(address,address,uint256)")
_TOPICS = ((_PROXY_EVENT, _RESERVE_EVENT, _TRANSFER_EVENT),)
_POOL, _CONFIGURATOR = "pool", "configurator"
_PROXIES = {
    Hash32(b"POOL".ljust(32, b"\0")): _POOL,
    Hash32(b"POOL_CONFIGURATOR".ljust(32, b"\0")): _CONFIGURATOR,
}
_SUPPLY, _VARIABLE, _STABLE = "supply", "debt", "stable_debt"
"""Kinds of books: a book is called by its kind and the token that keeps it, ``supply:0x…``."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a market is: its PoolAddressesProvider, which knows the pool and the oracle."""

    addresses_provider: Address


class Reserve(msgspec.Struct, frozen=True, kw_only=True):
    """One asset of the pool at the pinned block."""

    index: int
    asset: Address
    token: Asset | ContractRefusal
    price: Answer
    """The oracle's, in units of the base currency."""
    configuration: int
    supply_rate: int
    """Ray, as the next two."""
    variable_rate: int
    stable_rate: int
    """What a new stable loan would pay; each loan keeps its own, which is not read (gone since v3.2)."""
    a_token: Address
    stable_debt: Address
    variable_debt: Address

    def bits(self, first: int, count: int) -> int:
        """Return `count` bits of the configuration word from bit `first`."""
        return self.configuration >> first & ((1 << count) - 1)


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """The pool and what all its accounts share."""

    pool: Address
    oracle: Address
    numeraire: str
    base_unit: int
    reserves: tuple[Reserve, ...]


class EMode(msgspec.Struct, frozen=True, kw_only=True):
    """An efficiency mode category: which reserves it covers, and its terms in place of theirs."""

    members: frozenset[int]
    liquidation_threshold: int
    liquidation_bonus: int
    price: int | None


EModes = dict[int, EMode | ContractRefusal]


class Holdings(msgspec.Struct, kw_only=True):
    """What was read of one account."""

    configuration: int
    supplied: dict[int, int]
    """Base units by reserve index."""
    totals: AccountTotals
    """As the pool reports them."""
    refused: dict[int, ContractRefusal] = {}
    """Tokens that do not tell a balance which backs nothing, by reserve index."""
    debts: dict[int, tuple[int, int]] = {}
    """Variable and stable base units by reserve index."""
    emode: int = 0

    @property
    def health(self) -> Wad | None:
        """The pool's own word; None where nothing is owed."""
        return None if self.totals.health == _NO_DEBT else Wad(self.totals.health)

    def pledges(self, reserve: Reserve) -> bool:
        """Tell whether the account uses `reserve` as collateral (``UserConfiguration.isUsingAsCollateral``)."""
        return bool(self.configuration >> (2 * reserve.index + 1) & 1)

    def borrows(self, reserve: Reserve) -> bool:
        """Tell whether the account borrows `reserve` (``UserConfiguration.isBorrowing``)."""
        return bool(self.configuration >> (2 * reserve.index) & 1)


def adapter(deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> ProtocolAdapter:
    """Return the adapter of one deployment."""
    return AaveV3(deployment, chain_id=chain_id, assets=assets)


class AaveV3:
    """The `ProtocolAdapter` of one pool."""

    def __init__(self, deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> None:
        self._provider = deployment.addresses_provider
        self._place = Place(PROTOCOL, chain_id, self._provider)
        self._assets = assets

    @property
    def venue(self) -> VenueId:
        """The deployment's name."""
        return self._place.venue

    def log_query(self, known: Known) -> LogQuery:
        """Ask the provider for the pool and its configurator, that for the reserves, and their tokens for transfers."""
        named = [address for name, address in known.items() if name in (_POOL, _CONFIGURATOR)]
        tokens = [Address(name.partition(":")[2]) for name in known if ":" in name]
        naming = LogQuery(tuple(dict.fromkeys([self._provider, *named])), _TOPICS)
        return LogQuery(tuple(dict.fromkeys([*naming.addresses, *tokens])), _TOPICS, naming)

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        """Take tokens from what the provider and the configurator say, and holders from every transfer."""
        found, touches = dict(known), list[Touch]()
        books = {name.partition(":")[2]: name for name in found if ":" in name}
        for log in logs:
            if log.address in books:
                if log.topics[0] == _TRANSFER_EVENT and len(log.topics) == 3:
                    name = books[log.address]
                    for topic in log.topics[1:]:
                        touches.append(Touch(name, address_topic(topic), log.block_number, log.index))
            elif log.address == self._provider:
                found.update(_proxy(log))
            elif log.address == found.get(_CONFIGURATOR) and log.topics[0] == _RESERVE_EVENT:
                tokens = _reserve_tokens(log)
                found.update(tokens)
                books.update({name.partition(":")[2]: name for name in tokens})
        return Fold(found, touches)

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        """Return one book per interest-bearing and debt token; only stable debt has no total of what is held.

        Tokens of reserves that the pool lists and no log named have a book too: their holders are missing.
        """
        known = await self._with_listed(reader, known)
        pool = known.get(_POOL, ZERO_ADDRESS)
        kept = [(name, Address(name.partition(":")[2]), asset) for name, asset in sorted(known.items()) if ":" in name]
        totals = await ask(reader, [(_SCALED_TOTAL, token, ()) for _, token, _ in kept])
        indexes = await ask(reader, [(_index(name), pool, (asset,)) for name, _, asset in kept])
        tokens = await read_tokens(reader, [asset for _, _, asset in kept], self._assets, listed=True)
        return tuple(
            _book(name, total, index, tokens[asset])
            for (name, _, asset), total, index in zip(kept, totals, indexes, strict=True)
        )

    async def _with_listed(self, reader: PinnedReader, known: Known) -> Known:
        """Return what is known, with the reserves that the pool lists besides; as it is where the pool refuses."""
        named = {asset for name, asset in known.items() if name.startswith(f"{_SUPPLY}:")}
        try:
            [pool] = await ask(reader, [(_GET_POOL, self._provider, ())])
            [listed] = await ask(reader, [(_RESERVES, told(pool)[0], ())])
            missing = [asset for asset in told(listed)[0][:MAX_RESERVES] if asset not in named]
            data = await ask(reader, [(_RESERVE_DATA, told(pool)[0], (asset,)) for asset in missing])
            tokens = {asset: told(each)[8:11] for asset, each in zip(missing, data, strict=True)}
        except ContractRefusal:
            return known
        found = {_POOL: told(pool)[0], **known}
        for asset, (supply, stable, variable) in tokens.items():
            for kind, token in ((_SUPPLY, supply), (_STABLE, stable), (_VARIABLE, variable)):
                if token != ZERO_ADDRESS:
                    found[f"{kind}:{token}"] = asset
        return found

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        """Return scaled balances; of stable debt what was borrowed, interest up to the last change included."""
        functions = {_STABLE: _PRINCIPAL}
        parts = [holder.book.partition(":") for holder in holders]
        answers = await ask(
            reader,
            [
                (functions.get(kind, _SCALED_BALANCE), Address(token), (holder.account,))
                for (kind, _, token), holder in zip(parts, holders, strict=True)
            ],
        )
        return tuple(None if isinstance(answer, ContractRefusal) else answer[0] for answer in answers)

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
    ) -> VenueReading:
        """Read one silo per account that holds or owes anything; what the contracts refuse is in `unread`."""
        try:
            market = await read_market(reader, self._provider, self._assets)
        except ContractRefusal as refusal:
            return self._place.refuse_all(refusal, accounts)
        holdings = await read_holdings(reader, market, accounts, await _scaled(reader, market, indexed or {}))
        used = {held.emode for held in holdings.values() if isinstance(held, Holdings)} - {0}
        emodes = await read_emodes(reader, market, used)
        silos: list[Silo] = []
        missing: list[Unread] = []
        aside: list[Aside] = []
        for account, held in holdings.items():
            try:
                _check_account(reader, market, account, known(held), emodes)
                aside += [self._place.aside(reason, account) for reason in _set_aside(market, known(held))]
                if silo := self._silo(market, account, known(held), emodes):
                    silos.append(silo)
            except ContractRefusal as refusal:
                missing.append(self._place.unread(refusal, account))
        return VenueReading(venue=self.venue, silos=tuple(silos), unread=tuple(missing), aside=tuple(aside))

    def _silo(self, market: Market, account: Address, held: Holdings, emodes: EModes) -> Silo | None:
        """Return the account's silo, or None if it holds and owes nothing.

        Raises:
            ContractRefusal: a part of it could not be read.
        """
        emode = known(emodes[held.emode]) if held.emode else None
        pairs = [pair for reserve in market.reserves for pair in _positions(market, reserve, held, emode, self.venue)]
        if held.health is not None and not any(position.quantity < 0 for position, _ in pairs):
            raise ContractRefusal(f"{market.pool} reports debt of {account} but no debt token", code="answer_malformed")
        if not pairs:
            return None
        positions, terms = zip(*pairs, strict=True)
        halved = held.health is None or held.health > CLOSE_FACTOR_THRESHOLD
        close_factor = CLOSE_FACTOR if halved else Wad(WAD)
        rule = WeightedCollateral(numeraire=market.numeraire, terms=terms, close_factor=close_factor)
        return self._place.silo(account, positions=positions, rule=rule, health=held.health)


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
    tokens = {_SUPPLY: address_topic(log.topics[2]), _VARIABLE: variable, _STABLE: stable}
    return {f"{kind}:{token}": asset for kind, token in tokens.items() if token != ZERO_ADDRESS}


def _index(book: str) -> Function:
    return _INCOME if book.startswith(f"{_SUPPLY}:") else _OWED


def _book(name: str, total: Answer, index: Answer, token: Asset | ContractRefusal) -> Book:
    """Return a book: scaled units grow with the index of their reserve (ray)."""
    kind = name.partition(":")[0]
    book = Book(name=name, owed=kind != _SUPPLY)
    if kind != _STABLE:
        told = {"refusal": total.code} if isinstance(total, ContractRefusal) else {"total": total[0]}
        book = msgspec.structs.replace(book, **told)
    if isinstance(index, ContractRefusal) or isinstance(token, ContractRefusal):
        return book
    return msgspec.structs.replace(
        book,
        factor=token.factor,
        numerator=10**27 if kind == _STABLE else index[0],
        denominator=10 ** (27 + token.decimals),
    )


async def read_market(reader: PinnedReader, provider: Address, assets: AssetFactors) -> Market:
    """Read the pool, its reserves and their oracle prices.

    Raises:
        ContractRefusal: the pool or one of its reserves cannot be read (a missing price is kept as such).
        TransientError: the endpoint failed.
    """
    pool, oracle = (
        known(answer)[0] for answer in await ask(reader, [(_GET_POOL, provider, ()), (_GET_ORACLE, provider, ())])
    )
    base = await ask(reader, [(_RESERVES, pool, ()), (_BASE_UNIT, oracle, ()), (_BASE_CURRENCY, oracle, ())])
    (listed,), (base_unit,), (currency,) = (known(answer) for answer in base)
    if len(listed) > MAX_RESERVES or not base_unit:
        raise ContractRefusal(f"{pool} lists {len(listed)} reserves, unit {base_unit}", code="answer_malformed")
    data = await ask(reader, [(_RESERVE_DATA, pool, (asset,)) for asset in listed])
    prices = await ask(reader, [(_PRICE, oracle, (asset,)) for asset in listed])
    tokens = await read_tokens(reader, listed, assets, listed=True)
    for asset, values in zip(listed, data, strict=True):
        _check_decimals(reader, tokens[asset], known(values)[0])
    return Market(
        pool=pool,
        oracle=oracle,
        numeraire=USD if currency == ZERO_ADDRESS else factor_of(currency, reader.block.chain_id, assets),
        base_unit=base_unit,
        reserves=tuple(
            _reserve(asset, tokens[asset], known(values), price)
            for asset, values, price in zip(listed, data, prices, strict=True)
        ),
    )


def _check_decimals(reader: PinnedReader, token: Asset | ContractRefusal, configuration: int) -> None:
    """Hold a token's decimals against those that the pool computes with (bits 48 to 55)."""
    said = configuration >> 48 & 0xFF
    if not isinstance(token, ContractRefusal) and token.decimals != said:
        contradiction(reader, f"token {token.address} says {token.decimals} decimals, the pool that it has {said}")


def _check_account(reader: PinnedReader, market: Market, account: Address, held: Holdings, emodes: EModes) -> None:
    """Hold an account's balances, prices and thresholds against what the pool makes of them."""
    emode = known(emodes[held.emode]) if held.emode else None
    pledged: list[Line] = []
    owed: list[Line] = []
    for reserve in market.reserves:
        supplied, debts = held.supplied.get(reserve.index, 0), held.debts.get(reserve.index, (0, 0))
        if not (supplied and held.pledges(reserve)) and not any(debts):
            continue
        member = emode if emode is not None and reserve.index in emode.members else None
        unit, price = 10 ** reserve.bits(48, 8), _oracle_price(market, reserve, member)
        threshold = member.liquidation_threshold if member else reserve.bits(16, 16)
        if supplied and held.pledges(reserve) and reserve.bits(16, 16):
            pledged.append(Line(supplied, unit, price, threshold))
        owed += [Line(amount, unit, price) for amount in debts if amount]
    fault = account_fault(held.totals, pledged, owed)
    if fault:
        contradiction(reader, f"{market.pool} reports {fault} for {account}")


def _reserve(asset: Address, token: Asset | ContractRefusal, values: tuple[Any, ...], price: Answer) -> Reserve:
    configuration, _, supply_rate, _, variable_rate, stable_rate, _, index, a_token, stable, variable, _ = values
    if index >= MAX_RESERVES:
        raise ContractRefusal(f"reserve {asset} has id {index}", code="answer_malformed")
    return Reserve(
        index=index,
        asset=asset,
        token=token,
        price=price,
        configuration=configuration,
        supply_rate=supply_rate,
        variable_rate=variable_rate,
        stable_rate=stable_rate,
        a_token=a_token,
        stable_debt=stable,
        variable_debt=variable,
    )


async def _scaled(reader: PinnedReader, market: Market, held: Units) -> dict[Address, Scaled]:
    """Return what is known of each token's holders, with the token's index at the pinned block."""
    kept = [
        (token, held[f"{kind}:{token}"], function, reserve.asset)
        for reserve in market.reserves
        for kind, token, function in (
            (_SUPPLY, reserve.a_token, _INCOME),
            (_VARIABLE, reserve.variable_debt, _OWED),
        )
        if f"{kind}:{token}" in held
    ]
    indexes = await ask(reader, [(function, market.pool, (asset,)) for _, _, function, asset in kept])
    return {
        token: Scaled(units, index[0])
        for (token, units, _, _), index in zip(kept, indexes, strict=True)
        if not isinstance(index, ContractRefusal)
    }


async def read_holdings(
    reader: PinnedReader, market: Market, accounts: Sequence[Address], scaled: Mapping[Address, Scaled]
) -> dict[Address, Holdings | ContractRefusal]:
    """Read balances and the pool's own totals, and for accounts that pledged or borrowed also debts and e-mode.

    Raises:
        TransientError: the endpoint failed.
    """
    unique = list(dict.fromkeys(accounts))
    functions = (_USER_CONFIGURATION, _USER_DATA)
    answers = await ask(reader, [(function, market.pool, (account,)) for account in unique for function in functions])
    tokens = [reserve.a_token for reserve in market.reserves]
    balances = await read_balances(reader, [(token, account) for account in unique for token in tokens], scaled)
    found = {
        account: _supplied(market, answers[2 * at : 2 * at + 2], [balances[token, account] for token in tokens])
        for at, account in enumerate(unique)
    }
    await _complete(reader, market, found, scaled)
    return found


def _supplied(
    market: Market, answers: Sequence[Answer], balances: Sequence[int | ContractRefusal]
) -> Holdings | ContractRefusal:
    try:
        (configuration,), (collateral, debt, _, threshold, _, health) = (known(answer) for answer in answers)
        held = Holdings(
            configuration=configuration, supplied={}, totals=AccountTotals(collateral, debt, threshold, health)
        )
        for reserve, balance in zip(market.reserves, balances, strict=True):
            if isinstance(balance, ContractRefusal) and not held.pledges(reserve) and not held.borrows(reserve):
                held.refused[reserve.index] = balance
            else:
                held.supplied[reserve.index] = known(balance)
    except ContractRefusal as refusal:
        return refusal
    return held


def _set_aside(market: Market, held: Holdings) -> list[ContractRefusal]:
    """Take out of what an account holds that which backs no debt and whose worth nobody can tell; return why.

    Anyone can send anybody interest-bearing tokens of any reserve.
    """
    reasons = list(held.refused.values())
    for reserve in market.reserves:
        if held.supplied.get(reserve.index) and not held.pledges(reserve) and not held.borrows(reserve):
            try:
                known(reserve.token)
                _price(market, reserve, None)
            except ContractRefusal as refusal:
                reasons.append(refusal)
                del held.supplied[reserve.index]
    return reasons


async def _complete(
    reader: PinnedReader,
    market: Market,
    found: dict[Address, Holdings | ContractRefusal],
    scaled: Mapping[Address, Scaled],
) -> None:
    """Fill in debts and e-mode of the accounts that have any."""
    owed = await _variable_debts(reader, market, found, scaled)
    questions: list[Question] = []
    spans: dict[Address, slice] = {}
    for account, held in found.items():
        if account in owed and isinstance(held, Holdings):
            asked = list(_questions(market, account, held))
            spans[account] = slice(len(questions), len(questions) + len(asked))
            questions += asked
    answers = await ask(reader, questions)
    for account, span in spans.items():
        held = found[account]
        assert isinstance(held, Holdings)  # noqa: S101 - only those were asked about
        try:
            _fill(market, held, [known(answer) for answer in answers[span]], owed[account])
        except ContractRefusal as refusal:
            found[account] = refusal


def _questions(market: Market, account: Address, held: Holdings) -> Iterable[Question]:
    """Yield what to ask about one account, in the order that `_fill` reads."""
    yield _USER_EMODE, market.pool, (account,)
    for reserve in filter(held.borrows, market.reserves):
        if reserve.stable_debt != ZERO_ADDRESS:  # gone since v3.2
            yield _STABLE_BALANCE, reserve.stable_debt, (account,)


async def _variable_debts(
    reader: PinnedReader,
    market: Market,
    found: Mapping[Address, Holdings | ContractRefusal],
    scaled: Mapping[Address, Scaled],
) -> dict[Address, dict[int, int | ContractRefusal]]:
    """Return the variable debt by reserve of every account that pledged or borrowed."""
    owing = {
        account: list(filter(held.borrows, market.reserves))
        for account, held in found.items()
        if isinstance(held, Holdings) and held.configuration
    }
    pairs = [(reserve.variable_debt, account) for account, reserves in owing.items() for reserve in reserves]
    balances = await read_balances(reader, pairs, scaled)
    return {
        account: {reserve.index: balances[reserve.variable_debt, account] for reserve in reserves}
        for account, reserves in owing.items()
    }


def _fill(
    market: Market,
    held: Holdings,
    answers: Sequence[tuple[Any, ...]],
    owed: Mapping[int, int | ContractRefusal],
) -> None:
    remaining = iter(answers)
    held.emode = next(remaining)[0] & 0xFF
    held.debts = {}
    for reserve in filter(held.borrows, market.reserves):
        variable = known(owed[reserve.index])
        held.debts[reserve.index] = (variable, next(remaining)[0] if reserve.stable_debt != ZERO_ADDRESS else 0)


async def read_emodes(reader: PinnedReader, market: Market, categories: Iterable[int]) -> EModes:
    """Read the terms of e-mode categories.

    Raises:
        TransientError: the endpoint failed.
    """
    used = sorted(categories)
    data = await ask(reader, [(_EMODE, market.pool, (category,)) for category in used])
    bitmaps = await ask(reader, [(_EMODE_BITMAP, market.pool, (category,)) for category in used])
    sources = [ZERO_ADDRESS if isinstance(terms, ContractRefusal) else terms[0][3] for terms in data]
    prices = await ask(reader, [(_PRICE, market.oracle, (source,)) for source in sources])
    return {
        category: _emode(market, category, *answers)
        for category, *answers in zip(used, data, bitmaps, prices, strict=True)
    }


def _emode(market: Market, category: int, terms: Answer, bitmap: Answer, price: Answer) -> EMode | ContractRefusal:
    try:
        _, threshold, bonus, source, _ = known(terms)[0]
        own_price = known(price)[0] if source != ZERO_ADDRESS else 0
    except ContractRefusal as refusal:
        return refusal
    if isinstance(bitmap, ContractRefusal):  # before v3.2 each reserve named its category, and needed its own threshold
        named = (each for each in market.reserves if each.bits(168, 8) == category and each.bits(16, 16))
        members = frozenset(each.index for each in named)
    else:
        members = frozenset(each.index for each in market.reserves if bitmap[0] >> each.index & 1)
    return EMode(members=members, liquidation_threshold=threshold, liquidation_bonus=bonus, price=own_price or None)


def _positions(
    market: Market, reserve: Reserve, held: Holdings, emode: EMode | None, venue: VenueId
) -> list[tuple[Position, CollateralTerm]]:
    """Return what one account has in one reserve, each with how the pool counts it."""
    supplied = held.supplied.get(reserve.index, 0)
    debts = held.debts.get(reserve.index, (0, 0))
    if not supplied and not any(debts):
        return []
    token = known_asset(reserve.token)
    member = emode if emode is not None and reserve.index in emode.members else None
    price = _price(market, reserve, member)
    pairs = []
    if supplied:
        claim = Claim(token=token, venue=venue, annual_rate=Wad(reserve.supply_rate // _RAY_PER_WAD))
        term = _term(reserve, member, price, held.pledges(reserve))
        pairs.append((Position(instrument=claim, quantity=Amount(supplied)), term))
    for amount, rate in zip(debts, (reserve.variable_rate, reserve.stable_rate), strict=True):
        if not amount:
            continue
        debt = Debt(token=token, venue=venue, annual_rate=Wad(rate // _RAY_PER_WAD))
        owed = CollateralTerm(weight=Wad(WAD), price=price)
        pairs.append((Position(instrument=debt, quantity=Amount(-amount)), owed))
    return pairs


def _price(market: Market, reserve: Reserve, member: EMode | None) -> Wad:
    """Return the price of a whole token in the numeraire, as the pool counts it; a refusal where it has none."""
    return Wad(_oracle_price(market, reserve, member) * WAD // market.base_unit)


def _oracle_price(market: Market, reserve: Reserve, member: EMode | None) -> int:
    """Return the price of a whole token in base units of the numeraire, never zero."""
    price: int = member.price if member and member.price else known(reserve.price)[0]
    if not price:
        raise ContractRefusal(f"the oracle {market.oracle} prices {reserve.asset} at zero", code="answer_malformed")
    return price


def _term(reserve: Reserve, member: EMode | None, price: Wad, pledged: bool) -> CollateralTerm:
    """Return how a supplied balance counts: at its threshold if pledged (the category's in e-mode), else not."""
    threshold, bonus = reserve.bits(16, 16), reserve.bits(32, 16)
    if member:
        threshold, bonus = member.liquidation_threshold, member.liquidation_bonus
    if threshold > 10_000:
        raise ContractRefusal(f"threshold of {reserve.asset} is {threshold} basis points", code="answer_malformed")
    return CollateralTerm(
        weight=Wad(threshold * _BPS_AS_WAD if pledged else 0),
        price=price,
        liquidation_bonus=Wad(max(0, bonus - 10_000) * _BPS_AS_WAD),
    )
