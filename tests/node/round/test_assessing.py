"""What the model remembers travels in the agreed state, and the header says when the market is stressed."""

import pytest

from aggregator.scenarios.memory import REGIMES, FactorMemory, MarketMemory, decode_memory
from attest.agreement.state_format import decode_state, state_root
from attest.formats.header import decode_header
from node.round.assessing import MEMORY_SECTION, breaker_flags
from tests.node.local_node import LocalNode, certified_rounds


def memory(regime: int) -> MarketMemory:
    calm = FactorMemory(factor="BTC", variance=1e-5, regime=0, hours_below=0)
    return MarketMemory(
        until=0, factors=(calm, FactorMemory(factor="ETH", variance=1e-3, regime=regime, hours_below=0))
    )


@pytest.mark.parametrize("regime", range(len(REGIMES)))
def test_only_a_stressed_market_breaks_the_circuit(regime: int) -> None:
    assert breaker_flags(memory(regime)) == (1 if REGIMES[regime] == "stressed" else 0)


@pytest.mark.chain
async def test_the_models_memory_is_part_of_the_certified_state_and_is_continued(local: LocalNode) -> None:
    async with local.open() as node:
        first, second = await certified_rounds(node, 2)
        memories = []
        for result in (first, second):
            report = await node.store.report(node.config_digest, result.round)
            assert report is not None
            state = decode_state(report.state)
            assert decode_header(report.header).state_root == state_root(state)
            sections = {section.name: section.data for section in state.sections}
            memories.append(decode_memory(sections[MEMORY_SECTION], what="state"))
        assert {item.factor for item in memories[0].factors} == {"BTC", "ETH", "USDC"}
        assert memories[1].until >= memories[0].until > 0
