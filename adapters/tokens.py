"""What a token is: decimals, a harmless symbol, and the factor its price follows."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.abi import ContractRefusal, Function
from riskschema.instruments import Asset, Token, WrappedToken
from riskschema.ports import AssetFactors, CallResult, CallSuccess, IndexedAsset, PinnedReader
from riskschema.units import WAD, ZERO_ADDRESS, Address, Wad

MAX_DECIMALS = 36
"""Tokens of more decimals are refused: none of worth has them, and prices per whole token lose their digits."""

LARGEST_INDEX = 1_000_000 * WAD
"""A contract that answers more counts in other decimals than 18."""

ETHER_COIN_TYPE = 60
"""SLIP-44 coin type in the CAIP-19 id of an unmapped native coin."""

METADATA_GAS = 200_000
"""Gas of a metadata call: anyone can put a hostile token into a position, and a loop or a flood must stay cheap."""

_DECIMALS = Function("decimals()", "(uint256)", gas=METADATA_GAS)
_SYMBOL = Function("symbol()", "(string)", gas=METADATA_GAS)
_LISTED_DECIMALS = Function("decimals()", "(uint256)")
_LISTED_SYMBOL = Function("symbol()", "(string)")


def factor_of(address: Address, chain_id: int, assets: AssetFactors) -> str:
    """Return the factor a token follows: as mapped, else its CAIP-19 asset id, which nobody quotes."""
    if address in assets:
        found = assets[address]
        return found if isinstance(found, str) else found.factor
    if address == ZERO_ADDRESS:
        return f"eip155:{chain_id}/slip44:{ETHER_COIN_TYPE}"
    return f"eip155:{chain_id}/erc20:{address}"


async def read_tokens(
    reader: PinnedReader, addresses: Iterable[Address], assets: AssetFactors, *, listed: bool = False
) -> dict[Address, Asset | ContractRefusal]:
    """Read decimals and symbol of each token, and the index of those that are an index of another.

    A token that does not tell its decimals, or whose index nobody tells, is a refusal.

    Args:
        reader: At the pinned block.
        addresses: Of the tokens.
        assets: The factors they follow.
        listed: By the venue or in the settings: nobody else can put one of them before the node, so that they need not
            be asked one by one with little gas.

    Raises:
        TransientError: the endpoint failed.
    """
    tokens = list(dict.fromkeys(addresses))
    indexed = [(token, each) for token in tokens if isinstance(each := assets.get(token), IndexedAsset)]
    functions = (_LISTED_DECIMALS, _LISTED_SYMBOL) if listed else (_DECIMALS, _SYMBOL)
    calls = [function.call(token) for token in tokens for function in functions]
    results = await reader.call(calls + [_index(asset).call(asset.contract or token) for token, asset in indexed])
    chain_id = reader.block.chain_id
    plain = {
        token: _token(token, results[2 * at], results[2 * at + 1], chain_id, assets) for at, token in enumerate(tokens)
    }
    answers = zip(indexed, results[2 * len(tokens) :], strict=True)
    return {**plain, **{token: _wrapped(plain[token], asset, answer) for (token, asset), answer in answers}}


def known_asset(token: Asset | ContractRefusal) -> Asset:
    """Return a token that was read.

    Raises:
        ContractRefusal: it told nothing.
    """
    if isinstance(token, ContractRefusal):
        raise token
    return token


def _index(asset: IndexedAsset) -> Function:
    return Function(asset.function, "(uint256)", gas=METADATA_GAS)


def _wrapped(token: Token | ContractRefusal, asset: IndexedAsset, answer: CallResult) -> WrappedToken | ContractRefusal:
    """Return a token as an index of what it wraps."""
    if isinstance(token, ContractRefusal):
        return token
    try:
        index = _index(asset).decode_one(answer, asset.contract or token.address)
    except ContractRefusal as refusal:
        return refusal
    if not 0 < index <= LARGEST_INDEX:
        return ContractRefusal(f"the index of {token.address} is {index % 10**60}", code="answer_malformed")
    underlying = Token(
        chain_id=token.chain_id,
        address=ZERO_ADDRESS,
        symbol=asset.underlying[:32],
        decimals=18,
        factor=asset.underlying,
    )
    return WrappedToken(token=token, underlying=underlying, index=Wad(index))


def _token(
    address: Address, decimals: CallResult, symbol: CallResult, chain_id: int, assets: AssetFactors
) -> Token | ContractRefusal:
    try:
        places = _DECIMALS.decode_one(decimals, address)
    except ContractRefusal as refusal:
        return refusal
    if places > MAX_DECIMALS:
        return ContractRefusal(f"token {address} claims {places % 10**9} decimals", code="answer_malformed")
    return Token(
        chain_id=chain_id,
        address=address,
        symbol=clean_symbol(symbol) or address[:8],
        decimals=places,
        factor=factor_of(address, chain_id, assets),
    )


def clean_symbol(result: CallResult) -> str:
    """Return the letters, digits and ``.-+_`` of an ABI string or bytes32 symbol, at most 20 (empty: none)."""
    if not isinstance(result, CallSuccess):
        return ""
    raw = result.data
    if len(raw) >= 64:
        length = min(int.from_bytes(raw[32:64], "big"), 64)
        raw = raw[64 : 64 + length]
    text = raw[:64].decode("ascii", errors="ignore")
    return "".join(sign for sign in text if sign.isalnum() or sign in ".-+_")[:20]
