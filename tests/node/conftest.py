"""Fixtures of tests that run the whole node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from devnet.local_chain import Devnet
from node.local.network import prepare_local_network
from tests.node.local_node import LocalNode, ManualClock, chain_time, write_cheap_keys
from tests.patience import HANG_SECONDS

Prepare = Callable[[Devnet, Path], LocalNode]


@pytest.fixture(autouse=True)
def _slow_rounds_are_no_late_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round is given up by the wall's clock, also where the node's own stands still."""
    monkeypatch.setattr("node.round.failing.LONGEST_SECONDS", HANG_SECONDS)


@pytest.fixture
def prepare() -> Prepare:
    """Make a local network in a directory; a second time in the same one keeps keys and database."""

    def prepare(devnet: Devnet, directory: Path) -> LocalNode:
        directory.mkdir(exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        if not (directory / "keys").exists():
            write_cheap_keys(directory / "keys")
        now = chain_time(devnet)
        network = prepare_local_network(devnet, directory, port=None, now=now)
        return LocalNode(devnet=devnet, network=network, clock=ManualClock(now + 1.0))

    return prepare


@pytest.fixture
def local(chain: Devnet, tmp_path: Path, prepare: Prepare) -> LocalNode:
    """A network of one operator on the seeded chain."""
    return prepare(chain, tmp_path)
