"""The whole examination: what must fit together first, then everything else at once, each for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from node.commands.doctor.brokers import examine_brokers
from node.commands.doctor.chains import clock_finding, examine_endpoints, examine_feeds
from node.commands.doctor.destination import examine_destination
from node.commands.doctor.findings import Finding, Health, State, care, good, within, wrong
from node.commands.doctor.indexes import first_needed, indexes_findings, read_indexes
from node.commands.doctor.machine import examine_disk, examine_ports, examine_versions
from node.commands.doctor.operator import (
    OpenedKeys,
    Operator,
    committee_finding,
    examine_files,
    examine_guard,
    examine_history,
    guard_is_held,
    keys_finding,
    open_keys,
    read_operator,
)
from node.settings import load_settings
from node.telemetry import configure_logging
from riskschema.codec import encode_json
from riskschema.errors import PlimsollError

LOCAL_SECONDS = 60.0
"""Files of this machine: opening the keys takes a second each."""
REMOTE_SECONDS = 45.0
"""Strangers."""
THREADS = 32
"""Connecting to a broker takes one, for as long as that broker likes."""
MARKS = {State.GOOD: "ok  ", State.CARE: "care", State.PASSING: "WAIT", State.BROKEN: "FAIL"}


def examine_node(config: Path, *, as_json: bool) -> frozenset[State]:
    """Examine a node, print what was found, and return the states in it."""
    configure_logging(level="CRITICAL")
    findings = asyncio.run(examine(config.resolve()))
    states = frozenset(finding.state for finding in findings)
    if as_json:
        click.echo(encode_json(Health(healthy=states <= {State.GOOD, State.CARE}, findings=findings)))
    else:
        for line in _lines(findings):
            click.echo(line)
    return states


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        code = f" [{finding.code}]" if finding.code else ""
        yield f"{MARKS[finding.state]}  {finding.check.ljust(width)}  {finding.said}{code}"
        if finding.remedy:
            yield f"      {' ' * width}  {finding.remedy}"


async def examine(config: Path) -> tuple[Finding, ...]:
    """Examine the node of a settings file (an absolute path); nothing that is wrong raises."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    try:
        settings = await asyncio.to_thread(load_settings, config)
    except PlimsollError as error:
        return (wrong("settings", error),)
    said = f"{config}: chains {', '.join(str(chain.chain_id) for chain in settings.chains)}"
    found = [good("settings", said)]
    try:
        operator = await asyncio.to_thread(read_operator, settings, config.parent)
    except PlimsollError as error:
        return (*found, wrong("committee", error))
    found.append(committee_finding(operator))
    examined = await asyncio.gather(
        _local("files", asyncio.to_thread(examine_files, operator)),
        _with_keys(operator),
        _local("history", asyncio.to_thread(examine_history, operator)),
        _local("versions", asyncio.to_thread(examine_versions, operator)),
        _local("disk", examine_disk(operator)),
        within(REMOTE_SECONDS, "endpoints", _chains(operator)),
        within(REMOTE_SECONDS, "feeds", examine_feeds(operator)),
    )
    return (*found, *(finding for group in examined for finding in group))


def _local(check: str, examining: Awaitable[Sequence[Finding]]) -> Awaitable[Sequence[Finding]]:
    return within(LOCAL_SECONDS, check, examining)


async def _chains(operator: Operator) -> Sequence[Finding]:
    indexes = await asyncio.to_thread(read_indexes, operator)
    findings, heads = await examine_endpoints(operator, first_needed(operator, indexes))
    return [*findings, clock_finding(heads), *indexes_findings(operator, indexes, heads)]


async def _with_keys(operator: Operator) -> Sequence[Finding]:
    """Examine what needs to know who the operator is, and whether its node runs."""
    try:
        opened = await asyncio.to_thread(open_keys, operator)
    except PlimsollError as error:
        return [wrong("keys", error)]
    runs = await asyncio.to_thread(guard_is_held, operator, opened)
    examined = await asyncio.gather(
        _local("guard", asyncio.to_thread(examine_guard, operator, opened, runs=runs)),
        _local("ports", examine_ports(operator, runs=runs)),
        within(REMOTE_SECONDS, "brokers", examine_brokers(operator, opened.index, runs=runs)),
        within(REMOTE_SECONDS, "contract", _publishing(operator, opened)),
    )
    return [keys_finding(opened), *(finding for group in examined for finding in group)]


async def _publishing(operator: Operator, opened: OpenedKeys) -> Sequence[Finding]:
    publish = operator.settings.publish
    if publish is None:
        said = "the settings have no [publish]: reports are certified and stay here"
        return [care("contract", "publish_refused", said, "Add [publish], if this node is to send reports.")]
    return await examine_destination(operator, publish, opened.transmitter)
