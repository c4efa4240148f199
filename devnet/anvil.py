"""Start, steer and stop one anvil process on a loopback port."""

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devnet.errors import DevnetError
from devnet.rpc import LocalRpc

MNEMONIC = "test test test test test test test test test test test junk"
DEFAULT_CHAIN_ID = 31337
START_TIMEOUT_SECONDS = 20
STOP_TIMEOUT_SECONDS = 10
BLOCK_GAS_LIMIT = 1_000_000_000
ACCOUNT_BALANCE_ETHER = 1_000_000
# Ends anvil when our end of the pipe closes, so that it never outlives us however we die.
WATCHDOG = '"$@" & exec >&- 2>&-; read -r _; kill "$!"; wait'
ALWAYS_REVERTS = "0x60006000fd"
LISTENING = re.compile(r"Listening on 127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anvil:
    """A running local chain: its address and the switches a test or a demonstration needs."""

    rpc: LocalRpc
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        """Return the HTTP JSON-RPC address."""
        return self.rpc.url

    def snapshot(self) -> str:
        """Remember the whole chain state; return the identifier for `revert`."""
        return str(self.rpc.request("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Go back to a snapshot, which is used up by this.

        Raises:
            DevnetError: The snapshot does not exist (any more).
        """
        if not self.rpc.request("evm_revert", snapshot):
            raise DevnetError(f"snapshot {snapshot} does not exist; each can be reverted to once")

    def mine(self, blocks: int = 1, *, seconds_apart: int = 1) -> None:
        """Mine empty blocks, `seconds_apart` on the chain's clock."""
        self.rpc.request("anvil_mine", hex(blocks), hex(seconds_apart))

    def advance_time(self, seconds: int) -> None:
        """Mine one block whose timestamp lies `seconds` after the latest one's."""
        latest = int(self.rpc.request("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        self.mine_at(latest + seconds)

    def mine_at(self, timestamp: int) -> None:
        """Mine one block with exactly this timestamp (Unix seconds)."""
        self.rpc.request("evm_setNextBlockTimestamp", timestamp)
        self.rpc.request("evm_mine")

    def block_number(self) -> int:
        """Return the latest block's height."""
        return int(self.rpc.request("eth_blockNumber"), 16)

    def set_balance(self, account: str, wei: int) -> None:
        """Give an account exactly this many wei."""
        self.rpc.request("anvil_setBalance", account, hex(wei))

    def make_revert(self, contract: str) -> None:
        """Replace a contract by code that reverts every call, as a paused or broken one would."""
        self.rpc.request("anvil_setCode", contract, ALWAYS_REVERTS)

    def reorganise(self, depth: int) -> None:
        """Replace the last `depth` blocks by empty ones with other hashes."""
        # another miner: an empty block of the same second would have the same hash again
        miner = self.rpc.request("eth_getBlockByNumber", "latest", False)["miner"]
        self.rpc.request("anvil_setCoinbase", f"0x{int(miner, 16) ^ 1:040x}")
        self.rpc.request("anvil_reorg", depth, [])
        self.rpc.request("anvil_setCoinbase", miner)

    def impersonate(self, account: str) -> None:
        """Let `eth_sendTransaction` send for an account whose key nobody holds; fund it with gas."""
        self.rpc.batch(
            [
                ("anvil_impersonateAccount", [account]),
                ("anvil_setBalance", [account, hex(10**20)]),
            ]
        )


@contextmanager
def run_anvil(
    binary: Path,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    chain_id: int = DEFAULT_CHAIN_ID,
    genesis_timestamp: int | None = None,
    accounts: int = 64,
) -> Iterator[Anvil]:
    """Run anvil until the block ends, then stop it.

    Args:
        binary: The anvil executable.
        port: 0 lets the operating system choose a free one.
        host: Address to listen on; anyone who reaches it may do anything to the chain.
        chain_id: EIP-155 chain id.
        genesis_timestamp: Unix seconds of block 0; the wall clock when left out.
        accounts: Unlocked accounts derived from `MNEMONIC`.

    Raises:
        DevnetError: anvil cannot be started, or dies while starting.
    """
    with tempfile.TemporaryDirectory(prefix="plimsoll-anvil-") as folder:
        command = [
            *(str(binary), "--host", host, "--port", str(port)),
            *("--chain-id", str(chain_id), "--accounts", str(accounts), "--mnemonic", MNEMONIC),
            *("--balance", str(ACCOUNT_BALANCE_ETHER)),
            *("--gas-limit", str(BLOCK_GAS_LIMIT), "--no-request-size-limit"),
            # `safe` and `finalized` trail the head by one and two epochs: let an epoch be one block
            *("--slots-in-an-epoch", "1", "--cache-path", str(Path(folder) / "history")),
        ]
        if genesis_timestamp is not None:
            command += ["--timestamp", str(genesis_timestamp)]
        process = _start(command, folder)
        output = _Output(process)
        try:
            rpc = LocalRpc(f"http://127.0.0.1:{output.listening_port()}")
            try:
                yield Anvil(rpc=rpc, process=process)
            finally:
                rpc.close()
        finally:
            _stop(process)
            output.close()


class _Output:
    """What anvil prints, read as it comes so that it can never block; only the tail is kept."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._tail: deque[str] = deque(maxlen=40)
        self._port: int | None = None
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._read, name="anvil-output", daemon=True)
        self._thread.start()

    def listening_port(self) -> int:
        """Wait for anvil to listen and return its port.

        Raises:
            DevnetError: anvil ended instead, or took too long.
        """
        self._settled.wait(START_TIMEOUT_SECONDS)
        if self._port is None:
            raise DevnetError(f"anvil did not start listening: {''.join(self._tail).strip()[-600:]}")
        return self._port

    def close(self) -> None:
        """Stop reading; to be called once the process has ended."""
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe in _start
        with self._process.stdout as stream:
            for line in stream:
                self._tail.append(line)
                if match := LISTENING.search(line):
                    self._port = int(match[1])
                    self._settled.set()
        self._settled.set()


def _start(command: list[str], folder: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "HOME": folder, "NO_COLOR": "1"}
    try:
        # its own session, so that Ctrl-C reaches us first and we stop it in order
        return subprocess.Popen(  # noqa: S603 - fixed arguments
            ["/bin/sh", "-c", WATCHDOG, "anvil-watchdog", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise DevnetError(f"cannot start {command[0]}: {error}") from error


def _stop(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None  # noqa: S101 - opened as a pipe in _start
    process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
