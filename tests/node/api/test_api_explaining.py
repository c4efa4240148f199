"""An explanation while the engine is still being loaded."""

from __future__ import annotations

from typing import Any

import aiohttp

from node.api.application import create_app, serve
from riskschema.units import Address
from tests.node.api.conftest import World, agreed_market


class Loading:
    """An engine that is not there yet."""

    async def ready(self) -> bool:
        return False

    async def explain(self, *_: Any) -> None:
        raise AssertionError("it is not ready")


async def test_who_asks_before_the_engine_is_there_is_told_when_to_come_again(world: World, alice: Address) -> None:
    world.market = agreed_market(int(world.clock.now()))
    await world.certify(7, alice)
    app = create_app(
        store=world.store,
        committee=world.committee,
        status=world.status,
        metrics=world.metrics,
        clock=world.clock,
        explains=Loading(),
    )
    async with serve(app) as listening, aiohttp.ClientSession(str(listening)) as session:
        for _ in range(20):  # nobody is left waiting: as many as come are told so
            async with session.get(f"/v1/accounts/{alice}/explanation") as answer:
                problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"], answer.headers["Retry-After"]) == (503, "overloaded", "5")
            assert "is being loaded" in problem["detail"]
