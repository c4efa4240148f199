"""`plimsoll run --devnet`: what a newcomer sees, from the first line to Ctrl-C."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapters.markets.chainlink import LATEST_ROUND_DATA
from node.cli.endings import FOR_A_PERSON
from node.local.introductions import INTRODUCED
from riskschema.ports import CallSuccess
from riskschema.rounds import RoundStep
from riskschema.units import Address
from tests.node.api.test_serving_process import serving_pid
from tests.node.commands.conftest import Plimsoll
from tests.node.local_node import LocalNode
from tests.patience import HANG_SECONDS, wait_until

pytestmark = pytest.mark.chain
ROOT = Path(__file__).parents[3]
STARTING = "starting a local chain and a node on it; Ctrl-C stops everything"


class Running:
    """A `plimsoll run` in a process of its own."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "node.cli", "run", *map(str, arguments)]
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines: list[str] = []

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read what it says until a line matches."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"ended without {pattern}: {self.lines}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return exit status and standard output."""
        self.process.send_signal(number)
        output, messages = self.process.communicate(timeout=HANG_SECONDS)
        self.lines += messages.splitlines()
        return self.process.returncode, output


@contextmanager
def running(*arguments: object) -> Iterator[Running]:
    node = Running(*arguments)
    try:
        yield node
    finally:
        node.process.kill()
        node.process.communicate()


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=HANG_SECONDS) as answer:
        return json.loads(answer.read())


def wait_until_ready(url: str) -> None:
    """The process that serves hears of the first round within a second."""

    def is_ready() -> bool:
        try:
            return get(f"{url}/readyz")["status"] == "ready"
        except urllib.error.HTTPError:
            return False

    wait_until(is_ready)


@contextmanager
def flooded(url: str) -> Iterator[None]:
    """Let 32 connections ask for the metrics of the API without a pause."""
    parts = urlsplit(url)
    attack = ("-m", "tests.soak.hostile_http", str(parts.hostname), str(parts.port), "ask_for_metrics", "32")
    command = [sys.executable, *attack]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as crowd:
        yield
        output, _ = crowd.communicate(timeout=HANG_SECONDS)
    assert json.loads(output)["answers"] > 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that several runs share."""
    return tmp_path_factory.mktemp("data") / "devnet"


def test_one_round_prints_one_object_and_nothing_else(data: Path) -> None:
    command = [sys.executable, "-m", "node.cli", "run", "--devnet", "--nodes", "1", "--once", "--data", str(data)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=HANG_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert set(report) == {"round", "block", "accounts", "transaction", "gas", "signers", "seconds", "agreement"}
    assert report["accounts"] >= 20
    assert report["signers"] == 1
    assert report["gas"] > 0
    assert re.fullmatch("0x[0-9a-f]{64}", report["transaction"])
    assert list(report["seconds"]) == [step.value for step in RoundStep]
    assert all("{" not in line for line in done.stderr.splitlines()), "a log line where nothing went wrong"


def test_a_second_run_in_the_same_directory_shows_where_to_look_and_stops_at_ctrl_c(
    data: Path, plimsoll: Plimsoll
) -> None:
    known = (data / "keys" / "public.json").read_text()
    with running("--devnet", "--nodes", "1", "--data", data, "--port", "0") as node:
        url = node.read_until(r"curl -s (http://127\.0\.0\.1:\d+/v1/accounts/0x[0-9a-fA-F]{40})")[1]
        answer = get(url)
        assert answer["format"] == "plimsoll-account-1"
        wait_until_ready(url.split("/v1/")[0])
        oracle = node.read_until(r"oracle +(0x[0-9a-f]{40})")[1]
        assert "[guard_locked]" in plimsoll("run", "--config", data / "plimsoll.toml", "--once").refused()
        settings = (data / "plimsoll.toml").read_text()
        other = plimsoll("run", "--devnet", "--nodes", "1", "--data", data, "--once").refused(STARTING)
        assert f"another run uses {data}: stop it, or choose another directory with --data" in other
        assert (data / "plimsoll.toml").read_text() == settings, "still those of the chain that runs"
        introduced = [line for line in node.lines if re.match(r"  [a-z-]+ +(A|BBB|BB|B|CCC|C|D) +[A-Z]", line)]
        assert [line.split()[0] for line in introduced] == list(INTRODUCED)
        assert node.lines[0].endswith(STARTING)
        assert not [line for line in node.lines if "\x1b" in line], "nothing moves where there is no terminal"
        first, second = (node.read_until(r"^round \d+: \d+ accounts") for _ in range(2))
        with flooded(url):
            second = node.read_until(r"^round \d+: \d+ accounts")
        if Path("/proc/self/fd").exists():
            serving = serving_pid(data / "plimsoll.toml")
            os.kill(serving, signal.SIGSTOP)
            second = [node.read_until(r"^round \d+: \d+ accounts") for _ in range(2)][-1]
            os.kill(serving, signal.SIGCONT)
        status, output = node.stop()
        assert (status, output) == (0, ""), node.lines[-30:]
    assert oracle in json.dumps(answer)
    assert first[0] != second[0]
    after_the_signal = node.lines[node.lines.index(second.string.rstrip()) + 1 :]
    assert len([line for line in after_the_signal if line.startswith("round ")]) <= 1, "a stop waits for no other round"
    assert node.lines[-1].endswith("stopped")
    assert not [line for line in node.lines if "Traceback" in line or line.startswith("{")]
    assert (data / "keys" / "public.json").read_text() == known


def test_on_a_terminal_one_line_tells_the_state(data: Path) -> None:
    seen, shown = pty.openpty()
    command = [sys.executable, "-m", "node.cli", "run", "--devnet", "--nodes", "1", "--data", str(data), "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=shown, env=os.environ | {"TERM": "xterm"}
    ) as node:
        os.close(shown)
        written = ""
        try:
            while not re.search(r"\x1b\[K\r *round [1-9]\d* certified, \d+ accounts · next in \d s · ETH \$", written):
                written += os.read(seen, 4096).decode()
            node.send_signal(signal.SIGINT)
            with suppress(OSError):  # the other end is closed
                while more := os.read(seen, 4096):
                    written += more.decode()
            assert node.wait(HANG_SECONDS) == 0
        finally:
            node.kill()
            os.close(seen)
    assert "round " not in written.splitlines()[-1]
    assert "accounts, published" not in written, "rounds have no lines of their own"


def test_a_port_that_is_taken_is_refused_at_once(plimsoll: Plimsoll, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = plimsoll("run", "--devnet", "--nodes", "1", "--data", tmp_path, "--port", port).refused(STARTING)
    assert f"127.0.0.1:{port}: Address already in use" in message
    assert "--port 0" in message
    assert list(tmp_path.iterdir()) == []


def test_the_local_chain_alone_tells_its_addresses_and_stops_at_ctrl_c(plimsoll: Plimsoll) -> None:
    begin = time.time()
    command = [sys.executable, "-m", "node.cli", "devnet", "--feed-interval", "1"]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        port = int(url.rpartition(":")[2])
        lines = [process.stdout.readline().split() for _ in range(20)]
        told = [line[0] for line in lines]
        feeds = [line[3] for line in lines if line[2:3] == ["feed"]]
        answered = [updated_at(url, feed) for feed in feeds]
        wait_until(lambda: min(updated_at(url, feed) for feed in feeds) > max(answered))
        assert f"127.0.0.1:{port}: Address already in use" in plimsoll("devnet", "--port", port).refused()
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0
    assert {"WETH", "aave", "morpho", "market", "uniswap", "user"} <= set(told)
    assert len(answered) == 3
    assert min(answered) >= int(begin) - 60, "the seeding's answers are two days old"
    assert messages.strip().endswith("stopped")


def updated_at(url: str, feed: str) -> int:
    """Return when a feed answered last, Unix seconds, by its own word."""
    data = LATEST_ROUND_DATA.call(Address(feed)).data
    parameters = [{"to": feed, "data": f"0x{data.hex()}"}, "latest"]
    form = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": parameters}
    request = urllib.request.Request(url, json.dumps(form).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=HANG_SECONDS) as response:
        answer = json.load(response)["result"]
    return LATEST_ROUND_DATA.decode(CallSuccess(bytes.fromhex(answer[2:])), Address(feed))[3]


def test_the_local_chains_port_can_be_chosen_and_belongs_to_it(
    plimsoll: Plimsoll, tmp_path: Path, config: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = plimsoll("run", "--devnet", "--nodes", "1", "--once", "--data", tmp_path, "--rpc-port", port).refused(
            STARTING
        )
    assert f"127.0.0.1:{port}: Address already in use; choose another port with --rpc-port" in message
    assert (
        plimsoll("run", "--devnet", "--nodes", "1", "--once", "--data", tmp_path, "--rpc-port", port).document["round"]
        >= 1
    )
    assert f'rpc_url = "http://127.0.0.1:{port}"' in (tmp_path / "plimsoll.toml").read_text()
    wrong = plimsoll("run", "--config", config, "--rpc-port", port)
    assert wrong.status == 2
    assert "--rpc-port is the local chain's" in wrong.messages


def test_a_data_directory_that_is_a_file_is_refused(plimsoll: Plimsoll, tmp_path: Path, config: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "cannot be made a directory" in plimsoll(
        "run", "--devnet", "--nodes", "1", "--data", tmp_path / "data"
    ).refused(STARTING)
    assert "cannot be made a directory" in plimsoll("run", "--config", config, "--data", tmp_path / "data").refused()


@pytest.mark.parametrize(
    ("replaced", "by", "names"),
    [
        ("[keys]", "[other]", "`other`"),
        ('committee_file = "committee.json"', "", "say where `plimsoll deploy` wrote it"),
        ('history_file = "history.json"', "", "market.history_file is missing"),
        (
            'committee_file = "committee.json"',
            'committee_file = "nowhere.json"',
            "nowhere.json: No such file: `plimsoll deploy` writes it",
        ),
        ('attestation = "keys/attestation.json"', 'attestation = "keys/nowhere.json"', "keys/nowhere.json"),
        ("start_block = 1", "start_block = 2", "make [[chains.venues]] the same"),
    ],
)
def test_settings_of_a_node_that_do_not_fit_are_refused_before_anything_is_made(
    plimsoll: Plimsoll, network: LocalNode, config: Path, tmp_path: Path, replaced: str, by: str, names: str
) -> None:
    text = config.read_text()
    assert replaced in text
    changed = network.directory / "changed.toml"
    changed.write_text(text.replace(replaced, by))
    message = plimsoll("run", "--config", changed, "--once", "--data", tmp_path / "data").refused()
    changed.unlink()
    assert names in message
    assert not list((tmp_path / "data").glob("*.sqlite"))


def test_a_node_that_ends_by_itself_while_another_process_holds_its_input_ends_with_its_status(tmp_path: Path) -> None:
    settings = tmp_path / "plimsoll.toml"
    settings.write_text('[[chains]]\nchain_id = 1\nrpc_url = "http://127.0.0.1:1"\n')
    command = [sys.executable, "-m", "node.cli", "run", "--config", str(settings), "--json", "--attached"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        last = process.stderr.read().splitlines()[-1]
        assert process.wait(HANG_SECONDS) == FOR_A_PERSON
    assert json.loads(last)["event"] == "ended"


def test_a_node_keeps_its_ports_to_itself_and_names_the_setting_to_change(plimsoll: Plimsoll, config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        changed = config.with_name("monitoring.toml")
        changed.write_text(config.read_text().replace("[monitoring]\nport = 0", f"[monitoring]\nport = {port}"))
        message = plimsoll("run", "--config", changed, "--port", free_port()).refused()
        changed.unlink()
    assert f"127.0.0.1:{port}: Address already in use; choose another port with monitoring.port" in message


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
