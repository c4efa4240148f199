"""The assessment of a round: the agreed market, and the heavy work away from the event loop."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aggregator.assess import assess
from aggregator.market_memory import SECTION
from aggregator.warm_up import enter_every_kernel
from attest.agreement.outcome import Outcome
from attest.agreement.state import AgreedState
from node.round.node import Node
from node.round.reading import Reading
from riskschema.assessment import Assessment
from riskschema.market import (
    UNNAMED_GROUP,
    AgreedMarket,
    AgreedPrice,
    FactorQuote,
    Group,
    HourlyHistory,
    MarketState,
)

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
                group=groups.get(value.factor, UNNAMED_GROUP),
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
                group=groups.get(value.factor, UNNAMED_GROUP),
                observed_at=value.voted_at,
                stale=value.stale,
                sources=sources.get(value.factor, ()),
            )
            for value in outcome.values
        ),
    )


def known_memory(parent: AgreedState) -> bytes | None:
    """Return the model's section of a state; None before the first round."""
    return next((section.data for section in parent.sections if section.name == SECTION), None)


async def assess_round(node: Node, reading: Reading, market: MarketState, *, stressed: bool) -> AssessedRound:
    """Assess all portfolios of a round in the executor."""
    batch = await node.executor.run(assess, reading.portfolios, market, node.parameters)
    rows = await node.executor.run(batch.array_rows)
    return AssessedRound(assessments=batch.assessments, array_rows=rows, breakers=breaker_flags(stressed=stressed))


async def warm_up(node: Node) -> None:
    """Compile (or load from the cache) the numeric kernels before the first slot, so that no round waits for them."""
    await node.executor.run(enter_every_kernel, node.parameters)


def breaker_flags(*, stressed: bool) -> int:
    """Return the header's bitmap of circuit breakers."""
    return 1 << STRESSED_BREAKER if stressed else 0
