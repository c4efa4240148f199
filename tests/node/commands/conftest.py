"""Run commands as the installed program does, in this process."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import stamina

from devnet.local_chain import Devnet
from node.cli import main
from node.cli.endings import FOR_A_PERSON, MAY_PASS
from node.local.network import prepare_local_network
from tests.node.local_node import LocalNode, ManualClock, chain_time, write_cheap_keys


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    output: str
    messages: str

    @property
    def document(self) -> Any:
        assert self.status == 0, self.messages
        return json.loads(self.output)

    def refused(self, *before: str) -> str:
        """Return the one line that says why, after checking that nothing was said but the ends of lines `before`."""
        assert self.status in {MAY_PASS, FOR_A_PERSON}
        assert self.output == ""
        *lines, why = self.messages.strip().splitlines()
        if why.startswith("{"):  # `run` and `serve` write a log, which is JSON where there is no terminal
            ended = json.loads(why)
            assert ended["event"] == "ended"
            why = f"plimsoll: {ended['detail']} [{ended['reason']}]"
        assert len(lines) == len(before), self.messages
        assert all(line.endswith(end) for line, end in zip(lines, before, strict=True)), self.messages
        assert why.startswith("plimsoll: ")
        assert why.endswith("]")
        return why


Plimsoll = Callable[..., Ended]


@pytest.fixture
def plimsoll(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Plimsoll:
    """A function that runs ``plimsoll ARGUMENTS`` and tells how it ended."""

    def run(*arguments: object, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["plimsoll", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Ended(status=int(exit_.value.code or 0), output=captured.out, messages=captured.err)

    return run


@pytest.fixture(scope="module")
def network(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node's directory on the local chain, with one published round; gone from the chain after the module."""
    snapshot = devnet.anvil.snapshot()
    directory = tmp_path_factory.mktemp("network")
    directory.chmod(0o700)
    write_cheap_keys(directory / "keys")
    now = chain_time(devnet)
    prepared = prepare_local_network(devnet, directory, port=None, now=now)
    node = LocalNode(devnet=devnet, network=prepared, clock=ManualClock(now + 1.0))
    asyncio.run(node.run(1))
    yield node
    devnet.anvil.revert(snapshot)


@pytest.fixture(scope="module")
def config(network: LocalNode) -> Path:
    """The settings file of the local chain."""
    return network.network.config_file


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Serve one answer to whatever is asked, on loopback; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def closed_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """The URL of a port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(autouse=True)
def quick_retries() -> Iterator[None]:
    """Ask a broken endpoint twice, without waiting in between."""
    with stamina.set_testing(True, attempts=2):
        yield
