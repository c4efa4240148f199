"""Logs and metrics of one node. Nothing secret and no account is ever a label or a log field."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import urlsplit, urlunsplit

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from node.endpoint_series import EndpointSeries, WatchedChain
from node.status import NodeStatus
from riskschema.errors import PlimsollError
from riskschema.rounds import RoundReading, RoundStep, StoreSize

REDACTED = "[redacted]"

_SECRET_NAMES = re.compile(
    r"password|passphrase|secret|private_?key|mnemonic|authorization|api_?key|credential", re.IGNORECASE
)
_URL = re.compile(r"\b(?:https?|wss?|mqtts?|postgresql(?:\+\w+)?)://[^\s\"'<>)\]}]+", re.IGNORECASE)
_KEY_IN_PATH = re.compile(r"[A-Za-z0-9_-]{20,}")
"""Endpoint providers put the API key into the path (``/v3/<key>``)."""
_MAX_DEPTH = 6
_CHATTY_LIBRARIES = ("alembic", "asyncio", "numba", "web3")
"""Their INFO is about themselves; ask for DEBUG to see it."""

_STEP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_HTTP_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_GAS_BUCKETS = (50_000, 75_000, 95_000, 125_000, 175_000, 250_000, 500_000, 1_000_000)

_log = structlog.get_logger("node.telemetry")

disable_created_metrics()  # type: ignore[no-untyped-call]  # `_created` series would double what is scraped, unread


def configure_logging(*, level: str = "INFO", stream: TextIO | None = None, json: bool | None = None) -> None:
    """Send all logs of the process, the libraries' included, to one stream.

    Args:
        level: Lowest level written: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``; with ``INFO``, libraries that
            tell about themselves at that level are kept to warnings.
        stream: Where to write; standard error by default, so that standard output stays for results.
        json: One JSON object per line; by default when the stream is no terminal.

    Raises:
        ValueError: no such level.
    """
    target = stream if stream is not None else sys.stderr
    as_json = not target.isatty() if json is None else json
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.captureWarnings(True)
    if as_json:  # a traceback that nobody caught is an event like any other
        sys.excepthook = _log_defect
    root.setLevel(level)
    if root.level == logging.INFO:
        for library in _CHATTY_LIBRARIES:
            logging.getLogger(library).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _log_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.get_logger("node.defect").critical("ended by a defect", exc_info=(kind, error, trace))


def log_end(error: BaseException) -> None:
    """Write why a command ends as the last line of the log: a refusal, a failure, or Ctrl-C."""
    if isinstance(error, PlimsollError):
        _log.error("ended", reason=error.code, detail=error.message)
    else:
        _log.warning("interrupted")


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Remove secrets from a log record: fields named like secrets, and credentials inside URLs of any field."""
    for name, value in event.items():
        event[name] = REDACTED if _SECRET_NAMES.search(name) else _redact_value(value, 0)
    return event


def redact_urls(text: str) -> str:
    """Return `text` with user, password, query, fragment and key-like path parts of every URL taken out."""
    return _URL.sub(lambda match: _redact_url(match[0]), text)


def _redact_value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_urls(value)
    if isinstance(value, bool | int | float) or value is None:
        return value
    if depth >= _MAX_DEPTH:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            key: REDACTED if _SECRET_NAMES.search(str(key)) else _redact_value(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact_value(item, depth + 1) for item in value]
    return redact_urls(str(value))


def _redact_url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return REDACTED
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{REDACTED}@{host}" if "@" in parts.netloc else host
    path = _KEY_IN_PATH.sub(REDACTED, parts.path)
    return urlunsplit((parts.scheme, netloc, path, REDACTED if parts.query else "", ""))


class Metrics:
    """The Prometheus series of one node, in a registry of its own.

    Args:
        status: Read at every scrape for readiness and the last certified round.
    """

    def __init__(self, status: NodeStatus) -> None:
        self.registry = CollectorRegistry()
        self._status = status
        self._steps = Histogram(
            "plimsoll_step_duration_seconds",
            "Time each step of a round took",
            ["step"],
            buckets=_STEP_BUCKETS,
            registry=self.registry,
        )
        self._rounds = self._counter("plimsoll_rounds", "Rounds by how they ended", ["outcome"])
        self._abstentions = self._counter("plimsoll_abstentions", "Rounds this node abstained from", ["reason"])
        self._accounts = self._gauge("plimsoll_accounts", "Accounts in the last report")
        self._left_out = self._gauge(
            "plimsoll_accounts_left_out", "Accounts of the venues that the last report has no room for", ["why"]
        )
        self._aside = self._gauge(
            "plimsoll_holdings_aside", "Holdings in the last report whose worth nobody can tell and that back no debt"
        )
        self._unproved = self._gauge(
            "plimsoll_unproved_books", "Lists of holders of a venue that nobody can prove complete", ["venue"]
        )
        self._coverage = self._gauge("plimsoll_coverage_ppm", "Reads that succeeded in the last report, per million")
        self._database = self._gauge(
            "plimsoll_database_bytes", "Database pages in use, and free ones that are used again", ["kind"]
        )
        self._outvoted = self._gauge(
            "plimsoll_outvoted", "1 per factor of which this node's vote is far from what was agreed", ["factor"]
        )
        self._unquoted = self._gauge(
            "plimsoll_unquoted", "1 per factor that no market source has a value of", ["factor"]
        )
        self._gas = Histogram(
            "plimsoll_publish_gas",
            "Gas used by the transactions that published a report",
            ["chain_id"],
            buckets=_GAS_BUCKETS,
            registry=self.registry,
        )
        self._ready = self._gauge("plimsoll_ready", "1 when the node is ready")
        self._unready = self._gauge("plimsoll_unready", "1 per reason for which the node is not ready", ["reason"])
        self._certified_round = self._gauge("plimsoll_certified_round", "The last certified round")
        self._certified_at = self._gauge("plimsoll_certified_timestamp_seconds", "When the last round was certified")

    def watch_endpoints(self, chains: Sequence[WatchedChain]) -> None:
        """Show the endpoints of these chains at every scrape."""
        self.registry.register(EndpointSeries(chains))

    @contextmanager
    def step(self, step: RoundStep) -> Iterator[None]:
        """Measure one step of a round, also when it fails."""
        started = perf_counter()
        try:
            yield
        finally:
            self._steps.labels(step.value).observe(perf_counter() - started)

    def round_ended(self, outcome: str) -> None:
        """Count a round; `outcome` is ``certified``, ``abstained``, ``skipped`` or ``failed``."""
        self._rounds.labels(outcome).inc()

    def abstained(self, reason: str) -> None:
        """Count an abstention; `reason` is a key of `riskschema.reasons.REASONS`."""
        self._abstentions.labels(reason).inc()

    def reported(self, *, accounts: int, coverage_ppm: int) -> None:
        """Note the size and the coverage of the newest report."""
        self._accounts.set(accounts)
        self._coverage.set(coverage_ppm)

    def left_out(self, reading: RoundReading) -> None:
        """Note whom and what the newest report leaves out, and which venues' completeness is unproved."""
        self._left_out.labels("small").set(reading.small)
        self._left_out.labels("beyond_caps").set(reading.beyond_caps)
        self._aside.set(reading.aside)
        self._unproved.clear()
        for unproved in reading.unproved:
            self._unproved.labels(unproved.venue).set(len(unproved.books))

    def stored(self, size: StoreSize) -> None:
        """Note what the database takes."""
        self._database.labels("used").set(size.used)
        self._database.labels("free").set(size.free)

    def unquoted(self, factors: Iterable[str]) -> None:
        """Note which factors no source has a value of."""
        self._unquoted.clear()
        for factor in factors:
            self._unquoted.labels(factor).set(1)

    def outvoted(self, factors: Iterable[str]) -> None:
        """Note of which factors this node's own vote is far from what was agreed."""
        self._outvoted.clear()
        for factor in factors:
            self._outvoted.labels(factor).set(1)

    def published(self, *, chain_id: int, gas_used: int) -> None:
        """Note a landed transaction."""
        self._gas.labels(str(chain_id)).observe(gas_used)

    def exposition(self, now: float) -> bytes:
        """Return all series in Prometheus' text format, readiness as of `now`."""
        reasons = self._status.ready(now)
        self._ready.set(not reasons)
        self._unready.clear()
        for reason in reasons:
            self._unready.labels(reason).set(1)
        if self._status.certified is not None:
            self._certified_round.set(self._status.certified.round)
            self._certified_at.set(self._status.certified.at)
        return generate_latest(self.registry)

    def _counter(self, name: str, documentation: str, labels: list[str]) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str, labels: list[str] | None = None) -> Gauge:
        return Gauge(name, documentation, labels or [], registry=self.registry)


class HttpMetrics:
    """Prometheus series of one process that serves the HTTP API."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter(
            "plimsoll_http_requests", "HTTP requests by route", ["method", "route", "status"], registry=self.registry
        )
        self._request_time = Histogram(
            "plimsoll_http_request_duration_seconds",
            "Time to answer an HTTP request",
            ["route"],
            buckets=_HTTP_BUCKETS,
            registry=self.registry,
        )
        self._dropped = Counter(
            "plimsoll_http_dropped_connections",
            "Connections dropped because there were too many",
            ["limit"],
            registry=self.registry,
        )

    def dropped(self, limit: str) -> None:
        """Count a dropped connection; `limit` is ``all`` or ``address``."""
        self._dropped.labels(limit).inc()

    def answered(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count an HTTP request; `route` is the template (``/v1/accounts/{address}``), never the path."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_time.labels(route).observe(seconds)

    def exposition(self, _now: float) -> bytes:
        """Return all series in Prometheus' text format."""
        return generate_latest(self.registry)
