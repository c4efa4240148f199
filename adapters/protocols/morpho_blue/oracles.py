"""What a market's oracle follows: its vaults and feeds, where it is one of Morpho's that divide two products of prices.

``MorphoChainlinkOracleV2`` (morpho-blue-oracles) prices the collateral as vault x feed 1 x feed 2 and divides by the
same of the loan asset; its first version has no vault on the loan's side. Whatever else is behind a market is unknown,
and so is a contract that names such parts and answers another price than theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, Question, ask
from adapters.oracles.following import numeraire_oracle, venue_oracle
from adapters.oracles.sources import STRANGERS_GAS, Leg, Source, read_sources
from riskschema.instruments import Asset
from riskschema.portfolio import OracleKind, VenueOracle
from riskschema.ports import PinnedReader
from riskschema.units import ZERO_ADDRESS, Address

_VAULTS = ("BASE_VAULT()", "QUOTE_VAULT()", "VAULT()")
_FEEDS = ("BASE_FEED_1()", "BASE_FEED_2()", "QUOTE_FEED_1()", "QUOTE_FEED_2()")
_SAMPLES = ("BASE_VAULT_CONVERSION_SAMPLE()", "QUOTE_VAULT_CONVERSION_SAMPLE()", "VAULT_CONVERSION_SAMPLE()")
_SCALE = "SCALE_FACTOR()"
_PARTS = tuple(Function(name, "(uint256)") for name in (*_VAULTS, *_FEEDS, *_SAMPLES, _SCALE))
"""Of a contract that the settings list with its market; what it names is anybody's, and has less gas."""
_ROUND = Function("latestRoundData()", "(uint256,uint256)", gas=STRANGERS_GAS)
_ASSETS = Function("convertToAssets(uint256)", "(uint256)", gas=STRANGERS_GAS)
_RATE = Source(legs=(Leg(kind="rate"),))


class MarketOracle(msgspec.Struct, frozen=True, kw_only=True):
    """The two products whose quotient is a market's price; None where one is unknown."""

    base: Source | None = None
    quote: Source | None = None
    price: int | None = None
    """What the parts make of it, as ``price()`` computes; None: one of them does not answer."""
    timestamp: int = 0
    """Of the pinned block."""

    def of_collateral(self, token: Asset) -> VenueOracle | None:
        """Return what the collateral's price follows."""
        return venue_oracle(self.base, token, timestamp=self.timestamp)

    def of_loan(self, token: Asset) -> OracleKind | None:
        """Return how the loan asset, in which it quotes, is seen."""
        return numeraire_oracle(self.base, self.quote, token)


async def read_oracles(reader: PinnedReader, addresses: Iterable[Address]) -> dict[Address, MarketOracle]:
    """Return what the oracles of markets are made of, where they tell; anybody can have made them.

    Raises:
        TransientError: the endpoint failed.
    """
    oracles = [address for address in dict.fromkeys(addresses) if address != ZERO_ADDRESS]
    answers = await ask(reader, [(part, oracle, ()) for oracle in oracles for part in _PARTS])
    size = len(_PARTS)
    told = {oracle: _parts(answers[size * at : size * (at + 1)]) for at, oracle in enumerate(oracles)}
    parts = {oracle: each for oracle, each in told.items() if each is not None}
    sources = await read_sources(reader, (feed for each in parts.values() for feed in each.feeds), gas=STRANGERS_GAS)
    worth = await _worth(reader, parts.values())
    return {
        oracle: MarketOracle(
            base=_side(each.base, sources),
            quote=_side(each.quote, sources),
            price=_price(each, worth),
            timestamp=reader.block.timestamp,
        )
        for oracle, each in parts.items()
    }


class _Side(msgspec.Struct, frozen=True):
    """A vault, how many of its shares are asked for, and two feeds; each may be absent (address zero)."""

    vault: Address
    sample: int
    feeds: tuple[Address, ...]


class _Parts(msgspec.Struct, frozen=True):
    """What an oracle divides, and what it multiplies the quotient by."""

    base: _Side
    quote: _Side
    scale: int

    @property
    def feeds(self) -> tuple[Address, ...]:
        """Return the feeds of both sides."""
        return self.base.feeds + self.quote.feeds


def _parts(answers: Sequence[Answer]) -> _Parts | None:
    """Return the parts of an oracle; None where the contract is none of Morpho's."""
    told = {
        part.signature: int(answer[0])
        for part, answer in zip(_PARTS, answers, strict=True)
        if not isinstance(answer, ContractRefusal)
    }
    base, quote, only = _VAULTS
    if only in told and base not in told:  # the first version
        told |= {base: told[only], _SAMPLES[0]: told.get(_SAMPLES[2], 1), quote: 0, _SAMPLES[1]: 1}
    if not {base, quote, *_FEEDS, *_SAMPLES[:2], _SCALE} <= told.keys() or max(map(told.__getitem__, _FEEDS)) >= 2**160:
        return None
    if max(told[base], told[quote]) >= 2**160:
        return None
    vaults = (_address(told[base]), _address(told[quote]))
    feeds = tuple(_address(told[feed]) for feed in _FEEDS)
    sides = (_Side(vaults[0], told[_SAMPLES[0]], feeds[:2]), _Side(vaults[1], told[_SAMPLES[1]], feeds[2:]))
    return _Parts(*sides, told[_SCALE])


def _address(word: int) -> Address:
    return Address(f"0x{word:040x}")


Worth = Mapping[tuple[Address, int], int]
"""What feeds answer (sample 0), and what vaults give for a sample of shares."""


async def _worth(reader: PinnedReader, parts: Iterable[_Parts]) -> Worth:
    sides = [side for each in parts for side in (each.base, each.quote)]
    vaults = {(side.vault, side.sample) for side in sides}
    feeds = {(feed, 0) for side in sides for feed in side.feeds}
    asked = sorted((each for each in vaults | feeds if each[0] != ZERO_ADDRESS), key=str)
    questions: list[Question] = [
        (_ASSETS, address, (sample,)) if (address, sample) in vaults else (_ROUND, address, ())
        for address, sample in asked
    ]
    answers = await ask(reader, questions)
    return {
        each: answer[-1] for each, answer in zip(asked, answers, strict=True) if not isinstance(answer, ContractRefusal)
    }


def _price(parts: _Parts, worth: Worth) -> int | None:
    """Return ``SCALE_FACTOR * base / quote``, rounded down."""
    products = []
    for side in (parts.base, parts.quote):
        product = 1
        for each in ((side.vault, side.sample), *((feed, 0) for feed in side.feeds)):
            if each[0] == ZERO_ADDRESS:
                continue
            if each not in worth:
                return None
            product *= worth[each]
        products.append(product)
    return parts.scale * products[0] // products[1] if products[1] else None


def _side(side: _Side, sources: Mapping[Address, Source]) -> Source | None:
    """Return the product of a vault and its feeds; None where one of the feeds is unknown."""
    result = Source(legs=()) if side.vault == ZERO_ADDRESS else _RATE
    for feed in side.feeds:
        if feed != ZERO_ADDRESS:
            if feed not in sources:
                return None
            result = result.times(sources[feed])
    return result
