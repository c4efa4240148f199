"""docs/operating.md and docs/command-line.md say what the program does: every key, code, series, event and option."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import pytest

from adapters.chains import EndpointReport
from adapters.chains.health import EndpointState
from adapters.chains.provider import Traffic
from adapters.markets import load_source, source_names
from adapters.protocols import discover_protocols
from node.cli import plimsoll
from node.peers import Peers
from node.settings import Oracle, Settings
from node.status import NodeStatus
from node.telemetry import HttpMetrics, Metrics
from riskschema.codec import encode_json
from riskschema.reasons import REASONS
from riskschema.rounds import RoundReading, RoundStep, StoreSize, UnprovedBooks
from tests.attest.agreement.round_kit import observation

ROOT = Path(__file__).parents[2]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text()


def table(name: str) -> list[list[str]]:
    """Return the cells of a marked table, without its head."""
    block = OPERATING.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines()]
    return rows[2:]


def settings_keys(kind: Any = Settings, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every key with its default as the table writes it."""
    for field in msgspec.structs.fields(kind):
        inner = struct_of(field.type)
        if inner is not None:
            yield from settings_keys(inner, f"{prefix}{field.name}.")
        elif field.name not in {"venues", "sources"}:
            yield f"{prefix}{field.name}", written_default(field)
    if prefix == "chains.":
        yield "chains.venues.protocol", ""
        yield "chains.venues.start_block", "`0`"
        yield from settings_keys(Oracle, "chains.venues.oracles.")
        for module in discover_protocols().values():
            yield from settings_keys(module.Deployment, "chains.venues.")
    if prefix == "market.":
        yield "market.sources.source", ""
        for source in map(load_source, source_names()):
            yield from settings_keys(source.Settings, "market.sources.")


def struct_of(kind: Any) -> type[msgspec.Struct] | None:
    """Return the struct inside `tuple[...]`, `Annotated[...]` or a union."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for inner in get_args(kind) if (found := struct_of(inner)) is not None), None)


def written_default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if default is None:
        return "none"
    value = list(default) if isinstance(default, tuple) else json.loads(encode_json(default))
    if isinstance(value, str):
        text = re.sub(r"0+$", "", value) if "." in value and value[0].isdigit() else value
        return f'`"{text}"`'
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_setting_is_explained_with_its_default() -> None:
    documented = {row[0].strip("`"): row[1] for row in table("settings")}
    assert documented == dict(settings_keys())
    assert all(row[2] for row in table("settings"))


def test_every_reason_is_explained() -> None:
    wanted = [f"| `{reason.code}` | {reason.short} | {reason.long} |" for reason in REASONS.values()]
    block = OPERATING.split("<!-- reasons -->")[1].split("<!-- /reasons -->")[0].strip().splitlines()
    assert block[2:] == wanted, "replace the table by:\n" + "\n".join(wanted)


class OneChain:
    """A chain of one endpoint, which nobody asked anything yet."""

    chain_id = 1
    agreement = 1

    def endpoints(self) -> tuple[EndpointReport, ...]:
        """Return what is known of it."""
        report = EndpointReport(
            chain_id=1,
            name="http://127.0.0.1:1",
            state=EndpointState.ALIVE,
            detail="",
            traffic=Traffic(),
            batch_size=1,
            log_range=1,
        )
        return (report,)


def test_every_series_is_explained_by_its_name_on_the_wire() -> None:
    rounds, http = Metrics(NodeStatus(round_interval=1)), HttpMetrics()
    with rounds.step(RoundStep.READ):
        pass
    rounds.round_ended("certified")
    rounds.abstained("deadline")
    rounds.stored(StoreSize(used=1, free=1))
    rounds.unquoted(["ETH"])
    rounds.outvoted(["ETH"])
    unproved = (UnprovedBooks(venue="venue", books=("book",)),)
    rounds.left_out(RoundReading(small=1, beyond_caps=1, aside=1, unproved=unproved, chains=()))
    rounds.published(chain_id=1, gas_used=1)
    rounds.watch_endpoints([OneChain()])
    peers = Peers(4, lambda _: 0, rounds.registry)
    peers.said(1, 7, at_ms=900)
    peers.observed(1, 7, observation(900), at_ms=900)
    peers.outvoted(1, 1)
    peers.certified(7, b"report", (0, 2, 3))
    peers.certified(9, b"next", (0, 2, 3))
    peers.refused(3, "forged")
    peers.equivocated(3)
    http.dropped("all")
    http.answered(method="GET", route="/healthz", status=200, seconds=0.1)
    for name, metrics in (("metrics", rounds), ("http metrics", http)):
        lines = metrics.exposition(0).decode().splitlines()
        assert all(family.samples for family in metrics.registry.collect()), "a series that this test does not touch"
        assert documented_series(name) == {re.split("[{ ]", line)[0] for line in lines if not line.startswith("#")}


def documented_series(table_name: str) -> set[str]:
    """Return the names that a table gives: one for each row, or one for each of its endings."""
    found = set()
    for row in table(table_name):
        series, *endings = (part.strip("`") for part in row[0].split())
        found |= {series + ending for ending in endings or [""]}
    return found


def test_every_event_of_the_log_is_explained() -> None:
    logged = re.compile(r"_log\.(?:info|warning|error|exception)\(\s*\"([^\"]+)\"")
    sources = [path for folder in ("node", "adapters", "storage") for path in (ROOT / folder).rglob("*.py")]
    events = {event for path in sources for event in logged.findall(path.read_text())}
    assert {row[0].strip("`") for row in table("events")} == events


def commands(group: click.Group = plimsoll, *path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name)), command


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_is_described_with_all_its_options(name: str, command: click.Command) -> None:
    sections = {part.split("\n")[0].strip("` "): part for part in COMMAND_LINE.split("\n## ")[1:]}
    assert name in sections
    options = {
        option
        for parameter in command.params
        if not getattr(parameter, "hidden", False)
        for option in parameter.opts
        if option.startswith("--")
    }
    described = set(re.findall(r"`(--[a-z-]+)", sections[name]))
    assert options - {"--json"} <= described
    assert described <= options | {"--json"}


def test_files_that_the_documents_name_exist() -> None:
    for document in (OPERATING, COMMAND_LINE):
        for target in re.findall(r"\]\(([^)#]+)\)", document):
            assert (ROOT / "docs" / target).resolve().exists(), target
