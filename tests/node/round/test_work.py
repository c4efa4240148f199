"""What runs beside the loop, and what is left of it at the end."""

from __future__ import annotations

import gc
import warnings
from types import SimpleNamespace
from typing import Any

from node.round.failing import guarded
from node.round.work import Brought, Work


async def test_work_that_is_ended_before_it_began_leaves_nothing_behind() -> None:
    node: Any = SimpleNamespace(rules=SimpleNamespace(committee=SimpleNamespace(round_interval_seconds=1)))
    began: list[bool] = []

    async def read() -> Brought:
        began.append(True)
        return lambda: ()

    work = Work()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        work.begin(1, guarded(node, 1, read))
        await work.end()
        gc.collect()
    assert not told
    assert not began
    work.begin(1, guarded(node, 1, read))
    await work.wait()
    assert work.take() is not None
    assert began
