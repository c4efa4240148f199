"""Markets at the pinned block: parameters, interest accrued, and the answers of oracle and rate model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from eth_abi.abi import encode
from eth_hash.auto import keccak

from adapters.abi import Answer, ContractRefusal, Function, Question, ask, known
from adapters.protocols.morpho_blue.interest import Totals, accrue
from adapters.protocols.morpho_blue.oracles import MarketOracle, read_oracles
from adapters.tokens import known_asset, read_tokens
from riskschema.instruments import Asset
from riskschema.ports import AssetFactors, PinnedReader
from riskschema.units import WAD, ZERO_ADDRESS, Address, Hash32

_PARAMETERS = Function("idToMarketParams(bytes32)", "(address,address,address,address,uint256)")
MARKET = Function("market(bytes32)", "(uint256,uint256,uint256,uint256,uint256,uint256)")
_PRICE = Function("price()", "(uint256)")
_BORROW_RATE = Function(
    "borrowRateView((address,address,address,address,uint256),(uint128,uint128,uint128,uint128,uint128,uint128))",
    "(uint256)",
)


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """One market at the pinned block, interest accrued."""

    id: Hash32
    loan: Asset
    collateral: Asset | ContractRefusal
    price: Answer
    """Loan base units per collateral base unit, times 10^36."""
    oracle: Address
    follows: MarketOracle = MarketOracle()
    """What is known of the oracle: read where somebody has collateral or debt."""
    lltv: int
    rate_per_second: int
    totals: Totals


class NoMarket(ContractRefusal):
    """The settings name a market that was never made: unread for everybody, until somebody corrects them."""


class Described(msgspec.Struct, frozen=True):
    """A market as the singleton stores it: ``MarketParams`` and ``Market``."""

    parameters: tuple[Any, ...]
    state: tuple[int, ...]


async def read_markets(
    reader: PinnedReader, singleton: Address, ids: Sequence[Hash32], assets: AssetFactors
) -> dict[Hash32, Market | ContractRefusal]:
    """Read markets and accrue their interest to the pinned block; a market that refuses is a refusal.

    Raises:
        TransientError: the endpoint failed.
    """
    parameters = await ask(reader, [(_PARAMETERS, singleton, (id_.to_bytes(),)) for id_ in ids])
    states = await ask(reader, [(MARKET, singleton, (id_.to_bytes(),)) for id_ in ids])
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


async def with_oracles(
    reader: PinnedReader, markets: Mapping[Hash32, Market | ContractRefusal], used: Collection[Hash32]
) -> dict[Hash32, Market | ContractRefusal]:
    """Return markets, those in `used` with what their oracles tell of themselves.

    Raises:
        TransientError: the endpoint failed.
    """
    sound = {id_: market for id_, market in markets.items() if isinstance(market, Market) and id_ in used}
    told = await read_oracles(reader, [market.oracle for market in sound.values()])
    known_ones = {
        id_: msgspec.structs.replace(market, follows=told[market.oracle])
        for id_, market in sound.items()
        if market.oracle in told and (told[market.oracle].price,) == market.price
    }
    return {**markets, **known_ones}


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
    loan, collateral, oracle, rate_model, lltv = described.parameters
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
            oracle=oracle,
            lltv=lltv,
            rate_per_second=per_second,
            totals=accrue(stored, rate_per_second=per_second, elapsed=elapsed),
        )
    except ContractRefusal as refusal:
        return refusal
