"""The API in a process of its own: it serves what is stored, holds no secret, and whatever becomes of it, the other
process goes on and has it again."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from node.api.monitoring import MAX_STATUS_BYTES, ask_status, serve_monitoring
from node.api.server import listening_at, open_listener
from node.clock import SystemClock
from node.commands import serving_process as supervisor
from node.commands.serving_process import serving_process
from node.committee_file import write_committee
from node.telemetry import Metrics
from riskschema.errors import FatalError, InvalidData, TransientError
from storage.store import open_store, open_store_to_read
from tests.patience import HANG_SECONDS, eventually

PROC = Path("/proc/self/fd")
SETTINGS = """
data_directory = "data"
committee_file = "committee.json"
[[chains]]
chain_id = 31337
rpc_url = "http://127.0.0.1:9/key"
"""


class Beside:
    """A network whose round is stored, with the process that serves it."""

    def __init__(self, world, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.ready = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Beside"]:
        metrics, clock = Metrics(self.world.status), SystemClock()
        opened, port = open_listener("127.0.0.1", 0), open_listener("127.0.0.1", 0)
        self.url = str(listening_at(opened))
        async with serve_monitoring(port, status=self.world.status, metrics=metrics, clock=clock) as monitoring:
            arguments = ("--config", str(self.directory / "plimsoll.toml"), "--monitoring", str(monitoring), "--json")
            async with serving_process(
                arguments, opened, status=self.world.status, clock=clock, on_ready=self.note_ready
            ):
                yield self

    def note_ready(self) -> None:
        self.ready += 1

    async def get(self, path: str, wanted: int = 200) -> Any:
        """Ask until there is an answer of that status."""
        end = time.monotonic() + HANG_SECONDS
        seen: object = None
        while time.monotonic() < end:
            try:
                timeout = aiohttp.ClientTimeout(total=5)
                async with aiohttp.ClientSession(timeout=timeout) as client, client.get(self.url + path) as response:
                    seen = response.status, await response.read()
                    if response.status == wanted:
                        return json.loads(seen[1])
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                seen = error
            await asyncio.sleep(0.1)
        raise AssertionError(f"{path}: {seen}")

    async def pid(self) -> int:
        """Return the process that serves."""
        await self.get("/healthz")
        return serving_pid(self.directory / "plimsoll.toml")


def serving_pid(config: Path) -> int:
    """Return the process that serves with these settings."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in command and str(config).encode() in command:
            return int(path.parent.name)
    raise AssertionError("nobody serves")


@pytest.fixture
async def beside(worlds, alice, tmp_path: Path) -> AsyncIterator[Beside]:
    """A stored round, just certified, in the directory of a node."""
    (tmp_path / "plimsoll.toml").write_text(SETTINGS)
    async with open_store(tmp_path / "data" / "plimsoll.sqlite") as store:
        world = worlds(store)
        world.clock.time = time.time()
        write_committee(tmp_path / "committee.json", world.committee)
        await world.certify(7, alice)
        yield Beside(world, tmp_path)


async def test_another_process_serves_what_this_one_stores(beside: Beside, alice, bob) -> None:
    async with beside.running():
        assert (await beside.get("/v1/rounds/latest"))["round"] == 7
        assert (await beside.get("/readyz"))["certified_round"] == 7
        await beside.world.certify(8, alice, bob)

        async def follows() -> bool:
            return (await beside.get("/v1/rounds/latest"))["round"] == 8

        await eventually(follows)
        assert (await beside.get(f"/v1/accounts/{bob}"))["round"] == 8
        assert beside.ready == 1


async def test_what_fails_here_is_told_there(beside: Beside) -> None:
    async with beside.running():
        await beside.get("/readyz")
        beside.world.status.fail("chain 1", "endpoint_unreachable", at=beside.world.clock.time)
        refused = await beside.get("/readyz", 503)
        assert [(each["component"], each["code"]) for each in refused["reasons"]] == [
            ("chain 1", "endpoint_unreachable")
        ]
        beside.world.status.recover("chain 1", at=beside.world.clock.time)
        await beside.get("/readyz")


@pytest.mark.skipif(not PROC.exists(), reason="finds the process in /proc")
async def test_a_process_that_dies_is_started_again_on_the_same_port(beside: Beside) -> None:
    async with beside.running():
        first = await beside.pid()
        os.kill(first, signal.SIGKILL)

        async def stopped() -> bool:
            return "serving_stopped" in beside.world.status.ready(beside.world.clock.time)

        await eventually(stopped)
        assert (await beside.get("/v1/rounds/latest"))["round"] == 7
        assert await beside.pid() != first
        assert beside.world.status.ready(beside.world.clock.time) == ()


@pytest.mark.skipif(not PROC.exists(), reason="finds the process in /proc")
async def test_a_process_that_hangs_is_killed_and_started_again(beside: Beside, monkeypatch) -> None:
    async with beside.running():
        first = await beside.pid()
        with monkeypatch.context() as patience:  # a machine may be too busy for the next one to be heard so soon
            patience.setattr(supervisor, "SILENT_SECONDS", 2.0)
            await asyncio.sleep(2.0)  # with its next word, once a second, the new limit holds
            with suppress(ProcessLookupError):
                os.kill(first, signal.SIGSTOP)

            async def stopped() -> bool:
                return "serving_stopped" in beside.world.status.ready(beside.world.clock.time)

            await eventually(stopped)
        assert (await beside.get("/v1/rounds/latest"))["round"] == 7
        assert await beside.pid() != first


ENDLESS = 'import os, sys, time; os.write(1, b"x" * (1 << 20)); time.sleep(3600)'


async def test_a_process_that_writes_a_line_without_end_is_ended_and_started_again(beside: Beside, monkeypatch) -> None:
    started: list[int] = []
    start = asyncio.create_subprocess_exec

    async def start_the_first_wrongly(*command: str, **arguments: Any) -> asyncio.subprocess.Process:
        process = await start(*((sys.executable, "-c", ENDLESS) if not started else command), **arguments)
        started.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_the_first_wrongly)
    async with beside.running():
        assert (await beside.get("/v1/rounds/latest"))["round"] == 7
    assert len(started) == 2


@pytest.mark.skipif(not PROC.exists(), reason="finds the process in /proc")
async def test_the_end_of_the_context_ends_the_process(beside: Beside) -> None:
    async with beside.running():
        pid = await beside.pid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(not PROC.exists(), reason="looks at the process in /proc")
async def test_the_process_gets_no_secret_and_little_of_the_processor(beside: Beside, monkeypatch) -> None:
    monkeypatch.setenv("PLIMSOLL_TEST_PASSWORD", "hunter2")
    secret = beside.directory / "secret"
    secret.write_text("hunter2")
    with secret.open() as held:
        os.set_inheritable(held.fileno(), True)
        async with beside.running():
            process = Path(f"/proc/{await beside.pid()}")
            files = [link.readlink().name for link in (process / "fd").iterdir()]
            environment = (process / "environ").read_bytes()
            niceness = int((process / "stat").read_text().rpartition(")")[2].split()[16])
    assert b"hunter2" not in environment
    assert not [name for name in files if "secret" in name or name.endswith((".json", ".guard", ".pem"))]
    assert {"plimsoll.sqlite"} <= set(files)
    assert niceness == 10 + os.getpriority(os.PRIO_PROCESS, 0)


PARENT = """
import asyncio, sys
from node.api.server import listening_at, open_listener
from node.commands.serving_process import serving_process
from node.clock import SystemClock
from node.status import NodeStatus

async def main():
    opened = open_listener("127.0.0.1", 0)
    port = listening_at(opened).port
    async with serving_process(("--config", sys.argv[1], "--json"), opened, status=NodeStatus(round_interval=12),
                               clock=SystemClock(), on_ready=lambda: print(port, flush=True)):
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_process_whose_parent_is_killed_ends_by_itself(beside: Beside) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(beside.directory / "plimsoll.toml")),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    async with asyncio.timeout(HANG_SECONDS):
        port = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    async def is_free() -> bool:
        return not is_taken(port)

    await eventually(is_free)


def is_taken(port: int) -> bool:
    try:
        open_listener("127.0.0.1", port).close()
    except InvalidData:
        return True
    return False


async def test_the_database_of_another_process_cannot_be_written(beside: Beside) -> None:
    async with open_store_to_read(beside.directory / "data" / "plimsoll.sqlite") as store:
        with pytest.raises(TransientError, match="readonly"):
            await store.prune(beside.world.config_digest, below_round=100)
        assert await store.report(beside.world.config_digest, 7) is not None


def serve_alone(directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "node.cli", "serve", "--config", str(directory / "plimsoll.toml"), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([*command, "--json"], stderr=subprocess.PIPE, text=True, env=environment)


async def test_a_process_started_alone_waits_for_the_database_and_says_so(worlds, alice, tmp_path: Path) -> None:
    (tmp_path / "plimsoll.toml").write_text(SETTINGS)
    write_committee(tmp_path / "committee.json", worlds(None).committee)
    with serve_alone(tmp_path) as process:
        assert process.stderr is not None
        waiting = json.loads(await asyncio.to_thread(process.stderr.readline))
        assert (waiting["event"], waiting["reason"]) == ("waiting", "store_not_ready")
        assert "plimsoll run" in waiting["detail"]
        async with open_store(tmp_path / "data" / "plimsoll.sqlite") as store:
            world = worlds(store)
            await world.certify(7, alice)
            said = waiting
            while said["event"] != "serving":
                said = json.loads(await asyncio.to_thread(process.stderr.readline))
            other = Beside(world, tmp_path)
            other.url = said["url"]
            assert (await other.get("/v1/rounds/latest"))["round"] == 7
            refused = await other.get("/readyz", 503)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, HANG_SECONDS) == 0
        assert all(json.loads(line)["event"] for line in process.stderr)
    assert {each["code"] for each in refused["reasons"]} == {"round_overdue", "signer_silent"}


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no addresses of version 6")
async def test_a_process_started_alone_on_any_free_port_finds_the_monitoring_port_also_of_version_6(
    beside: Beside,
) -> None:
    status, opened = beside.world.status, open_listener("::1", 0)
    monitoring = f'[monitoring]\nhost = "::1"\nport = {opened.getsockname()[1]}\n'
    with (beside.directory / "plimsoll.toml").open("a") as file:
        file.write(monitoring)
    async with serve_monitoring(opened, status=status, metrics=Metrics(status), clock=SystemClock()):
        with serve_alone(beside.directory) as process:
            assert process.stderr is not None
            said = {"event": ""}
            while said["event"] != "serving":
                said = json.loads(await asyncio.to_thread(process.stderr.readline))
            beside.url = said["url"]
            try:
                assert (await beside.get("/readyz"))["status"] == "ready"
            finally:
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.communicate)


async def test_a_database_of_a_newer_version_is_not_served(beside: Beside) -> None:
    import sqlite3  # noqa: PLC0415 - as another program would

    path = beside.directory / "data" / "plimsoll.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(FatalError, match="9999, newer than this program"):
        async with open_store_to_read(path):
            pass


async def test_monitoring_makes_its_answers_once_a_second_and_not_once_a_request(world, monkeypatch) -> None:
    made: list[float] = []
    metrics = Metrics(world.status)

    def make(now: float) -> bytes:
        made.append(now)
        return b"series"

    monkeypatch.setattr(metrics, "exposition", make)
    opened = open_listener("127.0.0.1", 0)
    async with (
        serve_monitoring(opened, status=world.status, metrics=metrics, clock=world.clock) as monitoring,
        aiohttp.ClientSession(str(monitoring)) as client,
    ):
        for _ in range(5):
            async with client.get("/metrics") as response:
                assert await response.read() == b"series"
        assert len(made) == 1
        world.clock.time += 1
        async with client.get("/metrics") as response:
            assert response.status == 200
    assert len(made) == 2


async def test_a_status_without_end_is_read_no_further_than_its_limit() -> None:
    sent = [0]

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()  # chunked: it says no length beforehand
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65_536)
                sent[0] += 65_536
        except ConnectionError:
            return response

    app = web.Application()
    app.router.add_get("/status", stream)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        with pytest.raises(TransientError, match=f"longer than {MAX_STATUS_BYTES} bytes"):
            await ask_status(session, str(server.make_url("")).rstrip("/"))
    assert sent[0] < 16 * MAX_STATUS_BYTES


def test_a_host_name_that_cannot_be_one_is_refused_with_the_setting_to_change() -> None:
    with pytest.raises(InvalidData, match=r"cannot listen on .*choose another port with --port"):
        open_listener("a" * 64 + ".example", 0)


DUMPS = """
import ctypes, resource, sys
from pathlib import Path
from node.commands.run_node import run_node
from riskschema.errors import InvalidData
try:
    run_node(Path(sys.argv[1]), once=True, data_directory=None, port=None, as_json=True)
except InvalidData as error:
    print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3) if sys.platform == "linux" else 0)
"""


def test_a_process_that_will_open_keys_leaves_no_image_of_its_memory(tmp_path: Path) -> None:
    (tmp_path / "plimsoll.toml").write_text(SETTINGS)  # without keys: refused right after
    done = subprocess.run(
        [sys.executable, "-c", DUMPS, str(tmp_path / "plimsoll.toml")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2),
    )
    assert done.stdout.strip() == "(0, 0) 0", done.stderr
