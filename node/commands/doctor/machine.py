"""The machine that a node runs on: its disk, its ports, and which versions work together."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import aiohttp

from aggregator.parameters import load_parameters
from attest.formats.committee import rounds_per_day
from node.api.monitoring import ask_status
from node.api.server import open_listener
from node.commands.doctor.findings import Finding, care, good, wrong
from node.commands.doctor.operator import Operator
from riskschema.errors import InvalidData, PlimsollError, TransientError
from riskschema.units import Hash32
from storage.store import open_store_to_read

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
LEAST_FREE_BYTES = 256 * 1_000_000
"""Below that the next rounds may find the disk full."""
LEAST_RUNWAY_DAYS = 7.0


async def examine_disk(operator: Operator) -> Sequence[Finding]:
    """Return how long the disk lasts.

    Raises:
        TransientError: it is nearly full.
    """
    data = _existing(operator.directory / operator.settings.data_directory)
    free = shutil.disk_usage(data).free
    if free < LEAST_FREE_BYTES:
        raise TransientError(f"{data}: {_megabytes(free)} free", code="store_failed")
    used, rounds = await _stored(operator)
    growing = max(0, operator.settings.keep_megabytes * 1_000_000 - used)
    said = f"{_megabytes(free)} free, the database has {_megabytes(used)} and may grow by {_megabytes(growing)}"
    if free >= growing:
        return [good("disk", said)]
    days = free * rounds / used / rounds_per_day(operator.committee) if used and rounds else None
    runway = "" if days is None else f"; full in about {days:,.0f} days"
    remedy = "Make room, or lower keep_megabytes, keep_days or keep_rounds in the settings."
    if days is not None and days < LEAST_RUNWAY_DAYS:
        return [wrong("disk", TransientError(said + runway, code="store_failed"), remedy)]
    return [care("disk", "store_failed", said + runway, remedy)]


async def examine_ports(operator: Operator, *, runs: bool) -> Sequence[Finding]:
    """Return whether the node can listen, or does."""
    api, monitoring = operator.settings.api, operator.settings.monitoring
    if runs:
        return [await _running(f"http://{_local(monitoring.host)}:{monitoring.port}", monitoring.port)]
    wanted = [("monitoring.port", monitoring.host, monitoring.port)]
    if api.serve:
        wanted.append(("api.port", api.host, api.port))
    for setting, host, port in wanted:
        try:
            open_listener(host, port, setting=setting).close()
        except InvalidData as error:
            remedy = f"Stop what listens there (ss -ltnp), or set another {setting}."
            return [wrong("ports", error, remedy)]
    return [good("ports", " and ".join(f"{host}:{port}" for _, host, port in wanted) + " are free")]


def examine_versions(operator: Operator) -> Sequence[Finding]:
    """Return which versions of program, Python and parameters these are."""
    try:
        program = version("plimsoll")
    except PackageNotFoundError:
        program = "from a source tree"
    name = operator.settings.parameters_file
    parameters = load_parameters(None if name is None else operator.directory / name)
    python = sys.version_info[:2]
    said = f"plimsoll {program}, Python {platform.python_version()}, risk model {parameters.model_version}"
    if not OLDEST_PYTHON <= python <= NEWEST_PYTHON:
        return [
            care("versions", "invalid_settings", said, "Use Python 3.11 to 3.13, which this program is tested with.")
        ]
    return [good("versions", said)]


async def _stored(operator: Operator) -> tuple[int, int]:
    """Return the bytes of the database and about how many rounds they hold; 0: there is none yet.

    Raises:
        PlimsollError: it cannot be used.
    """
    path = operator.directory / operator.settings.data_directory / operator.settings.database
    if not path.exists():
        return 0, 0
    try:
        async with open_store_to_read(path) as store:
            size = await store.size()
            latest = await store.latest_certified(Hash32(operator.rules.config_digest))
    except PlimsollError as error:
        if error.code != "store_not_ready":  # which the node's own start mends
            raise
        return path.stat().st_size, 0
    return size.used, 0 if latest is None else min(latest.round, operator.settings.keep_rounds)


async def _running(url: str, port: int) -> Finding:
    if not port:
        return good("ports", "the node that runs took free ones")
    try:
        async with aiohttp.ClientSession() as session:
            status = await ask_status(session, url)
    except TransientError as error:
        return wrong("ports", error, "Look at the node's log: its process lives and does not answer.")
    last = status.certified
    return good("ports", f"the node answers at {url}; " + (f"round {last.round} certified" if last else "no round yet"))


def _local(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.0f} MB"
