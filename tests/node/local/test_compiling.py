"""Compiling beside the rest: nothing where nothing is lacking, and no process left behind."""

from __future__ import annotations

import asyncio
import io
import signal
from pathlib import Path

import pytest

from aggregator.exact.compilation import lacks_kernels
from aggregator.parameters import load_parameters
from aggregator.warm_up import enter_every_kernel
from node.local import compiling
from node.local.compiling import kernels_compiling
from node.local.screen import Screen


async def test_a_cache_that_holds_every_kernel_needs_no_compiler() -> None:
    enter_every_kernel(load_parameters(None))
    assert not lacks_kernels()
    told = io.StringIO()
    async with kernels_compiling(Screen(told)) as ready:
        await ready
    assert told.getvalue() == ""


async def test_leaving_early_kills_the_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiling, "_lacking", lambda: True)
    begun: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()
    follow = compiling._follow

    async def followed(process: asyncio.subprocess.Process, screen: Screen) -> None:
        begun.put_nowait(process)
        await follow(process, screen)

    monkeypatch.setattr(compiling, "_follow", followed)
    told = io.StringIO()
    async with kernels_compiling(Screen(told)) as ready:
        process = await begun.get()
        assert process.returncode is None
        assert not ready.done()
    assert process.returncode == -signal.SIGKILL
    assert "compiling the numeric kernels" in told.getvalue()
