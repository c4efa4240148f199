"""What NFTs are worth holding, by the state of the pools of their ranges."""

from __future__ import annotations

from collections.abc import Sequence

from eth_hash.auto import keccak

from adapters.abi import Answer, ContractRefusal, Function, Question, ask, known
from adapters.protocols.uniswap_v3.liquidity import MAX_TICK, Held, PoolState, collectable
from adapters.tokens import known_asset, read_tokens
from riskschema.instruments import Asset, Instrument, UniswapV3Liquidity
from riskschema.ports import AssetFactors, PinnedReader
from riskschema.units import ZERO_ADDRESS, Address

_POOL = Function("getPool(address,address,uint24)", "(address)")
_SLOT0 = Function("slot0()", "(uint160,int24)")
_GROWTH = (Function("feeGrowthGlobal0X128()", "(uint256)"), Function("feeGrowthGlobal1X128()", "(uint256)"))
_TICK = Function("ticks(int24)", "(uint128,int128,uint256,uint256)")
_POOL_POSITION = Function("positions(bytes32)", "(uint128,uint256,uint256,uint128,uint128)")

Content = list[tuple[Instrument, int]]


async def read_contents(
    reader: PinnedReader,
    manager: Address,
    factory: Address,
    positions: Sequence[tuple[int, Answer]],
    assets: AssetFactors,
) -> list[Content | ContractRefusal]:
    """Return what each NFT is worth holding: liquidity and collectable tokens.

    Args:
        reader: At the pinned block.
        manager: The position manager.
        factory: Of the pools.
        positions: NFTs, each with what the manager says of it.
        assets: Which factors tokens follow.

    Raises:
        TransientError: the endpoint failed.
    """
    held = [_held(id_, answer) for id_, answer in positions]
    sound = [nft for nft in held if isinstance(nft, Held)]
    pools = await _once(reader, [(_POOL, factory, (nft.token0, nft.token1, nft.fee)) for nft in sound])
    addresses = [ZERO_ADDRESS if isinstance(pool, ContractRefusal) else pool[0] for pool in pools]
    questions = [_pool_questions(manager, nft, pool) for nft, pool in zip(sound, addresses, strict=True)]
    states = iter(await _once(reader, [question for each in questions for question in each]))
    tokens = await read_tokens(reader, [token for nft in sound for token in (nft.token0, nft.token1)], assets)
    found = {
        nft.id: _content(nft, pool, [next(states) for _ in each], tokens)
        for nft, pool, each in zip(sound, addresses, questions, strict=True)
    }
    return [found[nft.id] if isinstance(nft, Held) else nft for nft in held]


async def _once(reader: PinnedReader, questions: Sequence[Question]) -> list[Answer]:
    """Ask what many NFTs have in common once: a pool's price and growth, a tick."""
    unique = list(dict.fromkeys(questions))
    told = dict(zip(unique, await ask(reader, unique), strict=True))
    return [told[question] for question in questions]


def _pool_questions(manager: Address, nft: Held, pool: Address) -> list[Question]:
    """Return what to ask a pool about one range, in the order that `_state` reads."""
    packed = manager.to_bytes() + b"".join(tick.to_bytes(3, "big", signed=True) for tick in (nft.lower, nft.upper))
    return [
        (_SLOT0, pool, ()),
        *((growth, pool, ()) for growth in _GROWTH),
        (_TICK, pool, (nft.lower,)),
        (_TICK, pool, (nft.upper,)),
        (_POOL_POSITION, pool, (keccak(packed),)),
    ]


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
