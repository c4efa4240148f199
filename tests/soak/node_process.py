"""A real node on a local chain with moving prices: its process, and what it left on disk and on the chain."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from adapters.history.simulator import PriceWalk
from aggregator.parameters import load_parameters
from aggregator.warm_up import enter_every_kernel
from attest.formats.certificate import decode_certificate
from devnet.launch import launch
from devnet.local_chain import Devnet
from devnet.prices import set_prices
from node.local.network import (
    BEHIND_THE_HEAD,
    FACTORS,
    WEI_PER_ANSWER,
    LocalNetwork,
    prepare_local_network,
    simulated_factors,
)
from tests.node.local_node import accepted_reports, signed_reports, write_cheap_keys

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
ROUND_SECONDS = 1
MARKET_SECONDS_PER_STEP = 900.0
START_SECONDS = 120.0
SERVING = re.compile(r'"url": "(http://[^"]+)", "metrics": ')


@dataclass
class NodeProcess:
    """One node, started and ended again and again in the same directory."""

    devnet: Devnet
    network: LocalNetwork
    genesis_time: int
    round_seconds: int = ROUND_SECONDS
    lives: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def directory(self) -> Path:
        return self.network.config_file.parent

    @property
    def log(self) -> Path:
        """What this life wrote."""
        return self.directory / f"node-{self.lives}.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, open_files: int | None = None) -> None:
        """Start the process, with a limit of open files if given; `url` waits until it serves."""
        self.lives += 1
        limit = ["/bin/sh", "-c", f'ulimit -n {open_files}; exec "$@"', "sh"] if open_files else []
        command = [sys.executable, "-m", "node.cli", "run", "--config", str(self.network.config_file)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*limit, *command, "--port", "0", "--json"], stdout=log, stderr=log, env=environment
            )

    def url(self) -> str:
        """Return the address of the API, once it is there."""
        found = wait_for(lambda: SERVING.search(self.log.read_text()), START_SECONDS, self.tell)
        return found[1]

    def next_slot(self) -> float:
        """Return when the next round begins, Unix seconds."""
        elapsed = time.time() - self.genesis_time
        return self.genesis_time + (elapsed // self.round_seconds + 1) * self.round_seconds

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL, -signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGTERM, 0)

    def tell(self) -> str:
        """Return the end of the log."""
        return f"life {self.lives}: {self.log.read_text()[-3_000:]}"

    def certified(self) -> dict[int, bytes]:
        """Return the certified report of every round, from a copy: recovery of the database is the node's business."""
        copy = self.directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for path in self.directory.glob("plimsoll.sqlite*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, copy)
        with closing(sqlite3.connect(copy / "plimsoll.sqlite")) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'reports'").fetchone():
                return {}
            rows = database.execute("SELECT round, certificate FROM reports WHERE certificate IS NOT NULL").fetchall()
        return {number: decode_certificate(certificate).report_hash for number, certificate in rows}

    def signed(self) -> dict[int, set[bytes]]:
        """Return the reports signed for every round: guard, shares, certificates and chain together."""
        return signed_reports(self.devnet, self.network.oracle, self.directory)

    def landed(self) -> dict[int, bytes]:
        """Return the report on the chain for every round."""
        return accepted_reports(self.devnet, self.network.oracle)

    def wait_for_landed(self, more: int, seconds: float) -> int:
        """Wait until so many further reports landed; return how many there are."""
        goal = len(self.landed()) + more
        return wait_for(lambda: count if (count := len(self.landed())) >= goal else None, seconds, self.tell)

    def _end(self, number: signal.Signals, expected: int) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"the node ended by itself. {self.tell()}"
        self._process.send_signal(number)
        assert self._process.wait(60) == expected, self.tell()
        self._process = None

    def close(self) -> None:
        """End it however it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def wait_for(look: Callable[[], T | None], seconds: float, tell: Callable[[], str]) -> T:
    """Look again and again until there is something.

    Raises:
        AssertionError: there is nothing for so long.
    """
    end = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < end, f"nothing for {seconds:g} s. {tell()}"
        time.sleep(0.05)
    return found


@contextmanager
def running_network(directory: Path, *, seed: int, round_seconds: int = ROUND_SECONDS) -> Iterator[NodeProcess]:
    """Start a chain whose prices move every round, and prepare a node that is not started yet."""
    enter_every_kernel(load_parameters())  # compiled once for all lives, however busy the machine
    directory.chmod(0o700)
    write_cheap_keys(directory / "keys")
    with launch() as devnet:
        genesis_time = int(time.time()) - round_seconds
        with patch("node.local.network.ROUND_SECONDS", round_seconds):
            network = prepare_local_network(
                devnet, directory, port=None, now=genesis_time, confirmations=BEHIND_THE_HEAD
            )
        node = NodeProcess(devnet=devnet, network=network, genesis_time=genesis_time, round_seconds=round_seconds)
        with moving_prices(devnet, seed):
            try:
                yield node
            finally:
                node.close()


@contextmanager
def moving_prices(devnet: Devnet, seed: int) -> Iterator[None]:
    """Let feeds and pools follow a random walk, as `plimsoll run --devnet` does."""
    symbols = {factor: symbol for symbol, (factor, _) in FACTORS.items()}
    walk = PriceWalk(simulated_factors(devnet), seed=seed, step_seconds=MARKET_SECONDS_PER_STEP)
    ended = threading.Event()
    failures: list[Exception] = []

    def move() -> None:
        while not ended.wait(ROUND_SECONDS):
            try:
                set_prices(devnet, {symbols[name]: price // WEI_PER_ANSWER for name, price in walk.step().items()})
            except Exception as error:  # noqa: BLE001 - told by the thread that can tell it
                failures.append(error)
                return

    mover = threading.Thread(target=move, name="prices")
    mover.start()
    try:
        yield
    finally:
        ended.set()
        mover.join()
    assert not failures, failures
