"""What the model remembers travels in the agreed state, and the header says when the market is stressed."""

import pytest

from aggregator.market_memory import SECTION
from attest.agreement.state_format import decode_state, state_root
from attest.formats.header import decode_header
from node.round.assessing import breaker_flags
from riskschema.codec import decode_json
from tests.node.local_node import LocalNode, certified_rounds


def test_only_a_stressed_market_breaks_the_circuit() -> None:
    assert [breaker_flags(stressed=stressed) for stressed in (False, True)] == [0, 1]


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
            memories.append(decode_json(sections[SECTION], dict, what="state"))
        assert {item["factor"] for item in memories[0]["factors"]} == {"BTC", "ETH", "USDC"}
        assert memories[1]["until"] >= memories[0]["until"] > 0
