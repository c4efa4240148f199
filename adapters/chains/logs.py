"""Event logs over ranges of blocks, in steps that the endpoint accepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from adapters.chains.answers import RpcAnswer, failure, malformed, to_logs
from adapters.chains.provider import Request
from riskschema.holders import Log
from riskschema.units import Address, Hash32

MAX_LOGS = 500_000
"""Logs of one read, over all its ranges: more is answered by reading from a later block."""


class Asking(Protocol):
    """A `Transport`, or the `EndpointPool` of a chain; either halves a range of logs that an endpoint refuses."""

    where: str

    @property
    def most_blocks(self) -> int:
        """How many blocks one query may have."""
        ...

    async def many(self, requests: Sequence[Request]) -> list[RpcAnswer]:
        """Return the answers to any number of requests, in order."""
        ...


class LogFilter(msgspec.Struct, frozen=True):
    """Which logs: emitting contracts, and per topic position the accepted values (empty: any)."""

    addresses: Sequence[Address]
    topics: Sequence[Sequence[Hash32]]

    def query(self, first: int, last: int) -> dict[str, Any]:
        """Return the parameter of ``eth_getLogs`` for blocks `first` to `last`."""
        return {
            "address": [str(address) for address in self.addresses],
            "topics": [[str(value) for value in accepted] or None for accepted in self.topics],
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }

    def accepts(self, log: Log) -> bool:
        """Tell whether `log` is one that was asked for."""
        return (
            log.address in self.addresses
            and len(log.topics) >= len(self.topics)
            and all(not accepted or topic in accepted for topic, accepted in zip(log.topics, self.topics, strict=False))
        )


async def read_logs(transport: Asking, wanted: LogFilter, *, first: int, last: int, span: int) -> tuple[Log, ...]:
    """Return the logs of blocks `first` to `last`, both included, oldest first.

    Args:
        transport: Where to ask.
        wanted: Which logs; no address gives none.
        first: First block.
        last: Last block.
        span: Blocks per query, at most.

    Raises:
        TransientError: the endpoint failed, refuses even one block, or answered logs nobody asked for.
    """
    logs: list[Log] = []
    while wanted.addresses and first <= last:
        end = min(last, first + min(span, transport.most_blocks) - 1)  # fewer while endpoints that take more are away
        answer = (await transport.many([("eth_getLogs", [wanted.query(first, end)])]))[0]
        logs += _accepted(answer, transport.where, wanted, range(first, end + 1))
        if len(logs) > MAX_LOGS:
            raise malformed(transport.where, f"answered more than {MAX_LOGS} logs up to block {end}")
        first = end + 1
    return tuple(logs)


def _accepted(answer: RpcAnswer, where: str, wanted: LogFilter, blocks: range) -> list[Log]:
    """Return the logs of one answer, in the order of their blocks."""
    if answer.error:
        raise failure(answer.error, f"{where} eth_getLogs")
    logs = to_logs(answer.result, where)
    for log in logs:
        if log.block_number not in blocks or not wanted.accepts(log):
            raise malformed(where, f"answered a log of {log.address} at {log.block_number} that was not asked for")
    return sorted(logs, key=lambda log: log.place)
