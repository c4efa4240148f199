"""Fixtures shared by all tests: the local chain with the real protocols."""

import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from devnet.launch import FIXED_GENESIS, launch
from devnet.local_chain import Devnet

NEEDED_PROGRAMS = ("node", "npm")


def _require_programs() -> None:
    missing = [name for name in NEEDED_PROGRAMS if shutil.which(name) is None]
    if not missing:
        return
    message = f"the local chain needs {' and '.join(missing)} on the PATH (Node.js 20 or newer)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_reaches_our_children() -> None:
    """Undo what a shell does to commands in the background: programs that a test starts would ignore Ctrl-C too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def devnet() -> Iterator[Devnet]:
    """One local chain per test process, the same to the last hash every time.

    Tests that change it use `chain` instead.
    """
    _require_programs()
    with launch(genesis_timestamp=FIXED_GENESIS) as running:
        yield running


@pytest.fixture
def chain(devnet: Devnet) -> Iterator[Devnet]:
    """The local chain, put back to its seeded state after the test."""
    snapshot = devnet.anvil.snapshot()
    yield devnet
    devnet.anvil.revert(snapshot)
    # not part of a snapshot: a test may have changed it
    devnet.anvil.rpc.request("anvil_setBlockTimestampInterval", 1)
