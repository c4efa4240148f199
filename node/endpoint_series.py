"""Prometheus series of the endpoints that chains are read from, as they are when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.chains import EndpointReport


class WatchedChain(Protocol):
    """A chain that tells of its endpoints."""

    @property
    def chain_id(self) -> int:
        """The chain id."""
        ...

    @property
    def agreement(self) -> int:
        """How many endpoints must say the same."""
        ...

    def endpoints(self) -> tuple[EndpointReport, ...]:
        """Return what is known of each endpoint."""
        ...


class EndpointSeries(Collector):
    """The series of all endpoints of a node; a label is an endpoint's origin, never its whole address."""

    def __init__(self, chains: Sequence[WatchedChain]) -> None:
        self._chains = chains

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the names are known only from the chains."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the series."""
        agreement = GaugeMetricFamily(
            "plimsoll_endpoint_agreement", "Endpoints that must give an answer before it counts", labels=["chain_id"]
        )
        labels = ["chain_id", "endpoint"]
        state = GaugeMetricFamily("plimsoll_endpoint_state", "1 for the state it is in", labels=[*labels, "state"])
        calls = CounterMetricFamily("plimsoll_endpoint_calls", "Requests, as providers bill them", labels=labels)
        posts = CounterMetricFamily("plimsoll_endpoint_posts", "HTTP requests", labels=labels)
        received = CounterMetricFamily("plimsoll_endpoint_received_bytes", "Bytes of answers", labels=labels)
        for chain in self._chains:
            agreement.add_metric([str(chain.chain_id)], chain.agreement)
            for report in chain.endpoints():
                named = [str(chain.chain_id), report.name]
                state.add_metric([*named, report.state.value], 1)
                calls.add_metric(named, report.traffic.calls)
                posts.add_metric(named, report.traffic.posts)
                received.add_metric(named, report.traffic.bytes_received)
        yield from (agreement, state, calls, posts, received)
