"""Uniswap v3: positions held as NFTs, with uncollected fees.

Amounts and fees are exact: what `decreaseLiquidity` and `collect` of the position manager would pay at the pinned
block. Formulas and roundings: v3-core 1.0.1 (``TickMath``, ``SqrtPriceMath``, ``Tick.getFeeGrowthInside``,
``Position``) and v3-periphery 1.4.4 (``NonfungiblePositionManager.collect``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import isqrt
from typing import Annotated

import msgspec
from eth_hash.auto import keccak
from msgspec import Meta

from adapters.abi import Answer, ContractRefusal, Function, Question, address_topic, ask, event_topic, known
from adapters.crosschecks import contradiction
from adapters.places import Place
from adapters.tokens import known_asset, read_tokens
from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Touch, Units
from riskschema.instruments import Asset, Instrument, UniswapV3Liquidity, VenueId
from riskschema.portfolio import Aside, NoLiquidation, Position, Silo, Unread, VenueReading
from riskschema.ports import AssetFactors, PinnedReader, ProtocolAdapter
from riskschema.units import ZERO_ADDRESS, Address, Amount, Hash32

PROTOCOL = "uniswap_v3"

MAX_TICK = 887_272
MIN_SQRT_RATIO = 4_295_128_739
MAX_SQRT_RATIO = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342
Q96, Q128, Q256 = 2**96, 2**128, 2**256

_FACTORY = Function("factory()", "(address)")
_COUNT = Function("balanceOf(address)", "(uint256)")
_TOTAL = Function("totalSupply()", "(uint256)")
_OWNER = Function("ownerOf(uint256)", "(address)")
_TOKEN_ID = Function("tokenOfOwnerByIndex(address,uint256)", "(uint256)")
_POSITION = Function(
    "positions(uint256)",
    "(uint96,address,address,address,uint24,int24,int24,uint128,uint256,uint256,uint128,uint128)",
)
_POOL = Function("getPool(address,address,uint24)", "(address)")
_SLOT0 = Function("slot0()", "(uint160,int24)")
_GROWTH = (Function("feeGrowthGlobal0X128()", "(uint256)"), Function("feeGrowthGlobal1X128()", "(uint256)"))
_TICK = Function("ticks(int24)", "(uint128,int128,uint256,uint256)")
_POOL_POSITION = Function("positions(bytes32)", "(uint128,uint256,uint256,uint128,uint128)")

_TRANSFER_EVENT = event_topic("Transfer(address,address,uint256)")
_NOBODY = Hash32(bytes(32))
_NFTS = "nfts"


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The NonfungiblePositionManager, and how many positions of one account are read at most."""

    position_manager: Address
    max_positions: Annotated[int, Meta(ge=1, le=10_000)] = 200


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One NFT as the position manager stores it; fee growths and owed tokens for token 0 and 1."""

    id: int
    token0: Address
    token1: Address
    fee: int
    lower: int
    upper: int
    liquidity: int
    growth: tuple[int, int]
    owed: tuple[int, int]


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """What the pool tells about one range held by the position manager."""

    tick: int
    growth: tuple[int, int]
    lower_outside: tuple[int, int]
    upper_outside: tuple[int, int]
    liquidity: int
    """Of the position manager in this range, all NFTs together; as the two below."""
    inside_last: tuple[int, int]
    owed: tuple[int, int]


@cache
def _ratios() -> tuple[int, ...]:
    """Return 2^128·1.0001^(-2^i/2) to the nearest integer for i = 0…19 (the constants of ``TickMath``)."""
    precision = 512
    ratio = isqrt((10_000 << 2 * precision) // 10_001)
    ratios = []
    for _ in range(MAX_TICK.bit_length()):
        ratios.append((ratio + (1 << precision - 129)) >> precision - 128)
        ratio = ratio * ratio >> precision
    return tuple(ratios)


def sqrt_ratio_at_tick(tick: int) -> int:
    """Return √(1.0001^tick)·2^96 as ``TickMath.getSqrtRatioAtTick`` rounds it.

    Raises:
        ValueError: `tick` is beyond ±887,272.
    """
    if abs(tick) > MAX_TICK:
        raise ValueError(f"tick {tick} is beyond ±{MAX_TICK}")
    ratio = Q128
    for bit, factor in enumerate(_ratios()):
        if abs(tick) >> bit & 1:
            ratio = ratio * factor >> 128
    if tick > 0:
        ratio = (Q256 - 1) // ratio
    return -(-ratio >> 32)


def amounts(liquidity: int, sqrt_price_x96: int, tick_lower: int, tick_upper: int) -> tuple[int, int]:
    """Return the base units of token 0 and 1 in a range, as ``decreaseLiquidity`` would pay them (rounded down).

    Args:
        liquidity: L, not negative.
        sqrt_price_x96: √(token 1 per token 0)·2^96 of the pool, within the pool's bounds.
        tick_lower: Lower end of the range.
        tick_upper: Upper end, above the lower.

    Raises:
        ValueError: an argument is outside what a pool can have.
    """
    if tick_lower >= tick_upper or liquidity < 0 or not MIN_SQRT_RATIO <= sqrt_price_x96 <= MAX_SQRT_RATIO:
        raise ValueError(f"no pool has L={liquidity} at {sqrt_price_x96} in [{tick_lower}, {tick_upper})")
    lower, upper = sqrt_ratio_at_tick(tick_lower), sqrt_ratio_at_tick(tick_upper)
    price = min(max(sqrt_price_x96, lower), upper)
    amount0 = (liquidity * Q96 * (upper - price) // upper) // price
    return amount0, liquidity * (price - lower) // Q96


def growth_inside(state: PoolState, lower: int, upper: int) -> tuple[int, int]:
    """Return the fee growth inside a range for both tokens, modulo 2^256 (``Tick.getFeeGrowthInside``)."""

    def inside(side: int) -> int:
        total = state.growth[side]
        below, above = state.lower_outside[side], state.upper_outside[side]
        below = below if state.tick >= lower else total - below
        above = above if state.tick < upper else total - above
        return (total - below - above) % Q256

    return inside(0), inside(1)


def collectable(held: Held, state: PoolState) -> tuple[int, int]:
    """Return what ``collect`` would pay for an NFT with no limit (fees and withdrawn liquidity not yet collected).

    A position with liquidity is poked first, so that its share of the fee growth counts. The pool keeps one position
    for all NFTs of a range and rounds for them together, so the lesser of the two accounts is paid.
    """
    inside = growth_inside(state, held.lower, held.upper) if held.liquidity else (0, 0)

    def side(at: int) -> int:
        of_nft, of_pool = held.owed[at], state.owed[at]
        if held.liquidity:
            of_nft += _earned(inside[at], held.growth[at], held.liquidity)
            of_pool += _earned(inside[at], state.inside_last[at], state.liquidity)
        return min(of_nft % Q128, of_pool % Q128)

    return side(0), side(1)


def _earned(inside: int, last: int, liquidity: int) -> int:
    return (inside - last) % Q256 * liquidity // Q128 % Q128


def adapter(deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> ProtocolAdapter:
    """Return the adapter of one deployment."""
    return UniswapV3(deployment, chain_id=chain_id, assets=assets)


class UniswapV3:
    """The `ProtocolAdapter` of one position manager."""

    def __init__(self, deployment: Deployment, *, chain_id: int, assets: AssetFactors) -> None:
        self._npm = deployment.position_manager
        self._max_positions = deployment.max_positions
        self._place = Place(PROTOCOL, chain_id, self._npm)
        self._assets = assets

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
                Touch(_NFTS, address_topic(topic), log.block_number, log.index)
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
            return (Book(name=_NFTS, refusal=total.code),)
        return (Book(name=_NFTS, total=total[0]),)

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        """Return how many NFTs each account has."""
        answers = await ask(reader, [(_COUNT, self._npm, (holder.account,)) for holder in holders])
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
        ids = await self._token_ids(reader, unique, missing, aside)
        answers = await ask(reader, [(_POSITION, self._npm, (id_,)) for _, id_ in ids])
        contents = await self._contents(reader, factory[0], [id_ for _, id_ in ids], answers)
        held: dict[Address, dict[Instrument, int]] = {account: {} for account in unique}
        for (account, id_), content in zip(ids, contents, strict=True):
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

    async def _token_ids(
        self, reader: PinnedReader, accounts: Sequence[Address], missing: list[Unread], aside: list[Aside]
    ) -> list[tuple[Address, int]]:
        """Return the first NFTs of each account, at most the cap; refusals go to `missing`, what is beyond to `aside`.

        The position manager lists an account's NFTs in the order in which they came, so strangers only add to the end.
        """
        slots: list[tuple[Address, int]] = []
        counts = await ask(reader, [(_COUNT, self._npm, (account,)) for account in accounts])
        for account, answer in zip(accounts, counts, strict=True):
            if isinstance(answer, ContractRefusal):
                missing.append(self._place.unread(answer, account))
                continue
            if answer[0] > self._max_positions:
                many = f"{account} holds {min(answer[0], 10**9)} positions, {self._max_positions} are read"
                aside.append(self._place.aside(ContractRefusal(many, code="too_many_positions"), account))
            slots += [(account, index) for index in range(min(answer[0], self._max_positions))]
        ids: list[tuple[Address, int]] = []
        answers = await ask(reader, [(_TOKEN_ID, self._npm, slot) for slot in slots])
        for (account, _), answer in zip(slots, answers, strict=True):
            if isinstance(answer, ContractRefusal):
                missing.append(self._place.unread(answer, account))
            else:
                ids.append((account, answer[0]))
        await self._check_owners(reader, ids)
        return ids

    async def _check_owners(self, reader: PinnedReader, ids: Sequence[tuple[Address, int]]) -> None:
        """Hold the list of an account's NFTs against what each says of its owner."""
        owners = await ask(reader, [(_OWNER, self._npm, (id_,)) for _, id_ in ids])
        for (account, id_), owner in zip(ids, owners, strict=True):
            if isinstance(owner, ContractRefusal) or owner[0] != account:
                contradiction(reader, f"{self._npm} lists NFT {id_} for {account}, and another owner for it")

    async def _contents(
        self, reader: PinnedReader, factory: Address, ids: Sequence[int], answers: Sequence[Answer]
    ) -> list[Content | ContractRefusal]:
        """Return what each NFT is worth holding: liquidity and collectable tokens."""
        held = [_held(id_, answer) for id_, answer in zip(ids, answers, strict=True)]
        sound = [nft for nft in held if isinstance(nft, Held)]
        pools = await ask(reader, [(_POOL, factory, (nft.token0, nft.token1, nft.fee)) for nft in sound])
        addresses = [ZERO_ADDRESS if isinstance(pool, ContractRefusal) else pool[0] for pool in pools]
        questions = [self._pool_questions(nft, pool) for nft, pool in zip(sound, addresses, strict=True)]
        states = iter(await ask(reader, [question for each in questions for question in each]))
        tokens = await read_tokens(reader, [token for nft in sound for token in (nft.token0, nft.token1)], self._assets)
        found = {
            nft.id: _content(nft, pool, [next(states) for _ in each], tokens)
            for nft, pool, each in zip(sound, addresses, questions, strict=True)
        }
        return [found[nft.id] if isinstance(nft, Held) else nft for nft in held]

    def _pool_questions(self, nft: Held, pool: Address) -> list[Question]:
        """Return what to ask a pool about one range, in the order that `_state` reads."""
        packed = self._npm.to_bytes() + b"".join(
            tick.to_bytes(3, "big", signed=True) for tick in (nft.lower, nft.upper)
        )
        return [
            (_SLOT0, pool, ()),
            *((growth, pool, ()) for growth in _GROWTH),
            (_TICK, pool, (nft.lower,)),
            (_TICK, pool, (nft.upper,)),
            (_POOL_POSITION, pool, (keccak(packed),)),
        ]


Content = list[tuple[Instrument, int]]


def _held(id_: int, answer: Answer) -> Held | ContractRefusal:
    try:
        _, _, token0, token1, fee, lower, upper, liquidity, growth0, growth1, owed0, owed1 = known(answer)
    except ContractRefusal as refusal:
        return refusal
    if not -MAX_TICK <= lower < upper <= MAX_TICK:
        return ContractRefusal(f"position {id_} has range [{lower}, {upper})", code="answer_malformed")
    return Held(
        id=id_,
        token0=token0,
        token1=token1,
        fee=fee,
        lower=lower,
        upper=upper,
        liquidity=liquidity,
        growth=(growth0, growth1),
        owed=(owed0, owed1),
    )


def _state(answers: Sequence[Answer]) -> PoolState:
    slot0, growth0, growth1, lower, upper, position = (known(answer) for answer in answers)
    return PoolState(
        tick=slot0[1],
        growth=(growth0[0], growth1[0]),
        lower_outside=lower[2:4],
        upper_outside=upper[2:4],
        liquidity=position[0],
        inside_last=position[1:3],
        owed=position[3:5],
    )


def _content(
    nft: Held, pool: Address, answers: Sequence[Answer], tokens: dict[Address, Asset | ContractRefusal]
) -> Content | ContractRefusal:
    """Return liquidity and collectable tokens of one NFT, leaving out zeros; or why they cannot be told."""
    try:
        state = _state(answers)
        token0, token1 = known_asset(tokens[nft.token0]), known_asset(tokens[nft.token1])
    except ContractRefusal as refusal:
        return refusal
    liquidity = UniswapV3Liquidity(
        chain_id=token0.chain_id,
        pool=pool,
        token0=token0,
        token1=token1,
        tick_lower=nft.lower,
        tick_upper=nft.upper,
    )
    collected = collectable(nft, state)
    content: Content = [(liquidity, nft.liquidity), (token0, collected[0]), (token1, collected[1])]
    return [(instrument, quantity) for instrument, quantity in content if quantity]
