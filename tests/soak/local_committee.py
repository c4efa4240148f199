"""Operators of a local committee, each a process, that a soak test kills, restores and copies one by one."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from aggregator.parameters import load_parameters
from aggregator.warm_up import enter_every_kernel
from attest.formats.certificate import decode_certificate
from attest.keys.guard import guard_path
from attest.wire.envelope import open_body, read_envelope
from attest.wire.messages import Share
from devnet.launch import start_devnet
from devnet.local_chain import Devnet
from devnet.prices import answer_again
from node.key_files import ATTESTATION
from node.local.broker import local_broker
from node.local.network import LocalNetwork, prepare_local_network
from node.local.operators import LocalOperator, free_port

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 4.0
"""How often the feeds of the local chain answer again."""
LONGEST_WAIT = 300.0
"""Seconds: of a committee that shares two cores with everything else."""
DATABASE = "plimsoll.sqlite"


class LocalCommittee:
    """A committee's processes, by the directory that each works in."""

    def __init__(self, devnet: Devnet, network: LocalNetwork) -> None:
        self.devnet = devnet
        self.network = network
        self._running: dict[Path, Process] = {}

    async def start(self, directory: Path) -> None:
        """Start the node that works in a directory; it ends with this process, however that ends."""
        with self._log(directory).open("wb") as log:
            self._running[directory] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "node.cli", "run", "--json", "--attached"),
                *("--config", str(directory / "plimsoll.toml")),
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=log,
                process_group=0,
            )

    async def kill(self, directory: Path) -> None:
        """End a node with SIGKILL."""
        process = self._running.pop(directory)
        assert process.returncode is None, self.tell(directory)
        process.kill()
        await process.wait()

    async def end(self, directory: Path) -> int:
        """Wait until a node ends by itself; return its status."""
        async with asyncio.timeout(LONGEST_WAIT):
            return await self._running.pop(directory).wait()

    async def ends(self, directory: Path) -> bool:
        """Say whether a node ended by itself within two slots and what starting takes."""
        process = self._running[directory]
        try:
            async with asyncio.timeout(LONGEST_WAIT / 10 + 2 * self.network.committee.round_interval_seconds):
                await process.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """End all: each finishes the step under way."""
        for process in self._running.values():
            assert process.stdin is not None
            process.stdin.close()
        await asyncio.gather(*(process.wait() for process in self._running.values()))
        self._running.clear()

    def check(self) -> None:
        """Say which node ended by itself."""
        for directory, process in self._running.items():
            assert process.returncode is None, self.tell(directory)

    def tell(self, directory: Path) -> str:
        """Return the end of what a node wrote in this life."""
        return f"{directory.name}: {self._log(directory).read_text()[-3_000:]}"

    async def everyone_has(self, directories: Iterable[Path], round_number: int) -> int:
        """Wait until nodes have a certified report of a round or a later one; return the lowest of their newest."""
        wanted, end = tuple(directories), time.monotonic() + LONGEST_WAIT
        while (lowest := min(newest_certified(each) for each in wanted)) < round_number:
            self.check()
            assert time.monotonic() < end, "\n".join(self.tell(each) for each in wanted)
            await asyncio.sleep(LOOK_SECONDS)
        return lowest

    @staticmethod
    def _log(directory: Path) -> Path:
        return directory / "log"


@asynccontextmanager
async def local_committee(directory: Path, *, nodes: int) -> AsyncIterator[LocalCommittee]:
    """Run chain and broker of a committee, whose nodes are not started yet; feeds answer again every few seconds."""
    await asyncio.to_thread(directory.chmod, 0o700)
    await asyncio.to_thread(enter_every_kernel, load_parameters())  # compiled once for all nodes
    async with start_devnet() as devnet:
        now = int(time.time())
        network = await asyncio.to_thread(prepare_local_network, devnet, directory, port=0, now=now, nodes=nodes)
        async with local_broker(directory, network.committee, network.operators, port=network.broker_port):
            answering = asyncio.create_task(_answer(devnet))
            running = LocalCommittee(devnet, network)
            try:
                yield running
                assert not answering.done(), "feeds answer no more"
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
                await running.stop()


def copy_of(operator: LocalOperator, name: str, *, guard: bool) -> Path:
    """Set up an operator's keys a second time, beside its own directory, as on another machine; return where.

    Args:
        operator: Whose keys.
        name: Of the new directory.
        guard: Whether what guards the key is copied, too.
    """
    twin = operator.directory.with_name(name)
    kept = None if guard else shutil.ignore_patterns("*.guard*")
    shutil.copytree(operator.directory / "keys", twin / "keys", ignore=kept)
    twin.chmod(0o700)
    for file in ("plimsoll.toml", "committee.json", "history.json"):
        shutil.copy(operator.directory / file, twin / file)
    settings = twin / "plimsoll.toml"
    before, monitoring, after = settings.read_text().partition("[monitoring]\nport = ")
    assert monitoring
    settings.write_text(f"{before}{monitoring}{free_port()}\n{after.partition(chr(10))[2]}")
    return twin


def save(directory: Path, to: Path, *, guard: bool) -> None:
    """Copy the database of a node that does not run, as a backup does; and the guard of its key with its lock file."""
    to.mkdir(mode=0o700)
    for path in _saved(directory, guard=guard):
        shutil.copy2(path, to)


def put_back(directory: Path, saved: Path, *, database: bool, guard: bool) -> None:
    """Replace a node's database, or guard, or both, by what was saved."""
    keys = directory / "keys"
    for path in saved.iterdir():
        is_guard = ".guard" in path.name
        if not (guard if is_guard else database):
            continue
        place = (keys if is_guard else directory) / path.name
        place.unlink(missing_ok=True)
        shutil.copy2(path, place)
    if database:
        for rest in set(directory.glob(DATABASE + "-*")) - {directory / path.name for path in saved.iterdir()}:
            rest.unlink()  # of the newer database


def newest_certified(directory: Path) -> int:
    """Return the newest round of which a node has a certified report, its own or another's; 0: none."""
    return max(computed(directory) | adopted(directory), default=0)


def computed(directory: Path) -> set[int]:
    """Return the rounds whose certified report a node computed by itself."""
    return _rounds(directory, "SELECT round FROM reports WHERE certificate IS NOT NULL")


def adopted(directory: Path) -> set[int]:
    """Return the rounds whose certified report a node took over."""
    return _rounds(directory, "SELECT round FROM adopted_reports")


def observed(directory: Path, operator: int) -> set[int]:
    """Return the rounds in which a node sent an observation of its own."""
    return _rounds(directory, f"SELECT round FROM messages WHERE kind = 'observation' AND sender = '{operator}'")


def said_in(directories: Iterable[Path], operator: int) -> dict[tuple[str, int], set[bytes]]:
    """Return all that an operator's key said, by kind and round, in whatever life: it is stored before it is sent.

    Args:
        directories: With a database each, and the guard in `keys` or beside it.
        operator: Its index.
    """
    said: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for directory in directories:
        with closing(sqlite3.connect(directory / DATABASE)) as database:
            query = "SELECT kind, round, payload FROM messages WHERE sender = ?"
            for kind, number, payload in database.execute(query, (str(operator),)):
                envelope = read_envelope(payload)
                said[kind, number].add(envelope.digest)
                body = open_body(envelope)
                if isinstance(body, Share):
                    said["report", number].add(body.report_hash)
        folder = directory / "keys" if (directory / "keys").exists() else directory
        if guard_path(folder / ATTESTATION).exists():
            with closing(sqlite3.connect(guard_path(folder / ATTESTATION))) as guard:
                query = "SELECT round, report_hash FROM marks WHERE signature IS NOT NULL"
                for number, report in guard.execute(query):
                    said["report", number].add(report)
    return said


def certificates_signed_by(directories: Iterable[Path], operator: int) -> dict[int, set[bytes]]:
    """Return the certified reports, by round, that carry an operator's signature."""
    signed: dict[int, set[bytes]] = defaultdict(set)
    for directory in directories:
        with closing(sqlite3.connect(directory / DATABASE)) as database:
            for table in ("reports", "adopted_reports"):
                query = f"SELECT certificate FROM {table} WHERE certificate IS NOT NULL"
                for (payload,) in database.execute(query):
                    certificate = decode_certificate(payload)
                    if certificate.bitmap >> operator & 1:
                        signed[certificate.header.round].add(certificate.report_hash)
    return signed


def _rounds(directory: Path, query: str) -> set[int]:
    database = directory / DATABASE
    if not database.exists():
        return set()
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return {number for (number,) in connection.execute(query)}
    except sqlite3.OperationalError:  # not made yet
        return set()


def _saved(directory: Path, *, guard: bool) -> Sequence[Path]:
    database = [path for path in directory.glob(DATABASE + "*") if not path.name.endswith("-shm")]
    path = guard_path(directory / "keys" / ATTESTATION)
    return [*database, *(path.parent.glob(path.name + "*") if guard else ())]


async def _answer(devnet: Devnet) -> None:
    while True:
        await asyncio.to_thread(answer_again, devnet)
        await asyncio.sleep(ANSWER_SECONDS)
