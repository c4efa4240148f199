"""The assessment of a round: the agreed market, and the heavy work away from the event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from aggregator.arrays import arrays_digest_chunks
from aggregator.assess import AssessmentBatch, assess
from aggregator.parameters import Parameters
from attest.outcome import Outcome
from node.node import Node
from node.reading import Reading
from riskschema.assessment import Assessment
from riskschema.market import FactorQuote, Group, HourlyHistory, MarketState
from riskschema.portfolio import Portfolio
from riskschema.units import Wad


class AssessedRound(msgspec.Struct, frozen=True, kw_only=True):
    """What the aggregator made of a round."""

    assessments: tuple[Assessment, ...]
    array_rows: tuple[bytes, ...]
    """Canonical bytes of every row of the risk arrays."""


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


async def assess_round(node: Node, reading: Reading, market: MarketState) -> AssessedRound:
    """Assess all portfolios of a round in the executor."""
    return await node.executor.run(_assess, reading.portfolios, market, node.parameters)


async def warm_up(node: Node) -> None:
    """Compile (or load from the cache) the numeric kernels before the first slot, so that no round waits for them."""
    quote = FactorQuote(factor="ETH", price=Wad(10**18))
    await node.executor.run(_assess, (), MarketState(as_of=0, quotes=(quote,)), node.parameters)


def _assess(portfolios: Sequence[Portfolio], market: MarketState, parameters: Parameters) -> AssessedRound:
    batch: AssessmentBatch = assess(portfolios, market, parameters)
    return AssessedRound(assessments=batch.assessments, array_rows=tuple(arrays_digest_chunks(batch.arrays)))
