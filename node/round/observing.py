"""What this node sees: the newest blocks of every chain and the current values of every factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from adapters.markets import load_source
from adapters.parallel import in_parallel
from attest.agreement.effects import Observe
from attest.agreement.observing import block_numbers_to_name, word_observation
from attest.formats.parameters import ChainParameters
from attest.wire.messages import Observation
from node.clock_check import check_clock
from node.factor_list import without_source
from node.round.node import Node
from node.settings import MarketSettings
from riskschema.codec import from_builtins
from riskschema.errors import InvalidData, PlimsollError, TransientError
from riskschema.instruments import FactorId
from riskschema.market import FactorQuote, MarketReading, Unquoted
from riskschema.portfolio import BlockReference
from riskschema.ports import ChainReader, MarketSource

NO_SOURCE = "no [[market.sources]] of the settings is asked for it"
SHOWN = 5
"""Factors whose trouble a message spells out."""

_log = structlog.get_logger("node.observing")


def market_sources(market: MarketSettings, chains: Mapping[int, ChainReader]) -> tuple[MarketSource, ...]:
    """Make the sources that the settings name, in their order.

    Raises:
        InvalidData: there is none, an unknown one, or a field that is missing, unknown or wrong.
    """
    if not market.sources:
        raise InvalidData("[[market.sources]] is missing: a node needs current prices", code="invalid_settings")
    return tuple(_market_source(table, f"market: sources[{at}]", chains) for at, table in enumerate(market.sources))


def quoted_by(sources: Sequence[MarketSource]) -> frozenset[FactorId]:
    """Return every factor that one of the sources is asked for."""
    return frozenset().union(*(source.factors for source in sources))


def _market_source(table: Mapping[str, object], where: str, chains: Mapping[int, ChainReader]) -> MarketSource:
    name = table.get("source")
    if not isinstance(name, str):
        raise InvalidData(f"{where}: source is missing: the kind of source", code="invalid_settings")
    module = load_source(name)
    own = {key: value for key, value in table.items() if key != "source"}
    settings = from_builtins(own, module.Settings, what=f"{where} ({name})")
    try:
        return module.source(settings, chains=chains)
    except InvalidData as error:
        raise InvalidData(f"{where} ({name}): {error.message}", code=error.code) from error


async def observe(node: Node, asked: Observe) -> Observation:
    """Look at all chains, then at all market sources.

    A factor without a usable value gets no vote: the round goes on without it, and its value of the round before is
    kept, marked stale, for those who hold it.

    Raises:
        TransientError: an endpoint does not answer, or no source does, or the clock is wrong: this node abstains.
        InvalidData: no source has a value of anything.
    """
    observed = [node.chains[chain.chain_id] for chain in node.rules.committee.chains]
    seen = await in_parallel(_heads(chain, node.rules.chain(chain.chain_id)) for chain in observed)
    heads = [block for blocks in seen for block in blocks]
    now = node.clock.now()
    check_clock(now, heads)
    readings = await in_parallel(_read(source) for source in node.sources)
    quoted: dict[str, FactorQuote] = {}
    for quote in (quote for reading in readings for quote in reading.quotes):
        quoted.setdefault(quote.factor, quote)  # the first source that quotes a factor is this node's vote
    missing = {item.factor: item for reading in readings for item in reading.unquoted if item.factor not in quoted}
    for factor in without_source(node.rules.committee.parameters.factors, quoted_by(node.sources)):
        missing[factor] = Unquoted(factor=factor, code="market_unavailable", detail=NO_SOURCE)
    _note(node, missing)
    if not quoted:
        raise _nothing_quoted(list(missing.values()))
    observation, jumped = word_observation(
        node.rules,
        clock_ms=int(1_000 * now),
        heads=heads,
        quotes=quoted.values(),
        recent=node.recent_values,
        highest_certified=asked.highest_certified,
    )
    if jumped:
        _log.warning("values jumped", factors=jumped, round=asked.round)
    node.recent_values.update({vote.factor: vote.value for vote in observation.votes})
    node.recent_votes[:] = observation.votes
    node.recent_sources.clear()
    node.recent_sources.update({vote.factor: quoted[vote.factor].sources for vote in observation.votes})
    return observation


async def _read(source: MarketSource) -> MarketReading:
    """Read a source; where it fails as a whole, all its factors are unquoted, and other sources may have them."""
    try:
        return await source.read()
    except (TransientError, InvalidData) as error:
        return MarketReading(
            quotes=(),
            unquoted=tuple(
                Unquoted(factor=factor, code=error.code, detail=f"{source.name}: {error.message}")
                for factor in sorted(source.factors)
            ),
        )


def _note(node: Node, missing: Mapping[str, Unquoted]) -> None:
    """Log a factor when its value goes missing and when it is back, not at every round between."""
    for factor in sorted(missing.keys() - node.unquoted):
        _log.warning("no value", factor=factor, reason=missing[factor].code, detail=missing[factor].detail)
    for factor in sorted(node.unquoted - missing.keys()):
        _log.info("value is back", factor=factor)
    node.unquoted.clear()
    node.unquoted.update(missing)
    node.metrics.unquoted(missing)


def _nothing_quoted(missing: Sequence[Unquoted]) -> PlimsollError:
    """Return why there is no market: what may pass by itself, or what a person should look at."""
    details = list(dict.fromkeys(item.detail for item in missing))
    rest = len(details) - SHOWN
    said = "; ".join(details[:SHOWN]) + (f"; and {rest} more" if rest > 0 else "")
    passing = [item.code for item in missing if item.code != "market_unavailable"]
    if passing:
        return TransientError(f"no market source answers: {said}", code=passing[0])
    return InvalidData(
        f"no market source has a current value: {said}. Check that the feeds are still updated; where a feed's own "
        "heartbeat is longer, set heartbeat in [[market.sources.feeds]]",
        code="market_unavailable",
    )


async def _heads(chain: ChainReader, named: ChainParameters) -> tuple[BlockReference, ...]:
    head = await chain.head()
    numbers = block_numbers_to_name(head.number, named)
    older = await in_parallel(chain.block(number) for number in numbers if number != head.number)
    return (*older, head) if head.number in numbers else older
