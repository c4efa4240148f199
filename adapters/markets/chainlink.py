"""Price feeds with Chainlink's interface, read at one block of the configured finality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from adapters.abi import Function
from riskschema.errors import InvalidData
from riskschema.instruments import ChainId, FactorId
from riskschema.market import FactorQuote, MarketReading, Unquoted
from riskschema.portfolio import BlockReference
from riskschema.ports import CallResult, ChainReader, MarketSource
from riskschema.units import WAD, Address, Wad

SOURCE = "chainlink"

LATEST_ROUND_DATA = Function("latestRoundData()", "(uint80,int256,uint256,uint256,uint80)")
DECIMALS = Function("decimals()", "(uint8)")
MAX_DECIMALS = 36
MAX_PRICE = Wad(10**12 * WAD)
"""A trillion dollars per unit: no asset is near it, a feed of the wrong scale is above it."""
CLOCK_SKEW_SECONDS = 60
LONGEST_HEARTBEAT_SECONDS = 30 * 86_400
"""The slowest published feeds answer daily; a month of slack is a mistake of units."""


class PriceFeed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A feed and what its operators promise of it."""

    factor: FactorId
    address: Address
    heartbeat: Annotated[int, Meta(gt=0, le=LONGEST_HEARTBEAT_SECONDS)] = 3_600
    """Largest age of an answer in seconds, against the block's timestamp; older answers are refused. The feed's own,
    plus slack for a congested chain."""
    deviation: Wad = msgspec.field(default_factory=lambda: Wad(WAD // 200))
    """Relative move that makes the feed answer anew: until then the answer is off by at most this."""

    def __post_init__(self) -> None:
        """Refuse a deviation that is no share."""
        if not 0 <= self.deviation < WAD:
            raise ValueError(f"deviation of {self.factor} must be a share of its price, got {self.deviation.wire()}")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The feeds of one chain."""

    chain_id: ChainId
    feeds: Annotated[tuple[PriceFeed, ...], Meta(min_length=1, max_length=2_000)]

    def __post_init__(self) -> None:
        """Refuse two feeds of one factor: a second source is a table of its own."""
        factors = [feed.factor for feed in self.feeds]
        for factor in factors:
            if factors.count(factor) > 1:
                raise ValueError(f"two feeds of {factor} on chain {self.chain_id}")


def source(settings: Settings, *, chains: Mapping[int, ChainReader]) -> MarketSource:
    """Return the feeds of one chain.

    Raises:
        InvalidData: the chain is not configured.
    """
    if settings.chain_id not in chains:
        raise InvalidData(f"no [[chains]] table has chain_id {settings.chain_id}", code="invalid_settings")
    return ChainlinkFeeds(settings, chains[settings.chain_id])


class ChainlinkFeeds:
    """The feeds of one chain as a `MarketSource`."""

    def __init__(self, settings: Settings, chain: ChainReader) -> None:
        self._feeds = settings.feeds
        self._chain = chain

    @property
    def name(self) -> str:
        """What the provenance of a quote says."""
        return f"{SOURCE}:{self._chain.chain_id}"

    @property
    def factors(self) -> frozenset[FactorId]:
        """What the feeds quote."""
        return frozenset(feed.factor for feed in self._feeds)

    async def read(self) -> MarketReading:
        """Read all feeds at the head of the chain; one that reverts, answers nonsense or nothing recent is unquoted.

        Raises:
            TransientError: the endpoint failed.
        """
        reader = await self._chain.pin(await self._chain.head())
        questions = [function.call(feed.address) for feed in self._feeds for function in (LATEST_ROUND_DATA, DECIMALS)]
        answers = await reader.call(questions)
        quotes: list[FactorQuote] = []
        unquoted: list[Unquoted] = []
        ages: dict[FactorId, int] = {}
        for feed, answer, decimals in zip(self._feeds, answers[::2], answers[1::2], strict=True):
            try:
                quotes.append(quote_of(feed, answer, decimals, reader.block))
                ages[feed.factor] = age_of(feed, answer, reader.block)
            except InvalidData as fault:
                unquoted.append(Unquoted(factor=feed.factor, code=fault.code, detail=fault.message))
        return MarketReading(quotes=tuple(quotes), unquoted=tuple(unquoted), ages=ages)


def quote_of(feed: PriceFeed, answer: CallResult, decimals: CallResult, block: BlockReference) -> FactorQuote:
    """Turn the raw answers of a feed at `block` into a quote.

    Args:
        feed: The feed.
        answer: Of ``latestRoundData()``.
        decimals: Of ``decimals()``.
        block: Whose timestamp the answer's age is measured against: all nodes see the same.

    Raises:
        InvalidData: naming the feed.
    """
    what = f"feed of {feed.factor} at {feed.address} on chain {block.chain_id}, block {block.number}"
    try:
        _, value, _, updated_at, _ = LATEST_ROUND_DATA.decode(answer, feed.address)
        scale = DECIMALS.decode_one(decimals, feed.address)
    except InvalidData as error:
        raise InvalidData(f"{what}: {error.message}", code="market_unavailable") from error
    _require_recent(updated_at, feed, block, what)
    price = _price(value, scale, what)
    return FactorQuote(
        factor=feed.factor,
        price=price,
        confidence=Wad(max(1, price * feed.deviation // WAD)),
        sources=(f"{SOURCE}:{block.chain_id}:{feed.address}",),
    )


def age_of(feed: PriceFeed, answer: CallResult, block: BlockReference) -> int:
    """Return the age of an answer of ``latestRoundData()`` in seconds, against the block's timestamp.

    Raises:
        InvalidData: the answer does not decode.
    """
    _, _, _, updated_at, _ = LATEST_ROUND_DATA.decode(answer, feed.address)
    return max(0, block.timestamp - int(updated_at))


def _require_recent(updated_at: int, feed: PriceFeed, block: BlockReference, what: str) -> None:
    if updated_at == 0:
        raise InvalidData(f"{what}: its round is not complete", code="market_unavailable")
    if updated_at > block.timestamp + CLOCK_SKEW_SECONDS:
        raise InvalidData(f"{what}: updated in the future (at {updated_at})", code="market_unavailable")
    age = max(0, block.timestamp - updated_at)
    if age > feed.heartbeat:
        raise InvalidData(
            f"{what}: the answer is {age} s old, the heartbeat is {feed.heartbeat} s", code="market_unavailable"
        )


def _price(value: int, decimals: int, what: str) -> Wad:
    if decimals > MAX_DECIMALS:
        raise InvalidData(f"{what}: says it has {decimals} decimals", code="market_unavailable")
    price = value * 10 ** (18 - decimals) if decimals <= 18 else value // 10 ** (decimals - 18)
    if not 0 < price <= MAX_PRICE:
        raise InvalidData(
            f"{what}: the answer {str(value)[:40]} with {decimals} decimals is no price", code="market_unavailable"
        )
    return Wad(price)
