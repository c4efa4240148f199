"""Logs keep secrets to themselves; metrics are one node's own and never name an account."""

import io
import json
import logging
import subprocess
import sys
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from node.cli.endings import INTERRUPTED, ending_in_log
from node.status import NodeStatus
from node.telemetry import _CHATTY_LIBRARIES, REDACTED, Metrics, configure_logging, redact, redact_urls
from riskschema.rounds import RoundStep, StoreSize
from tests.patience import HANG_SECONDS


@pytest.fixture
def stream():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    libraries = {name: logging.getLogger(name).level for name in _CHATTY_LIBRARIES}
    yield io.StringIO()
    for name, before in libraries.items():
        logging.getLogger(name).setLevel(before)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def samples(metrics: Metrics, *, now: float = 0) -> dict[tuple[Any, ...], float]:
    text = metrics.exposition(now).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_log_that_is_no_terminal_is_one_json_object_per_line(stream):
    configure_logging(stream=stream)
    structlog.get_logger("node.round").info("certified", round=7)

    (record,) = lines(stream)
    assert (record["event"], record["round"], record["level"], record["logger"]) == (
        "certified",
        7,
        "info",
        "node.round",
    )
    assert record["timestamp"].endswith("Z")


def test_a_terminal_gets_text_for_people(stream):
    configure_logging(stream=stream, json=False)
    structlog.get_logger("node.round").info("certified", round=7)

    written = stream.getvalue()
    assert "certified" in written
    assert "round=7" in written
    with pytest.raises(ValueError):
        json.loads(written)


def test_records_below_the_level_are_not_written(stream):
    configure_logging(level="WARNING", stream=stream)
    structlog.get_logger("node.round").info("certified")
    logging.getLogger("library").info("noise")

    assert stream.getvalue() == ""


def test_libraries_that_tell_about_themselves_are_heard_from_warnings_on(stream):
    configure_logging(stream=stream)
    logging.getLogger("alembic.runtime.migration").info("Context impl SQLiteImpl.")
    logging.getLogger("alembic.runtime.migration").warning("no such revision")

    assert [record["event"] for record in lines(stream)] == ["no such revision"]


def test_libraries_log_into_the_same_stream_in_the_same_form(stream):
    configure_logging(stream=stream)
    logging.getLogger("library").warning("retrying %s", "https://user:pass@rpc.example/?key=1")

    (record,) = lines(stream)
    assert record["level"] == "warning"
    assert "pass" not in record["event"]
    assert "rpc.example" in record["event"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_is_written_without_the_secrets_in_it(stream, as_json):
    configure_logging(stream=stream, json=as_json)
    error = ConnectionError("cannot reach https://mainnet.example/v3/0123456789abcdef0123456789abcdef")
    try:
        raise error
    except ConnectionError:
        structlog.get_logger("node").exception("failed")

    assert "ConnectionError" in stream.getvalue()
    assert "mainnet.example" in stream.getvalue()
    assert "0123456789abcdef" not in stream.getvalue()


def test_an_unknown_level_is_refused(stream):
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging(level="LOUD", stream=stream)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("https://user:secret@rpc.example/path", f"https://{REDACTED}@rpc.example/path"),
        ("wss://rpc.example/?apikey=1#part", f"wss://rpc.example/?{REDACTED}"),
        ("https://rpc.example/v3/0123456789abcdef0123456789abcdef", f"https://rpc.example/v3/{REDACTED}"),
        ("https://[broken/secret", REDACTED),
        ("no address here", "no address here"),
    ],
)
def test_urls_lose_what_could_be_a_credential(url, wanted):
    assert redact_urls(f"asked {url} twice") == f"asked {wanted} twice"


@pytest.mark.parametrize("name", ["password", "keystore_password", "private_key", "API_KEY", "mnemonic", "secret"])
def test_fields_named_like_secrets_are_never_written(name):
    assert redact(None, "info", {"event": "x", name: "hunter2"}) == {"event": "x", name: REDACTED}


def test_secrets_are_found_inside_containers_and_objects():
    endpoint = "https://user:hunter2@rpc.example"
    event = {
        "event": "x",
        "list": [endpoint],
        "map": {"password": "hunter2", "url": endpoint},
        "error": OSError(endpoint),
    }

    assert "hunter2" not in str(redact(None, "info", event))


def test_a_value_that_contains_itself_does_not_hang_the_log():
    loop: list[Any] = ["https://user:hunter2@rpc.example"]
    loop.append(loop)

    assert "hunter2" not in str(redact(None, "info", {"event": "x", "loop": loop}))


@given(st.from_regex(r"[a-zA-Z0-9]{4,12}", fullmatch=True), st.sampled_from(["http", "https", "ws", "wss", "mqtts"]))
def test_no_password_of_a_url_survives(password, scheme):
    password = f"zz{password}zz"
    assert password not in redact_urls(f"({scheme}://operator:{password}@host.example:1/x?k={password})")


def test_each_node_of_a_process_counts_for_itself():
    first, second = Metrics(NodeStatus(round_interval=1)), Metrics(NodeStatus(round_interval=1))
    first.round_ended("certified")

    key = ("plimsoll_rounds_total", ("outcome", "certified"))
    assert samples(first)[key] == 1
    assert key not in samples(second)


def test_a_step_is_measured_also_when_it_fails():
    metrics = Metrics(NodeStatus(round_interval=1))
    with pytest.raises(OSError), metrics.step(RoundStep.READ):
        raise OSError
    with metrics.step(RoundStep.READ):
        pass

    assert samples(metrics)["plimsoll_step_duration_seconds_count", ("step", "read")] == 2


def test_reports_abstentions_and_transactions_are_counted():
    metrics = Metrics(NodeStatus(round_interval=1))
    metrics.reported(accounts=24, coverage_ppm=990_000)
    metrics.stored(StoreSize(used=4_096, free=8_192))
    metrics.abstained("endpoint_unreachable")
    metrics.published(chain_id=31337, gas_used=88_000)

    found = samples(metrics)
    assert found["plimsoll_accounts",] == 24
    assert found["plimsoll_coverage_ppm",] == 990_000
    assert found["plimsoll_database_bytes", ("kind", "used")] == 4_096
    assert found["plimsoll_database_bytes", ("kind", "free")] == 8_192
    assert found["plimsoll_abstentions_total", ("reason", "endpoint_unreachable")] == 1
    assert found["plimsoll_publish_gas_sum", ("chain_id", "31337")] == 88_000


def test_readiness_is_as_of_the_scrape():
    status = NodeStatus(round_interval=10, stale_after_intervals=1)
    metrics = Metrics(status)
    missing = ("plimsoll_unready", ("reason", "round_missing"))
    assert (samples(metrics)["plimsoll_ready",], samples(metrics)[missing]) == (0, 1)

    status.certify(5, at=100)
    found = samples(metrics, now=101)
    assert (found["plimsoll_ready",], found["plimsoll_certified_round",]) == (1, 5)
    assert missing not in found
    assert samples(metrics, now=111)["plimsoll_unready", ("reason", "round_overdue")] == 1


NOISY = """
import asyncio, logging, sys, warnings
from node.telemetry import configure_logging

configure_logging(json=True)
logging.getLogger("some.library").warning("a library says %s", "this")
warnings.warn("two\\nlines", stacklevel=1)

async def forgotten():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0.01)

asyncio.run(forgotten())
raise RuntimeError("see https://user:secret@host/")
"""


def test_warnings_forgotten_tasks_and_the_last_traceback_are_json_too() -> None:
    command = [sys.executable, "-c", NOISY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert len(events) == 4
    assert "two" in events[1]["event"]
    assert "ZeroDivisionError" in events[2]["exception"]
    assert events[3]["event"] == "ended by a defect"
    assert "RuntimeError" in events[3]["exception"]
    assert "secret" not in done.stderr


def test_an_interrupt_is_the_last_line_of_a_json_log_and_130() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    with pytest.raises(SystemExit) as ended, ending_in_log(as_json=True):
        raise KeyboardInterrupt
    assert ended.value.code == INTERRUPTED
    assert json.loads(stream.getvalue().splitlines()[-1])["event"] == "interrupted"
