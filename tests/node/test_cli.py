"""The command line as a whole: quick, helpful, and quiet when it is interrupted or its reader has enough."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from node.cli import plimsoll
from tests.patience import HANG_SECONDS, wait_until

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "numba", "web3", "sqlalchemy", "aiohttp", "alembic", "eth_account", "rich", "msgspec")
FAST = [sys.executable, "-m", "node.cli"]


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "stdin": subprocess.DEVNULL,
    } | options
    return subprocess.Popen([*FAST, *arguments], cwd=ROOT, text=True, **(pipes | options))


def commands(group: click.Group = plimsoll, *path: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found += commands(command, *path, name) if isinstance(command, click.Group) else [(*path, name)]
    return found


def test_help_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys\nfrom node.cli import plimsoll\n"
        "try:\n    plimsoll(['--help'])\nexcept SystemExit:\n    pass\n"
        f"import json; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_every_command_is_there() -> None:
    names = {path[0] for path in commands()}
    assert {"run", "positions", "assess", "verify", "keys", "record", "devnet"} <= names


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        plimsoll([*path, "--help"])
    text = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "Example:" in text
    assert f"plimsoll {' '.join(path)}" in text.split("Example:")[1]


def test_every_option_of_every_command_is_explained() -> None:
    for path in commands():
        command: click.Command = plimsoll
        for name in path:
            assert isinstance(command, click.Group)
            command = command.commands[name]
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, f"{path} {parameter.name}"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plimsoll(["--version"])
    assert capsys.readouterr().out.startswith("plimsoll, version ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["run", "--devnet", "--config", "x"],
        ["assess"],
        ["verify"],
        ["backtest", "margin", "--data", "x", "--every", "14"],
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(arguments: list[str]) -> None:
    with start(*arguments) as process:
        output, messages = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, output) == (2, "")
    assert "Error:" in messages
    assert "Traceback" not in messages


def test_a_reader_that_has_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with start("--help", stdout=writing) as process:
            _, messages = process.communicate(timeout=HANG_SECONDS)
    finally:
        os.close(writing)
    assert messages == ""
    assert process.returncode == 1


def test_an_interrupt_is_a_short_message_and_130() -> None:
    """The command waits for a document on standard input when Ctrl-C comes."""
    market = str(ROOT / "docs" / "examples" / "market.json")
    with start("assess", "--portfolio", "-", "--market", market, stdin=subprocess.PIPE) as process:
        wait_until(lambda: waits_for_input(process.pid))
        process.send_signal(signal.SIGINT)
        output, messages = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, output) == (130, "")
    assert messages.strip() == "plimsoll: interrupted"


def waits_for_input(process: int) -> bool:
    """Tell whether a process has the command's module loaded and sleeps (Linux); elsewhere wait two seconds."""
    status = Path(f"/proc/{process}/wchan")
    if not status.exists():
        time.sleep(2)
        return True
    return "pipe" in status.read_text()


UNREACHABLE = """
[[chains]]
chain_id = 1
rpc_url = "http://127.0.0.1:9"
timeout = 0.5

[[chains.venues]]
protocol = "wallet"
"""


@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [
        pytest.param("nonsense = 1", 78, "[invalid_document]", id="a person must act"),
        pytest.param(UNREACHABLE, 75, "[endpoint_unreachable]", id="may pass"),
    ],
)
def test_the_exit_status_says_whether_it_may_pass(tmp_path: Path, settings: str, status: int, code: str) -> None:
    """78 and 75 are EX_CONFIG and EX_TEMPFAIL of sysexits.h, which service managers know."""
    config = tmp_path / "plimsoll.toml"
    config.write_text(settings)
    with start("positions", "0x" + "11" * 20, "--config", str(config)) as process:
        output, messages = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, output) == (status, "")
    assert messages.strip().endswith(code)
    assert (status, {75: os.EX_TEMPFAIL, 78: os.EX_CONFIG}[status]) == (status, status)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("run", "--config", "wrong.toml"), id="run"),
        pytest.param(("serve", "--config", "wrong.toml"), id="serve"),
        pytest.param(("run", "--devnet", "--data", "wrong.toml"), id="local chain"),
    ],
)
def test_every_line_of_a_json_log_is_json_also_when_the_start_fails(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("nonsense = 1")
    given = [str(wrong) if argument == wrong.name else argument for argument in arguments]
    with start(*given, "--json") as process:
        output, messages = process.communicate(timeout=HANG_SECONDS)
    *before, last = [json.loads(line) for line in messages.splitlines()]
    assert (process.returncode, output) == (78, "")
    assert (last["event"], last["level"]) == ("ended", "error")
    assert last["reason"] in {"invalid_document", "file_unreadable"}
    assert "wrong.toml" in last["detail"]
    assert {event["event"] for event in before} <= {"progress"}
