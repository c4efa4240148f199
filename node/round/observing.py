"""What this node sees: the newest blocks of every chain and the current values of every factor."""

from __future__ import annotations

import structlog

from attest.agreement.effects import Observe
from attest.agreement.messages import Observation
from attest.agreement.observing import block_numbers_to_name, word_observation
from node.node import Node
from node.round.parallel import in_parallel
from riskschema.errors import TransientError
from riskschema.market import FactorQuote
from riskschema.portfolio import BlockReference
from riskschema.ports import ChainReader

_log = structlog.get_logger("node.observing")


async def observe(node: Node, asked: Observe) -> Observation:
    """Look at all chains, then at all market sources.

    Raises:
        TransientError: an endpoint or a source does not answer: this node abstains.
        InvalidData: a source answers nonsense.
    """
    stride = node.rules.parameters.pin_stride
    observed = [node.chains[chain.chain_id] for chain in node.rules.committee.chains]
    seen = await in_parallel(_heads(chain, stride) for chain in observed)
    answers = await in_parallel(source.quotes() for source in node.sources)
    quoted: dict[str, FactorQuote] = {}
    for quote in (quote for answer in answers for quote in answer):
        quoted.setdefault(quote.factor, quote)  # the first source that quotes a factor is this node's vote
    if not quoted:
        raise TransientError("no market source gave a value: configure [[market.feeds]]", code="market_unavailable")
    observation, jumped = word_observation(
        node.rules,
        timestamp=int(node.clock.now()),
        heads=[block for blocks in seen for block in blocks],
        quotes=quoted.values(),
        recent=node.recent_values,
        highest_certified=asked.highest_certified,
    )
    if jumped:
        _log.warning("values jumped", factors=jumped, round=asked.round)
    node.recent_values.update({vote.factor: vote.value for vote in observation.votes})
    node.recent_sources.clear()
    node.recent_sources.update({vote.factor: quoted[vote.factor].sources for vote in observation.votes})
    return observation


async def _heads(chain: ChainReader, stride: int) -> tuple[BlockReference, ...]:
    head = await chain.head()
    numbers = block_numbers_to_name(head.number, stride)
    older = await in_parallel(chain.block(number) for number in numbers if number != head.number)
    return (*older, head) if head.number in numbers else older
