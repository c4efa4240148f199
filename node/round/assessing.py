"""The assessment of a round: the agreed market, and the heavy work away from the event loop."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aggregator.assess import assess
from aggregator.scenarios.memory import MarketMemory, decode_memory, step_memory
from aggregator.valuation.arrays import arrays_digest_chunks
from aggregator.warm_up import enter_every_kernel
from attest.agreement.outcome import Outcome
from attest.agreement.state import AgreedState
from node.node import Node
from node.round.reading import Reading
from riskschema.assessment import Assessment
from riskschema.market import AgreedMarket, AgreedPrice, FactorQuote, Group, HourlyHistory, MarketState

MEMORY_SECTION = "market_memory"
"""Name of the model's section in the agreed state."""


STRESSED_BREAKER = 0
"""Bit of `ReportHeader.breaker_flags`: a factor of the market is in the stressed regime."""


class AssessedRound(msgspec.Struct, frozen=True, kw_only=True):
    """What the aggregator made of a round."""

    assessments: tuple[Assessment, ...]
    array_rows: tuple[bytes, ...]
    """Canonical bytes of every row of the risk arrays."""
    breakers: int
    """The header's bitmap of circuit breakers."""


def market_state(outcome: Outcome, history: HourlyHistory, groups: Mapping[str, Group]) -> MarketState:
    """Return the agreed market: the outcome's values and the history that the state commits to."""
    return MarketState(
        as_of=outcome.observed_at,
        quotes=tuple(
            FactorQuote(
                factor=value.factor,
                price=value.value,
                confidence=value.confidence,
                group=groups.get(value.factor, "other"),
                stale=value.stale,
            )
            for value in outcome.values
        ),
        history=history,
    )


def agreed_market(
    outcome: Outcome, groups: Mapping[str, Group], sources: Mapping[str, tuple[str, ...]]
) -> AgreedMarket:
    """Return what is stored and shown of the agreed market.

    Args:
        outcome: The round's.
        groups: Of the factors that this node's sources quote.
        sources: Where this node's own votes of the round came from, by factor.
    """
    return AgreedMarket(
        as_of=outcome.observed_at,
        prices=tuple(
            AgreedPrice(
                factor=value.factor,
                price=value.value,
                confidence=value.confidence,
                group=groups.get(value.factor, "other"),
                observed_at=value.voted_at,
                stale=value.stale,
                sources=sources.get(value.factor, ()),
            )
            for value in outcome.values
        ),
    )


def remember(parent: AgreedState, history: HourlyHistory, node: Node) -> MarketMemory:
    """Return the model's memory after the hours that the table has and the parent state has not seen.

    Raises:
        InvalidData: the parent's memory does not fit the table: another version of the model wrote it.
    """
    known = next((section.data for section in parent.sections if section.name == MEMORY_SECTION), None)
    memory = None if known is None else decode_memory(known, what=f"state after round {parent.round}")
    return step_memory(memory, history, node.groups, node.parameters)


async def assess_round(node: Node, reading: Reading, market: MarketState, memory: MarketMemory) -> AssessedRound:
    """Assess all portfolios of a round in the executor."""
    batch = await node.executor.run(assess, reading.portfolios, market, node.parameters)
    rows = await node.executor.run(arrays_digest_chunks, batch.arrays)
    return AssessedRound(assessments=batch.assessments, array_rows=tuple(rows), breakers=breaker_flags(memory))


async def warm_up(node: Node) -> None:
    """Compile (or load from the cache) the numeric kernels before the first slot, so that no round waits for them."""
    await node.executor.run(enter_every_kernel, node.parameters)


def breaker_flags(memory: MarketMemory) -> int:
    """Return the header's bitmap of circuit breakers."""
    return 1 << STRESSED_BREAKER if memory.regime == "stressed" else 0
