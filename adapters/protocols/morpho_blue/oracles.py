"""What a market's oracle follows: its vaults and feeds, where it is one of Morpho's that divide two products of prices.

``MorphoChainlinkOracleV2`` (morpho-blue-oracles) prices the collateral as vault x feed 1 x feed 2 and divides by the
same of the loan asset; its first version has no vault on the loan's side. Whatever else is behind a market is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from adapters.abi import ContractRefusal, Function, ask
from adapters.oracles.following import numeraire_oracle, venue_oracle
from adapters.oracles.sources import STRANGERS_GAS, Leg, Source, read_sources
from riskschema.instruments import Asset
from riskschema.portfolio import OracleKind, VenueOracle
from riskschema.ports import PinnedReader
from riskschema.units import ZERO_ADDRESS, Address

_NAMES = (
    *("BASE_VAULT()", "BASE_FEED_1()", "BASE_FEED_2()"),
    *("QUOTE_VAULT()", "QUOTE_FEED_1()", "QUOTE_FEED_2()"),
    "VAULT()",
)
_PARTS = tuple(Function(name, "(address)", gas=STRANGERS_GAS) for name in _NAMES)
_RATE = Source(legs=(Leg(kind="rate"),))


class MarketOracle(msgspec.Struct, frozen=True, kw_only=True):
    """The two products whose quotient is a market's price; None where one is unknown."""

    base: Source | None = None
    quote: Source | None = None
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
    parts = {oracle: _parts(answers[len(_PARTS) * at : len(_PARTS) * (at + 1)]) for at, oracle in enumerate(oracles)}
    feeds = (address for sides in parts.values() for _, *side in sides for address in side)
    sources = await read_sources(reader, feeds, gas=STRANGERS_GAS)
    timestamp = reader.block.timestamp
    return {
        oracle: MarketOracle(base=_side(sides[0], sources), quote=_side(sides[1], sources), timestamp=timestamp)
        for oracle, sides in parts.items()
        if sides
    }


def _parts(answers: Sequence[tuple[Address, ...] | ContractRefusal]) -> tuple[tuple[Address, ...], ...]:
    """Return vault and two feeds of either side; nothing where the contract is none of Morpho's."""
    told = [None if isinstance(answer, ContractRefusal) else answer[0] for answer in answers]
    first, second, only = told[:3], told[3:6], told[6]
    if only is not None and first[0] is None and second[0] is None:
        first[0], second[0] = only, ZERO_ADDRESS
    sides = tuple(tuple(part for part in side if part is not None) for side in (first, second))
    return sides if all(len(side) == 3 for side in sides) else ()


def _side(parts: Sequence[Address], sources: Mapping[Address, Source]) -> Source | None:
    """Return the product of a vault and its feeds; None where one of the feeds is unknown."""
    vault, *feeds = parts
    result = Source(legs=()) if vault == ZERO_ADDRESS else _RATE
    for feed in feeds:
        if feed != ZERO_ADDRESS:
            if feed not in sources:
                return None
            result = result.times(sources[feed])
    return result
