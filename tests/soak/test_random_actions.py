"""Users of the real contracts do what they like for longer, from many starts."""

from __future__ import annotations

import pytest

from adapters.chains import PinnedChain, open_chain
from tests.adapters.test_random_actions import VENUES, drive
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.chain, pytest.mark.timeout(7_200)]

STARTS, ACTIONS = 6, 250


@pytest.mark.parametrize("venue", VENUES)
async def test_the_reading_is_what_the_contracts_say_whatever_users_do(
    chain, venue, tally: Tally, scale: float
) -> None:
    starts = max(1, round(STARTS * scale))
    tally.seeds = f"100 to {99 + starts}"
    async with open_chain(rpc_url=chain.url, chain_id=chain.deployment.chain_id, finality="latest") as reader:

        async def pin() -> PinnedChain:
            return await reader.pin(await reader.head())

        for seed in range(100, 100 + starts):
            snapshot = chain.anvil.snapshot()
            await drive(chain, pin, venue, seed=seed, actions=ACTIONS)
            chain.anvil.revert(snapshot)
    tally.count(actions=starts * ACTIONS)
