"""The chain's process: free ports, clear failures, snapshots, and no orphan."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from devnet.anvil import run_anvil
from devnet.deployment import Deployment
from devnet.errors import DevnetError
from devnet.launch import start_devnet
from devnet.local_chain import Devnet
from devnet.toolchain.packages import PROJECT_ROOT, default_cache, find_anvil
from tests.patience import HANG_SECONDS, wait_until

pytestmark = pytest.mark.chain


@pytest.fixture
def binary(devnet: Devnet) -> Path:
    """The anvil binary, present because a chain runs already."""
    return find_anvil(cache=default_cache(), progress=lambda _: None)


def test_two_chains_run_side_by_side_on_their_own_ports(binary: Path) -> None:
    with run_anvil(binary, chain_id=7001) as first, run_anvil(binary, chain_id=7002) as second:
        assert first.url != second.url
        assert [int(c.rpc.request("eth_chainId"), 16) for c in (first, second)] == [7001, 7002]


def test_a_taken_port_is_named_in_the_error(binary: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(DevnetError, match="did not start listening"),
            run_anvil(binary, port=taken.getsockname()[1]),
        ):
            pass


def test_a_program_that_is_not_anvil_fails_at_once() -> None:
    with pytest.raises(DevnetError, match="did not start listening"), run_anvil(Path("/nonexistent/anvil")):
        pass


def test_a_chain_that_was_stopped_is_said_not_to_answer(binary: Path) -> None:
    with run_anvil(binary) as anvil:
        assert anvil.block_number() == 0
    with pytest.raises(DevnetError, match="does not answer"):
        anvil.block_number()


def test_safe_and_finalized_follow_the_head(binary: Path) -> None:
    with run_anvil(binary) as anvil:
        anvil.mine(10)
        heights = [
            int(anvil.rpc.request("eth_getBlockByNumber", tag, False)["number"], 16)
            for tag in ("latest", "safe", "finalized")
        ]
    assert heights == [10, 9, 8]


def test_the_chain_does_not_outlive_a_process_that_was_killed(devnet: Devnet) -> None:
    program = (
        "from devnet.launch import launch\nwith launch() as d: print(d.url, flush=True); __import__('time').sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline().split()[0].rsplit(":", 1)[1])
        os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: not _listens(port))


def test_a_revert_puts_back_balances_time_and_blocks(chain: Devnet) -> None:
    anvil, account = chain.anvil, chain.deployment.operator
    before = (anvil.block_number(), anvil.rpc.request("eth_getBalance", account, "latest"))
    snapshot = anvil.snapshot()
    anvil.set_balance(account, 1)
    anvil.advance_time(86_400)
    anvil.mine(3)
    assert anvil.block_number() == before[0] + 4

    anvil.revert(snapshot)

    times = [int(anvil.rpc.request("eth_getBlockByNumber", "latest", False)["timestamp"], 16)]
    assert (anvil.block_number(), anvil.rpc.request("eth_getBalance", account, "latest")) == before
    anvil.rpc.request("evm_mine")
    times.append(int(anvil.rpc.request("eth_getBlockByNumber", "latest", False)["timestamp"], 16))
    assert times[1] == times[0] + 1
    with pytest.raises(DevnetError, match="each can be reverted to once"):
        anvil.revert(snapshot)


def test_the_command_prints_where_the_chain_is_and_stops_cleanly_when_told_to(devnet: Devnet) -> None:
    command = [sys.executable, "-m", "node.cli", "devnet", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    ) as child:
        assert child.stdout is not None
        lines = iter(child.stdout.readline, "}\n")
        deployment = msgspec.json.decode("".join(lines) + "}", type=Deployment)
        child.send_signal(signal.SIGTERM)
        assert child.wait(HANG_SECONDS) == 0
    assert deployment.aave == devnet.deployment.aave


def test_a_contract_made_to_revert_answers_again_after_the_test(chain: Devnet) -> None:
    pool, user = chain.deployment.aave.pool, chain.deployment.user("saver").address
    snapshot = chain.anvil.snapshot()
    chain.anvil.make_revert(pool)
    with pytest.raises(DevnetError, match="revert"):
        chain.call("Pool", pool, "getUserAccountData", user)

    chain.anvil.revert(snapshot)

    assert chain.call("Pool", pool, "getUserAccountData", user)[0] > 0


def test_a_reorganisation_changes_the_hashes_of_the_last_blocks_only(chain: Devnet) -> None:
    chain.anvil.mine(4)
    head = chain.anvil.block_number()
    heights = [("eth_getBlockByNumber", [hex(head - back), False]) for back in range(4)]
    before = [block["hash"] for block in chain.anvil.rpc.batch(heights)]

    chain.anvil.reorganise(2)

    after = [block["hash"] for block in chain.anvil.rpc.batch(heights)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, False, True, True]


async def test_a_start_that_is_cancelled_leaves_no_chain_behind(devnet: Devnet) -> None:
    chains = _running_chains()
    deploying, loop = asyncio.Event(), asyncio.get_running_loop()

    def report(_: str) -> None:
        loop.call_soon_threadsafe(deploying.set)

    context = start_devnet(progress=report)
    starting = asyncio.ensure_future(context.__aenter__())
    await deploying.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert _running_chains() == chains


async def test_the_devnet_starts_and_stops_beside_an_event_loop(devnet: Devnet) -> None:
    async with start_devnet(chain_id=7003) as running:
        assert running.deployment.chain_id == 7003
        port = int(running.url.rsplit(":", 1)[1])
    assert not _listens(port)


def _running_chains() -> int:
    return [thread.name for thread in threading.enumerate()].count("anvil-output")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
