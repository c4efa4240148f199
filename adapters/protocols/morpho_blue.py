"""Morpho Blue: positions in isolated markets, interest accrued to the pinned block as `_accrueInterest` would.

The borrower's side of a market (collateral and debt) is one silo, the lender's side another that nothing liquidates.
Formulas and roundings: morpho-blue 1.0.0, ``Morpho.sol``, ``MathLib.sol``, ``SharesMathLib.sol``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from eth_abi.abi import encode
from eth_hash.auto import keccak
from msgspec import Meta

from adapters.abi import Answer, ContractRefusal, Function, Question, address_topic, ask, event_topic, known
from adapters.crosschecks import contradiction
from adapters.places import Place
from adapters.tokens import known_asset, read_tokens
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Touch, Units
from riskschema.instruments import Asset, Claim, Debt, VenueId
from riskschema.portfolio import (
    Aside,
    CollateralTerm,
    NoLiquidation,
    Position,
    Silo,
    Unread,
    VenueReading,
    WeightedCollateral,
)
from riskschema.ports import AssetFactors, PinnedReader, ProtocolAdapter
from riskschema.units import WAD, ZERO_ADDRESS, Address, Amount, Hash32, Wad

PROTOCOL = "morpho_blue"

ORACLE_PRICE_SCALE = 10**36
LIQUIDATION_CURSOR = 3 * WAD // 10
MAX_LIQUIDATION_INCENTIVE_FACTOR = 115 * WAD // 100
VIRTUAL_ASSETS, VIRTUAL_SHARES = 1, 10**6
SECONDS_PER_YEAR = 365 * 86_400

_PARAMETERS = Function("idToMarketParams(bytes32)", "(address,address,address,address,uint256)")
_MARKET = Function("market(bytes32)", "(uint256,uint256,uint256,uint256,uint256,uint256)")
_POSITION = Function("position(bytes32,address)", "(uint256,uint256,uint256)")
_FEE_RECIPIENT = Function("feeRecipient()", "(address)")
_PRICE = Function("price()", "(uint256)")
_BORROW_RATE = Function(
    "borrowRateView((address,address,address,address,uint256),(uint128,uint128,uint128,uint128,uint128,uint128))",
    "(uint256)",
)

_SUPPLY, _BORROW, _COLLATERAL = _KINDS = ("supply", "borrow", "collateral")
"""Kinds of books, in the order of the answer of ``position``: a book is called by its kind and its market's id."""
_RECIPIENT = "fee_recipient"

# the account concerned is one of the indexed arguments: at place 2 or 3 of the topics
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


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The singleton, and the ids of the markets to read (``keccak256(abi.encode(marketParams))``)."""

    singleton: Address
    markets: Annotated[tuple[Hash32, ...], Meta(min_length=1, max_length=1024)]


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """A market's ``Market`` struct, and what accrual added for the fee recipient."""

    supply_assets: int
    supply_shares: int
    borrow_assets: int
    borrow_shares: int
    fee: int
    pending_fee_shares: int = 0


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """One market at the pinned block, interest accrued."""

    id: Hash32
    loan: Asset
    collateral: Asset | ContractRefusal
    price: Answer
    """Loan base units per collateral base unit, times 10^36."""
    lltv: int
    rate_per_second: int
    totals: Totals


def adapter(deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> ProtocolAdapter:
    """Return the adapter of one deployment."""
    return MorphoBlue(deployment, chain_id=chain_id, assets=assets)


class MorphoBlue:
    """The `ProtocolAdapter` of a list of markets."""

    def __init__(self, deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> None:
        self._singleton = deployment.singleton
        self._markets = tuple(dict.fromkeys(deployment.markets))
        self._place = Place(PROTOCOL, chain_id, self._singleton)
        self._assets = assets

    @property
    def venue(self) -> VenueId:
        """The deployment's name."""
        return self._place.venue

    def log_query(self, known: Known) -> LogQuery:
        """Ask for all markets: the fee recipient, whose shares arise in each, is named by a log of none."""
        naming = LogQuery((self._singleton,), ((_RECIPIENT_EVENT,),))
        return LogQuery((self._singleton,), ((*_TOUCHED, _ACCRUE_EVENT, _RECIPIENT_EVENT),), naming)

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        """Take holders from every change of a position, and the fee recipient from accruals that give shares."""
        found, touches = dict(known), list[Touch]()
        markets = frozenset(self._markets)
        for log in logs:
            if log.topics[0] == _RECIPIENT_EVENT and len(log.topics) == 2:
                found[_RECIPIENT] = address_topic(log.topics[1])
            elif len(log.topics) > 1 and log.topics[1] in markets:
                for kind, account in _concerned(log, found.get(_RECIPIENT)):
                    touches.append(Touch(f"{kind}:{log.topics[1]}", account, log.block_number, log.index))
        return Fold(found, touches)

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        """Return three books per market: supply and borrow shares, and collateral, of which there is no total."""
        states = await ask(reader, [(_MARKET, self._singleton, (id_.to_bytes(),)) for id_ in self._markets])
        markets = await read_markets(reader, self._singleton, self._markets, self._assets)
        return tuple(
            book
            for (id_, market), state in zip(markets.items(), states, strict=True)
            for book in _books(id_, market, state)
        )

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        """Return shares and collateral as the singleton stores them."""
        where = [(holder.book.partition(":")[2], holder.account) for holder in holders]
        asked = list(dict.fromkeys(where))
        answers = await ask(
            reader, [(_POSITION, self._singleton, (Hash32(id_).to_bytes(), account)) for id_, account in asked]
        )
        stored = dict(zip(asked, answers, strict=True))
        units: list[int | None] = []
        for holder, place in zip(holders, where, strict=True):
            answer = stored[place]
            kind = _KINDS.index(holder.book.partition(":")[0])
            units.append(None if isinstance(answer, ContractRefusal) else answer[kind])
        return tuple(units)

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
    ) -> VenueReading:
        """Read up to two silos per account and market; what the contracts refuse is in `unread`."""
        unique = list(dict.fromkeys(accounts))
        markets = await read_markets(reader, self._singleton, self._markets, self._assets)
        [recipient] = await ask(reader, [(_FEE_RECIPIENT, self._singleton, ())])
        positions = await ask(
            reader,
            [(_POSITION, self._singleton, (id_.to_bytes(), account)) for id_ in self._markets for account in unique],
        )
        silos: list[Silo] = []
        missing: list[Unread] = []
        aside: list[Aside] = []
        for at, (id_, market) in enumerate(markets.items()):
            place = self._place.at(id_)
            for account, answer in zip(unique, positions[at * len(unique) :], strict=False):
                _check_shares(reader, id_, market, account, answer)
                try:
                    found = _silos(place, market, account, known(answer), fees=account == known(recipient)[0])
                except ContractRefusal as refusal:
                    missing.append(place.unread(refusal, account))
                    continue
                silos += [each for each in found if isinstance(each, Silo)]
                aside += [each for each in found if isinstance(each, Aside)]
        return VenueReading(venue=self.venue, silos=tuple(silos), unread=tuple(missing), aside=tuple(aside))


def _silos(
    place: Place,
    market: Market | ContractRefusal,
    account: Address,
    stored: tuple[Any, ...],
    *,
    fees: bool,
) -> list[Silo | Aside]:
    """Return the borrower's and the lender's silo of one account in one market, where there is anything in them.

    Anyone can lend or pledge for anybody: what nobody can tell of that, while nothing is owed, is set aside.

    Args:
        place: The market's.
        market: Its state, or why there is none.
        account: Whose.
        stored: Supply shares, borrow shares and collateral.
        fees: The account earns the market's fees.

    Raises:
        ContractRefusal: a debt, or what backs it, cannot be valued.
    """
    supply, borrow, collateral = stored
    found: list[Silo | Aside] = []
    if isinstance(market, NoMarket):
        raise market
    if borrow:
        found.append(_borrower(place, known(market), account, collateral, borrow))
    elif collateral:
        found += _spare(place, market, account, lambda sound: _borrower(place, sound, account, collateral, 0))
    if supply or fees:
        found += _spare(place, market, account, lambda sound: _lender(place, sound, account, supply, fees=fees))
    return found


def _spare(
    place: Place,
    market: Market | ContractRefusal,
    account: Address,
    silo: Callable[[Market], Silo | None],
) -> list[Silo | Aside]:
    try:
        made = silo(known(market))
    except ContractRefusal as refusal:
        return [place.aside(refusal, account)]
    return [] if made is None else [made]


def _check_shares(
    reader: PinnedReader, id_: Hash32, market: Market | ContractRefusal, account: Address, position: Answer
) -> None:
    """Hold an account's shares against those of all together."""
    if isinstance(market, ContractRefusal) or isinstance(position, ContractRefusal):
        return
    totals = market.totals
    if position[0] > totals.supply_shares or position[1] > totals.borrow_shares:
        contradiction(reader, f"{account} has more shares of market {id_} than there are")


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


async def read_markets(
    reader: PinnedReader, singleton: Address, ids: Sequence[Hash32], assets: AssetFactors
) -> dict[Hash32, Market | ContractRefusal]:
    """Read markets and accrue their interest to the pinned block; a market that refuses is a refusal.

    Raises:
        TransientError: the endpoint failed.
    """
    parameters = await ask(reader, [(_PARAMETERS, singleton, (id_.to_bytes(),)) for id_ in ids])
    states = await ask(reader, [(_MARKET, singleton, (id_.to_bytes(),)) for id_ in ids])
    described = [_described(*each) for each in zip(ids, parameters, states, strict=True)]
    existing = [each for each in described if isinstance(each, Described)]
    tokens = await read_tokens(
        reader, [token for each in existing for token in each.parameters[:2]], assets, listed=True
    )
    prices = await ask(reader, [(_PRICE, each.parameters[2], ()) for each in existing])
    rates = await ask(reader, [_rate_question(each) for each in existing])
    outside = iter(zip(prices, rates, strict=True))
    return {
        id_: each
        if isinstance(each, ContractRefusal)
        else _market(id_, each, tokens, next(outside), reader.block.timestamp)
        for id_, each in zip(ids, described, strict=True)
    }


class NoMarket(ContractRefusal):
    """The settings name a market that was never made: unread for everybody, until somebody corrects them."""


class Described(msgspec.Struct, frozen=True):
    """A market as the singleton stores it: ``MarketParams`` and ``Market``."""

    parameters: tuple[Any, ...]
    state: tuple[int, ...]


def _described(id_: Hash32, parameters: Answer, state: Answer) -> Described | ContractRefusal:
    try:
        described = Described(known(parameters), known(state))
    except ContractRefusal as refusal:
        return refusal
    if keccak(encode(["address"] * 4 + ["uint256"], described.parameters)) != id_.to_bytes():
        return NoMarket(f"there is no market {id_}", code="answer_malformed")
    if described.parameters[4] > WAD:
        return ContractRefusal(f"the LLTV of market {id_} is above one", code="answer_malformed")
    if max(described.state) >= 2**128:
        return ContractRefusal(f"the totals of market {id_} exceed 128 bits", code="answer_malformed")
    return described


def _rate_question(described: Described) -> Question:
    return (_BORROW_RATE, described.parameters[3], (described.parameters, described.state))


def _market(
    id_: Hash32,
    described: Described,
    tokens: dict[Address, Asset | ContractRefusal],
    outside: tuple[Answer, Answer],
    timestamp: int,
) -> Market | ContractRefusal:
    """Return a market with the answers of its oracle and rate model, interest accrued to `timestamp`."""
    price, rate = outside
    loan, collateral, _, rate_model, lltv = described.parameters
    *totals, last_update, fee = described.state
    names = ("supply_assets", "supply_shares", "borrow_assets", "borrow_shares")
    try:
        per_second = known(rate)[0] if rate_model != ZERO_ADDRESS else 0
        elapsed = timestamp - last_update
        stored = Totals(**dict(zip(names, totals, strict=True)), fee=fee)
        return Market(
            id=id_,
            loan=known_asset(tokens[loan]),
            collateral=tokens[collateral],
            price=price,
            lltv=lltv,
            rate_per_second=per_second,
            totals=accrue(stored, rate_per_second=per_second, elapsed=elapsed),
        )
    except ContractRefusal as refusal:
        return refusal


def accrue(totals: Totals, *, rate_per_second: int, elapsed: int) -> Totals:
    """Return a market's totals after `elapsed` seconds, as ``Morpho._accrueInterest`` leaves them.

    Args:
        totals: As stored at the last update.
        rate_per_second: The rate model's answer, 10^-18.
        elapsed: Seconds since the last update.

    Raises:
        ContractRefusal: the contract's arithmetic would overflow (or its clock runs backwards), so it reverts.
    """
    if elapsed < 0:
        raise ContractRefusal("the market was updated after the pinned block", code="answer_malformed")
    interest = _word(totals.borrow_assets * taylor_compounded(rate_per_second, elapsed)) // WAD
    supply_assets, borrow_assets = totals.supply_assets + interest, totals.borrow_assets + interest
    fee_amount = interest * totals.fee // WAD
    fee_shares = to_shares_down(fee_amount, supply_assets - fee_amount, totals.supply_shares)
    if max(supply_assets, borrow_assets, totals.supply_shares + fee_shares) >= 2**128:
        raise ContractRefusal("accrued interest exceeds 128 bits", code="call_reverted")
    return Totals(
        supply_assets=supply_assets,
        supply_shares=totals.supply_shares + fee_shares,
        borrow_assets=borrow_assets,
        borrow_shares=totals.borrow_shares,
        fee=totals.fee,
        pending_fee_shares=fee_shares,
    )


def taylor_compounded(rate: int, seconds: int) -> int:
    """Return e^(rate·seconds) - 1 by the first three Taylor terms, 10^-18 (``MathLib.wTaylorCompounded``)."""
    first = _word(rate * seconds)
    second = _word(first * first) // (2 * WAD)
    third = _word(second * first) // (3 * WAD)
    return first + second + third


def to_assets_up(shares: int, total_assets: int, total_shares: int) -> int:
    """Return what `shares` are worth, rounded up (``SharesMathLib.toAssetsUp``)."""
    return -(-shares * (total_assets + VIRTUAL_ASSETS) // (total_shares + VIRTUAL_SHARES))


def to_assets_down(shares: int, total_assets: int, total_shares: int) -> int:
    """Return what `shares` are worth, rounded down (``SharesMathLib.toAssetsDown``)."""
    return shares * (total_assets + VIRTUAL_ASSETS) // (total_shares + VIRTUAL_SHARES)


def to_shares_down(assets: int, total_assets: int, total_shares: int) -> int:
    """Return how many shares `assets` buy, rounded down (``SharesMathLib.toSharesDown``)."""
    return assets * (total_shares + VIRTUAL_SHARES) // (total_assets + VIRTUAL_ASSETS)


def liquidation_bonus(lltv: int) -> int:
    """Return the liquidation incentive factor less one, 10^-18 (``Morpho.liquidate``)."""
    factor = WAD * WAD // (WAD - LIQUIDATION_CURSOR * (WAD - lltv) // WAD)
    return min(MAX_LIQUIDATION_INCENTIVE_FACTOR, factor) - WAD


def _word(product: int) -> int:
    """Return a product that Solidity keeps in 256 bits.

    Raises:
        ContractRefusal: it does not fit, so the contract reverts.
    """
    if product >= 2**256:
        raise ContractRefusal("the contract's arithmetic overflows", code="call_reverted")
    return product


def _lender(place: Place, market: Market, account: Address, shares: int, *, fees: bool) -> Silo | None:
    totals = market.totals
    if fees:
        shares += totals.pending_fee_shares
    lent = to_assets_down(shares, totals.supply_assets, totals.supply_shares)
    if not lent:
        return None
    claim = Claim(token=market.loan, venue=place.venue, market=market.id, annual_rate=_supply_rate(market))
    position = Position(instrument=claim, quantity=Amount(lent))
    return place.silo(account, positions=(position,), rule=NoLiquidation(), health=None, part="supply")


def _borrower(place: Place, market: Market, account: Address, collateral: int, shares: int) -> Silo:
    owed = to_assets_up(shares, market.totals.borrow_assets, market.totals.borrow_shares)
    price = known(market.price)[0]
    if not price:
        raise ContractRefusal(f"the oracle of market {market.id} answers zero", code="answer_malformed")
    token = known_asset(market.collateral)
    max_borrow = _word(_word(collateral * price) // ORACLE_PRICE_SCALE * market.lltv) // WAD
    positions, terms = [], []
    if collateral:
        positions.append(Position(instrument=token, quantity=Amount(collateral)))
        whole = price * 10**token.decimals * WAD // (ORACLE_PRICE_SCALE * 10**market.loan.decimals)
        bonus = Wad(liquidation_bonus(market.lltv))
        terms.append(CollateralTerm(weight=Wad(market.lltv), price=Wad(whole), liquidation_bonus=bonus))
    if owed:
        rate = Wad(market.rate_per_second * SECONDS_PER_YEAR)
        debt = Debt(token=market.loan, venue=place.venue, market=market.id, annual_rate=rate)
        positions.append(Position(instrument=debt, quantity=Amount(-owed)))
        terms.append(CollateralTerm(weight=Wad(WAD), price=Wad(WAD)))
    return place.silo(
        account,
        positions=tuple(positions),
        rule=WeightedCollateral(numeraire=market.loan.factor, terms=tuple(terms), close_factor=Wad(WAD)),
        health=Wad(max_borrow * WAD // owed) if owed else None,
    )


def _supply_rate(market: Market) -> Wad:
    """Return what lenders earn: the borrow rate on what is lent out, less the fee."""
    totals = market.totals
    if not totals.supply_assets:
        return Wad(0)
    yearly = market.rate_per_second * SECONDS_PER_YEAR * totals.borrow_assets // totals.supply_assets
    return Wad(yearly * (WAD - totals.fee) // WAD)
