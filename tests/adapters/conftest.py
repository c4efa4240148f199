"""Readers of the local chain."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from adapters.chains import Chain, PinnedChain, open_chain
from devnet.local_chain import Devnet
from riskschema.units import Address

Pin = Callable[[], Awaitable[PinnedChain]]

FAST: dict[str, Any] = {"finality": "latest", "attempts": 2, "timeout_seconds": 5.0}


@pytest.fixture
async def reader(chain: Devnet) -> AsyncIterator[Chain]:
    """The local chain through the real reader."""
    async with open_chain(rpc_url=chain.url, chain_id=chain.deployment.chain_id, **FAST) as opened:
        yield opened


@pytest.fixture
def pin(reader: Chain) -> Pin:
    """Pins the newest block, as often as a test likes."""

    async def newest() -> PinnedChain:
        return await reader.pin(await reader.head())

    return newest


@pytest.fixture
def user(chain: Devnet) -> Callable[[str], Address]:
    """Looks up a seeded user by name."""
    return lambda name: Address(chain.deployment.user(name).address)


@pytest.fixture
def everyone(chain: Devnet) -> list[Address]:
    """All seeded users."""
    return [Address(user.address) for user in chain.deployment.users]
