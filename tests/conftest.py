"""What all tests share: how Hypothesis searches, compiled kernels, and the local chain with the real protocols."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from devnet.launch import FIXED_GENESIS, launch
from devnet.local_chain import Devnet
from tests.patience import HANG_SECONDS

ROOT = Path(__file__).parents[1]
NEEDED_PROGRAMS = ("node", "npm")

# A busy machine is slow and nothing else: no deadline, no complaint about slow data. In continuous integration every
# run tries the same examples.
settings.register_profile(
    "plimsoll",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
)
settings.load_profile("plimsoll")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the kernels once, before several workers would each do it at the same time."""
    workers = session.config.getoption("numprocesses", default=None)
    if workers and not hasattr(session.config, "workerinput"):
        command = [sys.executable, "-m", "node.local.compiling"]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=HANG_SECONDS, check=True)


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
